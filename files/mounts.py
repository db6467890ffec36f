"""What the kernel says is mounted."""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final

__all__ = ["FSTYPE", "Mount", "Shown", "mounts"]

FSTYPE: Final = "fuse.alluxio-fuse"
_TABLE: Final = Path("/proc/self/mountinfo")
_ESCAPE: Final = re.compile(r"\\([0-7]{3})")
_OWNER: Final = re.compile(r"\buser_id=(\d+)")
_PROCESSES: Final = Path("/proc")
_MAIN: Final = b"alluxio.fuse.AlluxioFuse"
_PLACE: Final = ("-m", "--mount-point")
_ROOT: Final = ("-a", "--alluxio-path")
_DEAD: Final = (errno.ENOTCONN, errno.ECONNABORTED)


@dataclass(frozen=True, slots=True)
class Shown:
    """What a mount shows."""

    root: str
    """A folder of the namespace, absolute."""
    host: str | None
    """The master; None when the process was told elsewhere than on its command line."""
    port: int | None


@dataclass(frozen=True, slots=True)
class Mount:
    """A FUSE mount of Alluxio."""

    path: Path
    owner: int | None = field(default=None, compare=False)
    """Who mounted it: the user id, as the kernel knows it."""

    @property
    def is_stale(self) -> bool:
        """Whether its process is gone, so that everything below it fails."""
        try:
            # The kernel answers a plain stat from its cache for minutes; this one asks the process.
            os.statvfs(self.path)
        except OSError as error:
            return error.errno in _DEAD
        return False

    def shown(self) -> Shown | None:
        """Look up what it shows, in the command line of its process: the kernel does not know.

        None when this user cannot see that process, as from another container.
        """
        found = None
        for process in _PROCESSES.iterdir():
            if process.name.isdigit() and (line := _command(process, self.owner)) is not None:
                found = _shown(line, self.path) or found
        return found


def mounts(table: Path = _TABLE) -> list[Mount]:
    """List the FUSE mounts of Alluxio, in the order in which they were made."""
    return [mount for mount, fstype in _rows(table) if fstype == FSTYPE]


def _rows(table: Path) -> list[tuple[Mount, str]]:
    rows = []
    # Not splitlines: names of folders may have what it takes for the end of a line, and the kernel leaves it as it is.
    for line in table.read_bytes().decode(errors="surrogateescape").rstrip("\n").split("\n"):
        # proc_pid_mountinfo(5): optional fields end with a lone hyphen; type, source and options follow.
        before, _, after = line.partition(" - ")
        fstype, _, options = after.partition(" ")
        owner = _OWNER.search(options)
        rows.append((Mount(Path(_plain(before.split(" ")[4])), int(owner[1]) if owner else None), fstype))
    return rows


def _plain(text: str) -> str:
    """Undo the kernel's octal escapes of blanks and backslashes."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), text)


def _command(process: Path, owner: int | None) -> list[str] | None:
    try:
        if owner is not None and process.stat().st_uid != owner:
            # Anybody can start a program with such a command line, which would say where other users' files are.
            return None
        line = (process / "cmdline").read_bytes()
    except OSError:
        # It has ended, or is another user's.
        return None
    return [os.fsdecode(part) for part in line.split(b"\0")] if _MAIN in line else None


def _shown(line: list[str], place: Path) -> Shown | None:
    properties = dict(part[2:].split("=", 1) for part in line if part.startswith("-D") and "=" in part)
    given = dict(pairwise(line))
    mounted = next((given[name] for name in _PLACE if name in given), properties.get("alluxio.fuse.mount.point"))
    if mounted is None or Path(mounted) != place:
        return None
    root = next((given[name] for name in _ROOT if name in given), properties.get("alluxio.fuse.mount.alluxio.path"))
    port = properties.get("alluxio.master.rpc.port", "")
    return Shown(root or "/", properties.get("alluxio.master.hostname"), int(port) if port.isdigit() else None)
