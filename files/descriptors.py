"""Files that are kept open, so that the next read of one needs no open: a few, the least used go first."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

__all__ = ["OpenBlocks", "OpenFiles"]

_MOST: Final = 64
"""Descriptors that are kept."""
_MOST_BYTES: Final = 1 << 30
"""Bytes of blocks that are kept open: a block that the worker has dropped takes its disk until then."""


class OpenBlocks:
    """The open blocks of one file. They are closed when nobody has this object any more, so a reader needs no lock."""

    def __init__(self, descriptors: Sequence[int], block_bytes: int, length: int) -> None:
        self._descriptors = tuple(descriptors)
        self._block = block_bytes
        self.length = length

    def __len__(self) -> int:
        return len(self._descriptors)

    def __del__(self) -> None:
        for descriptor in self._descriptors:
            os.close(descriptor)

    def read(self, offset: int, length: int) -> bytes:
        """Read a range that lies in the file; fewer bytes when a block has become shorter."""
        if length <= self._block - offset % self._block:
            # The usual case, without a second copy.
            data = os.pread(self._descriptors[offset // self._block], length, offset % self._block)
            if len(data) == length:
                return data
        buffer = bytearray(length)
        return bytes(memoryview(buffer)[: self.read_into(offset, memoryview(buffer))])

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """Fill a buffer from a range that lies in the file, and return the number of bytes."""
        done = 0
        while done < len(buffer):
            number, within = divmod(offset + done, self._block)
            wanted = buffer[done : done + self._block - within]
            got = os.preadv(self._descriptors[number], [wanted], within)
            if not got:
                break
            done += got
        return done


class OpenFiles:
    """The open files of one process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: OrderedDict[tuple[int, ...], OpenBlocks] = OrderedDict()
        self._descriptors = 0
        self._bytes = 0

    def get(self, blocks: tuple[int, ...], make: Callable[[], OpenBlocks]) -> OpenBlocks:
        """Return the file with these blocks; it is opened when it is not open."""
        with self._lock:
            if found := self._files.get(blocks):
                self._files.move_to_end(blocks)
                return found
        made = make()
        with self._lock:
            if blocks not in self._files:
                self._files[blocks] = made
                self._count(made, 1)
            while len(self._files) > 1 and (self._descriptors > _MOST or self._bytes > _MOST_BYTES):
                self._count(self._files.popitem(last=False)[1], -1)
        return made

    def drop(self, blocks: tuple[int, ...]) -> None:
        """Keep a file open no longer."""
        with self._lock:
            if found := self._files.pop(blocks, None):
                self._count(found, -1)

    def clear(self) -> None:
        """Keep no file open."""
        with self._lock:
            self._files.clear()
            self._descriptors = self._bytes = 0

    def _count(self, file: OpenBlocks, sign: int) -> None:
        self._descriptors += sign * len(file)
        self._bytes += sign * file.length
