"""What the kernel says is mounted."""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["FSTYPE", "Mount", "mounts"]

FSTYPE: Final = "fuse.alluxio-fuse"
_TABLE: Final = Path("/proc/self/mountinfo")
_ESCAPE: Final = re.compile(r"\\([0-7]{3})")
_DEAD: Final = (errno.ENOTCONN, errno.ECONNABORTED)


@dataclass(frozen=True, slots=True)
class Mount:
    """A FUSE mount of Alluxio."""

    path: Path

    @property
    def is_stale(self) -> bool:
        """Whether its process is gone, so that everything below it fails."""
        try:
            # The kernel answers a plain stat from its cache for minutes; this one asks the process.
            os.statvfs(self.path)
        except OSError as error:
            return error.errno in _DEAD
        return False


def mounts(table: Path = _TABLE) -> list[Mount]:
    """List the FUSE mounts of Alluxio, in the order in which they were made."""
    return [Mount(path) for path, fstype in _rows(table) if fstype == FSTYPE]


def _rows(table: Path) -> list[tuple[Path, str]]:
    rows = []
    for line in table.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        # proc_pid_mountinfo(5): optional fields end with a lone hyphen, and the type follows.
        before, _, after = line.partition(" - ")
        rows.append((Path(_plain(before.split(" ")[4])), after.split(" ")[0]))
    return rows


def _plain(text: str) -> str:
    """Undo the kernel's octal escapes of blanks and backslashes."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), text)
