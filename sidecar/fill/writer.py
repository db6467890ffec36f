"""What every writer of a segment has in common: a memfd that takes rows and is sealed in the end."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from concurrent.futures import Executor
from dataclasses import dataclass

import pyarrow as pa

from alluxio_lance.layout import Pages, Segment
from alluxio_lance.sidecar.memfd import Memfd
from alluxio_lance.sidecar.plan import ColumnPlan

__all__ = ["Filled", "SegmentWriter"]


@dataclass(frozen=True, slots=True)
class Filled:
    """A sealed segment: its description, its nulls, the descriptor that the receiver closes, the memory it takes."""

    segment: Segment
    nulls: int
    fd: int
    bytes: int


class SegmentWriter(ABC):
    """Fills one segment from arrays that come in order.

    Parameters
    ----------
    column
        What is written.
    rows
        How many rows will come.
    name
        The memfd's name.
    pages
        The memfd's pages; reserved huge ones are only claimed, call `clear` before the first `append`.

    Raises
    ------
    NoSpace
        When the kernel has no memory, here and in `append` and `finish`.
    """

    def __init__(self, column: ColumnPlan, rows: int, name: str, pages: Pages) -> None:
        self._column = column
        self._rows = rows
        self._memfd = Memfd(name, self._first_bytes(pages), pages, claimed=True)

    @abstractmethod
    def _first_bytes(self, pages: Pages) -> int:
        """Say how many bytes to preallocate at once."""

    def clear(self, taker: Executor) -> None:
        """Have the claimed memory cleared by another thread, see `Memfd.clear`."""
        self._memfd.clear(taker)

    def room(self, row: int, count: int) -> memoryview | None:
        """Return where values of rows may be read to, if `append` would copy them there as they are; from any thread."""
        return None

    @abstractmethod
    def append(self, array: pa.Array) -> int:
        """Copy the next rows and return the number of bytes copied."""

    @abstractmethod
    def finish(self, id: int) -> Filled:
        """Complete and seal the segment; all rows have come."""

    @property
    def taken(self) -> int:
        """Bytes of memory taken so far."""
        return self._memfd.allocated

    def _filled(self, segment: Segment, nulls: int) -> Filled:
        fd = self._memfd.detach()
        return Filled(segment, nulls, fd, os.fstat(fd).st_blocks * 512)

    def close(self) -> None:
        """Free the memory of a segment that is not finished; a second call does nothing."""
        self._memfd.close()
