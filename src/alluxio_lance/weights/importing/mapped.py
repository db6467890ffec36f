"""Files of somebody else's as memory, when it is their turn: read, and mapped only where they are too large for that.

Memory of a mapped file is gone when somebody cuts the file short or its disk fails, and to touch it then ends the process.
"""

from __future__ import annotations

import mmap
import os
import stat
from pathlib import Path
from typing import Final

import numpy as np

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.weights.rows import File

__all__ = ["MappedFile", "mapped_file"]

_MOST_READ: Final = 1 << 30
"""Bytes of a part that is read into memory of its own."""


class MappedFile:
    """A file that is opened when some of it is wanted; it is refused when it is another one by then."""

    def __init__(self, path: Path) -> None:
        self._path = path
        found = path.stat()
        self.size = found.st_size
        self._changed_at = found.st_mtime_ns

    def view(self, start: int = 0, stop: int | None = None) -> memoryview:
        """Return its bytes, or some of them.

        Raises
        ------
        InvalidArgument
            When it has another size or was written to since this object was made: heads and bytes would not fit.
        """
        stop = self.size if stop is None else min(stop, self.size)
        # Opening a pipe that somebody put in its place would wait without an end.
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            self._check(descriptor)
            if stop - start > _MOST_READ:
                return self._map(descriptor)[start:stop]
            data = self._read(descriptor, start, stop)
            self._check(descriptor)
            return data
        finally:
            os.close(descriptor)

    def _check(self, descriptor: int) -> None:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise InvalidArgument(f"{self._path} is no plain file any more")
        if found.st_size != self.size:
            raise self._changed(f"had {self.size} bytes and has {found.st_size} now")
        if found.st_mtime_ns != self._changed_at:
            raise self._changed("was written to meanwhile")

    def _changed(self, how: str) -> InvalidArgument:
        return InvalidArgument(f"{self._path} {how}: wait until it is written, then save again")

    def _read(self, descriptor: int, start: int, stop: int) -> memoryview:
        data = np.empty(max(stop - start, 0), np.uint8).data
        done = 0
        while done < len(data):
            if not (count := os.preadv(descriptor, [data[done:]], start + done)):
                raise self._changed(f"ends at byte {start + done} now")
            done += count
        return data

    def _map(self, descriptor: int) -> memoryview:
        mapping = mmap.mmap(descriptor, self.size, mmap.MAP_PRIVATE, mmap.PROT_READ)
        mapping.madvise(mmap.MADV_SEQUENTIAL)
        return memoryview(mapping)


def mapped_file(path: Path, name: str) -> File:
    """Make a part of a file, under a name."""
    return File(name, MappedFile(path).view)
