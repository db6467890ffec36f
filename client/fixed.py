"""A FIXED column: the shards of all segments as one array ``[N, *shape]``, views of it and gathers from it."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from alluxio_lance.client.counting import ReadCounters
from alluxio_lance.client.descriptors import Descriptors
from alluxio_lance.client.elements import element_of
from alluxio_lance.client.gathering import gather_threads
from alluxio_lance.client.nulls import Validity
from alluxio_lance.client.regions import map_joined
from alluxio_lance.client.room import room
from alluxio_lance.layout import Column
from alluxio_lance.sidecar._shm import Mapping, gather

__all__ = ["FixedColumn"]

_VIEWED_ROW: Final = 128 << 10
"""From this many bytes on mapping one row is cheaper than copying it."""
_SHARED: Final = 2 << 20
"""Below this a second thread never helps."""
_POPULATE_AFTER: Final = 64
"""The page tables are filled in one go when a 64th of the column was gathered before: then the rest will be, too."""


class FixedColumn:
    """Rows of the same size.

    Everything handed out is writable and nobody else's: a view is a copy-on-write mapping of its own, so writing into
    a batch changes neither the dataset nor another batch.
    """

    def __init__(
        self, column: Column, descriptors: Descriptors, rows: int, shard_rows: int, counters: ReadCounters
    ) -> None:
        self.layout: Final = column
        self.element: Final = element_of(column)
        self.rows: Final = rows
        self._row_bytes: Final = self.element.row_bytes
        self.validity: Final = (
            Validity(column.segments, descriptors.numbers, shard_rows, rows) if column.null_count and rows else None
        )
        self._descriptors = descriptors
        self._shard_rows = shard_rows
        self._counters = counters
        self._whole: tuple[Mapping, npt.NDArray[Any]] | None = None
        self._gathered = 0
        self._populated = False

    @property
    def array(self) -> npt.NDArray[Any]:
        """All rows, shape ``[N, *shape]``, read only and the node's only copy; null slots hold 0, NaN or NaT."""
        return self._mapped()[1]

    def _mapped(self) -> tuple[Mapping, npt.NDArray[Any]]:
        if self._whole is None:
            mapping, offset = self._map(0, self.rows, writable_copy=False)
            assert offset == 0, "data regions begin on a page"
            self._whole = mapping, self._shaped(memoryview(mapping), 0, self.rows)
        return self._whole

    def view(self, start: int, stop: int, *, populate: bool = False) -> npt.NDArray[Any]:
        """Rows ``start`` to ``stop`` without moving a byte, as a copy-on-write mapping; a copy if the kernel refuses.

        With ``populate`` its page tables are filled now, with the errors of `FixedColumn.populate`.

        On segments of reserved huge pages (``Pages.HUGE``) the first write into a view takes a free huge page; where
        none is free the kernel ends the process with SIGBUS. Copy such a view before writing into it.
        """
        try:
            mapping, offset = self._map(start, stop, writable_copy=True)
        except OSError:
            # Too many mappings (vm.max_map_count): slower, and right.
            self._counters.refused()
            return self.take(np.arange(start, stop, dtype=np.int64))
        if populate:
            mapping.populate()
        self._counters.viewed((stop - start) * self._row_bytes)
        return self._shaped(memoryview(mapping), offset, stop - start)

    def row(self, index: int) -> npt.NDArray[Any]:
        """One row, shape ``shape``; negative indices count from the end.

        Raises
        ------
        IndexError
            When there is no such row.
        """
        if not -self.rows <= index < self.rows:
            raise IndexError(f"index {index} is out of range for {self.rows} rows")
        place = index % self.rows
        if self._row_bytes >= _VIEWED_ROW:
            return self.view(place, place + 1).reshape(self.element.shape)
        self._counters.gathered(self._row_bytes)
        return self.array[place : place + 1].copy().reshape(self.element.shape)

    def take(self, indices: npt.NDArray[np.int64], target: npt.NDArray[Any] | None = None) -> npt.NDArray[Any]:
        """Copy rows in the order of the indices, into ``target`` or into a reused block.

        Raises
        ------
        IndexError
            When an index is not in ``[-N, N)``.
        """
        count = len(indices)
        bytes_ = count * self._row_bytes
        if not self._populated:
            self._prefault(bytes_)
        threads = gather_threads() if bytes_ >= _SHARED else 1
        if target is None:
            target = self.room(count)
        gather(self._mapped()[0], self.rows, self._row_bytes, indices, target, threads=threads)
        self._counters.gathered(bytes_)
        return target

    def room(self, rows: int) -> npt.NDArray[Any]:
        """Memory for so many rows, from the pool of blocks when it is worth it."""
        return room((rows, *self.element.shape), self.element.stored)

    def present(self) -> npt.NDArray[np.bool_]:
        """Whether each row is not null, shape ``[N]``."""
        return np.ones(self.rows, np.bool_) if self.validity is None else self.validity.all()

    def _map(self, start: int, stop: int, *, writable_copy: bool) -> tuple[Mapping, int]:
        return map_joined(
            self.layout.segments,
            self._descriptors.numbers,
            self._row_bytes,
            self._shard_rows,
            start,
            stop,
            writable_copy=writable_copy,
        )

    def _shaped(self, memory: memoryview, offset: int, rows: int) -> npt.NDArray[Any]:
        return np.ndarray((rows, *self.element.shape), self.element.stored, memory, offset)

    def populate(self) -> None:
        """Fill the page tables for all rows now; `take` does so only when it has read some of them.

        Raises
        ------
        OSError
            When bytes cannot be had: of a file on a disk that fails. To touch these would end the process with SIGBUS.
        """
        if not self._populated:
            self._populated = True
            self._mapped()[0].populate()

    def read_in(self, start: int, stop: int) -> None:
        """Have rows read in of which the kernel may have dropped pages; errors as of `populate`."""
        self._mapped()[0].populate(start * self._row_bytes, stop * self._row_bytes)

    def _prefault(self, coming: int) -> None:
        before, self._gathered = self._gathered, self._gathered + coming
        # What came before counts, not what comes now: the first batch of a new version does not wait for all of it.
        if before and before * _POPULATE_AFTER >= self.rows * self._row_bytes:
            self.populate()
