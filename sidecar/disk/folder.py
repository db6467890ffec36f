"""The folder of the disk tier: one sidecar's alone, one folder per column in it, each there whole or not at all.

A column is written into ``new-DIGEST`` (segments first, the index last, all flushed) and then renamed to ``DIGEST``; one
that goes is renamed to ``old-…`` before its files are removed. So whatever has such a name at the start is what a death
left, and what has a digest as its name is whole.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import stat
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import structlog

from alluxio_lance.errors import AlreadyExists, PermissionDenied, Unavailable
from alluxio_lance.sidecar.disk.entry import Entry
from alluxio_lance.sidecar.disk.marks import Mark, mark_of
from alluxio_lance.sidecar.locking import take_lock

__all__ = ["INDEX", "DiskFolder", "flush", "segment_file"]

_log = structlog.get_logger(__name__)

INDEX: Final = "index.json"
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_LEFT: Final = re.compile(r"(new|old)-[0-9a-f]{64}(-\d+)?")


def segment_file(number: int) -> str:
    """Return the name of a segment's file: it is an Arrow IPC file."""
    return f"{number}.arrow"


def flush(path: Path) -> None:
    """Bring to the disk what was written to a file, or into a folder's list of names."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class DiskFolder:
    """A folder that this process owns for as long as it is open; the lock is the kernel's, gone with the process."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock
        self._removals = itertools.count(1)
        self._now = 0
        self._lock_of_time = threading.Lock()
        self._unfinished: deque[Path] = deque()
        """What has left the tier and could not be removed yet: nothing counts the room that it takes."""

    @classmethod
    def open(cls, path: Path) -> Self:
        """Make the folder if it is missing, check whose it is, and lock it.

        Raises
        ------
        AlreadyExists
            When another sidecar uses it; the message names its process.
        PermissionDenied
            When somebody else can write there, and so could give readers other bytes.
        Unavailable
            When it cannot be made.
        """
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            _check_private(path)
            return cls(path, _take_lock(path))
        except OSError as error:
            raise Unavailable(
                f"the disk tier's folder {path} cannot be used ({error.strerror}) - set disk_dir "
                "(ALLUXIO_LANCE_DISK_DIR) to a folder that this user can write, or disk_budget to 0",
                what="disk tier",
            ) from error

    def free_bytes(self) -> int:
        """Return what the file system has left for this user."""
        facts = os.statvfs(self.path)
        return facts.f_bavail * facts.f_frsize

    def recover(self) -> list[Entry]:
        """Remove what a death left and what cannot be used, and return what is whole, the longest unused first."""
        found: list[tuple[int, Entry]] = []
        for folder in sorted(self.path.iterdir()):
            if _DIGEST.fullmatch(folder.name):
                try:
                    found.append(((folder / INDEX).stat().st_mtime_ns, _read(folder)))
                except (OSError, ValueError) as error:
                    _log.warning("a column in the disk tier is unusable and goes", folder=str(folder), error=str(error))
                    self.remove(folder.name)
            elif _LEFT.fullmatch(folder.name):
                self._finish(folder)
        found.sort(key=lambda pair: pair[0])
        self._now = found[-1][0] if found else 0
        return [entry for _, entry in found]

    def touch(self, digest: str) -> None:
        """Note that a column was used now: the time of its index says so, which no flush hurries to the disk."""
        # Later than any before: the kernel's own time stands still for milliseconds, and clocks are set back.
        with self._lock_of_time:
            self._now = max(time.time_ns(), self._now + 1)
            now = self._now
        try:
            os.utime(self.path / digest / INDEX, ns=(now, now))
        except FileNotFoundError:
            return  # it has just gone
        except OSError as error:
            # A disk that went read-only can still be read: only the order of what goes first is not kept.
            _log.warning("the use of a column in the disk tier cannot be noted", folder=digest, error=str(error))

    def remove(self, digest: str) -> None:
        """Remove a column; one that is gone already is no error. What cannot be removed now is tried again later."""
        going = self.path / f"old-{digest}-{next(self._removals)}"
        try:
            (self.path / digest).rename(going)
        except FileNotFoundError:
            return
        except OSError as error:
            _log.warning("a column in the disk tier cannot be removed", folder=digest, error=str(error))
            return
        if self._finish(going):
            self.finish_removals()

    def finish_removals(self) -> None:
        """Try again to remove what could not be removed before: this process had no descriptors left for it, perhaps."""
        while self._unfinished:
            try:
                going = self._unfinished.popleft()
            except IndexError:
                return  # another thread was quicker
            if not self._finish(going):
                return  # most likely none of the others can be removed, either

    def _finish(self, going: Path) -> bool:
        """Remove a folder that is not the tier's any more, or note that it is still there; returns whether it is gone."""
        _discard(going)
        if not os.path.lexists(going):
            return True
        self._unfinished.append(going)
        return False

    def open_segments(self, entry: Entry) -> Iterator[int]:
        """Open the files of a column's segments, in order; the caller closes them."""
        # No path objects: a window opens some dozen files, and waits for this.
        folder = f"{self.path}/{entry.key.digest}"
        for number in range(len(entry.segments)):
            yield os.open(f"{folder}/{segment_file(number)}", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)

    def marks(self, entry: Entry) -> list[Mark]:
        """Look at the files of a column's segments, in order."""
        folder = self.path / entry.key.digest
        return [
            mark_of((folder / segment_file(number)).stat(follow_symlinks=False))
            for number in range(len(entry.segments))
        ]

    def close(self) -> None:
        """Give the lock free; a second call does nothing."""
        lock, self._lock = self._lock, -1
        if lock >= 0:
            os.close(lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _discard(path: Path) -> None:
    """Remove a folder; also a file or link of such a name, whoever made it, and not what a link leads to."""
    if path.is_symlink() or path.is_file():
        with suppress(OSError):
            path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)


def _check_private(path: Path) -> None:
    facts = path.stat()
    if facts.st_uid != os.geteuid():
        why = f"belongs to uid {facts.st_uid} and not to this user (uid {os.geteuid()})"
    elif facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        why = f"can be written by others (mode {stat.S_IMODE(facts.st_mode):04o})"
    else:
        return
    raise PermissionDenied(
        f"the disk tier's folder {path} {why}, who could give readers other bytes there - set disk_dir "
        "(ALLUXIO_LANCE_DISK_DIR) to a folder of this user's own"
    )


def _read(folder: Path) -> Entry:
    """Read the index of a column and compare it with the files; `ValueError` or `OSError` when it is not whole."""
    entry = Entry.from_bytes((folder / INDEX).read_bytes())
    if entry.key.digest != folder.name:
        raise ValueError("the index is another column's")
    for number, kept in enumerate(entry.segments):
        size = (folder / segment_file(number)).stat().st_size
        if size != kept.segment.length:
            raise ValueError(f"segment {number} has {size} bytes instead of {kept.segment.length}")
    return entry


def _take_lock(path: Path) -> int:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return take_lock(folder, lambda pid: _taken(path, pid))
    finally:
        os.close(folder)


def _taken(path: Path, pid: str) -> AlreadyExists:
    return AlreadyExists(
        f"a sidecar (process {pid}) keeps its disk tier in {path} already - give this one another disk_dir "
        "(ALLUXIO_LANCE_DISK_DIR), or set its disk_budget to 0",
        pid=pid,
    )
