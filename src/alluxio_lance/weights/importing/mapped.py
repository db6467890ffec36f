"""Files of somebody else's as memory: mapped when it is their turn, let go of after that."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.weights.rows import File

__all__ = ["MappedFile", "mapped_file"]


class MappedFile:
    """A file that is mapped when it is first read; whoever holds a view of it keeps the mapping."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._whole: memoryview | None = None
        self.size = path.stat().st_size

    def view(self, start: int = 0, stop: int | None = None) -> memoryview:
        """Return its bytes, or some of them.

        Raises
        ------
        InvalidArgument
            When it has another size than it had: what lies beyond the end of a file cannot be mapped.
        """
        if (size := self._path.stat().st_size) != self.size:
            raise InvalidArgument(f"{self._path} had {self.size} bytes and has {size} now: wait until it is written")
        if self._whole is None:
            self._whole = self._map()
        return self._whole[start:stop]

    def _map(self) -> memoryview:
        if not self.size:
            return memoryview(b"")
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            mapping = mmap.mmap(descriptor, self.size, mmap.MAP_PRIVATE, mmap.PROT_READ)
        finally:
            os.close(descriptor)
        mapping.madvise(mmap.MADV_SEQUENTIAL)
        return memoryview(mapping)


def mapped_file(path: Path, name: str) -> File:
    """Make a part of a file, under a name."""
    # Mapped anew at its turn: a model may have more files than a process may have mappings.
    return File(name, lambda: MappedFile(path).view())
