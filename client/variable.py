"""A VARIABLE column: strings, binary, lists of numbers; its batches are offsets and values laid end to end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from alluxio_lance.client.counting import ReadCounters
from alluxio_lance.client.descriptors import Descriptors
from alluxio_lance.client.elements import Element, element_of
from alluxio_lance.client.nulls import Validity
from alluxio_lance.client.regions import map_region, map_values
from alluxio_lance.client.room import room
from alluxio_lance.errors import Corrupt
from alluxio_lance.layout import Column, Segment
from alluxio_lance.sidecar._shm import Ragged

__all__ = ["RaggedRows", "VariableColumn"]


@dataclass(frozen=True, slots=True, eq=False)
class RaggedRows:
    """Rows of different lengths."""

    element: Element
    offsets: npt.NDArray[np.int64]
    """``n + 1`` places in ``values``."""
    values: npt.NDArray[Any]
    """Of dtype ``element.stored``: numbers, or the bytes of strings."""
    present: npt.NDArray[np.bool_] | None
    """Which rows are not null; None when all are."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def rows(self) -> list[Any]:
        """Each row as ``str``, ``bytes`` or an array (a view of ``values``); None for a null."""
        present = self.present
        values = self._values()
        return list(values) if present is None else [v if p else None for v, p in zip(values, present, strict=True)]

    def _values(self) -> Iterator[Any]:
        ends = self.offsets.tolist()
        spans = pairwise(ends)
        if not self.element.is_text:
            return (self.values[start:stop] for start, stop in spans)
        data = self.values.tobytes()
        pieces = (data[start:stop] for start, stop in spans)
        return (piece.decode() for piece in pieces) if self.element.name == "string" else pieces


class VariableColumn:
    """Rows of different lengths. A batch is always a copy: strings become Python objects anyway."""

    def __init__(
        self, column: Column, descriptors: Descriptors, rows: int, shard_rows: int, counters: ReadCounters
    ) -> None:
        self.layout: Final = column
        self.element: Final = element_of(column)
        self.rows: Final = rows
        self.validity: Final = (
            Validity(column.segments, descriptors.numbers, shard_rows, rows) if column.null_count and rows else None
        )
        self._counters = counters
        self._descriptors = descriptors
        shards = [_parts(segment, fd) for segment, fd in zip(column.segments, descriptors.numbers, strict=True)]
        self._ragged = Ragged(shards, shard_rows, rows, self.element.stored.itemsize)

    def row(self, index: int) -> Any:
        """One row: ``str``, ``bytes`` or an array; None for a null. `IndexError` when there is no such row."""
        return self.take(np.array([index], np.int64)).rows()[0]

    def take(self, indices: npt.NDArray[np.int64]) -> RaggedRows:
        """Copy rows in the order of the indices.

        Raises
        ------
        IndexError
            When an index is not in ``[-N, N)``.
        Corrupt
            When the offsets of a segment contradict themselves.
        """
        offsets = np.empty(len(indices) + 1, np.int64)
        try:
            total = self._ragged.measure(indices, offsets)
        except ValueError as error:
            raise Corrupt(f"column {self.layout.name!r}: {error} - open the dataset again, or roll back") from error
        values = room((total,), self.element.stored)
        self._ragged.gather(indices, values)
        self._counters.gathered(values.nbytes)
        present = None if self.validity is None else self.validity.take(indices)
        return RaggedRows(self.element, offsets, values, present)

    def joined(self) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """All rows without moving their values.

        Returns
        -------
        values, starts, lengths
            Row i is ``values[starts[i] : starts[i] + lengths[i]]``; between the shards lie values that no row has.
            Null rows have no length. The arrays are copy on write and nobody else's.
        """
        mapping, places = map_values(self.layout.segments, self._descriptors.numbers)
        width = self.element.stored.itemsize
        values = np.ndarray(len(mapping) // width, self.element.stored, memoryview(mapping))
        offsets = [
            np.frombuffer(map_region(segment, descriptor, segment.offsets.offset, (segment.rows + 1) * 8), np.int64)
            for segment, descriptor in zip(self.layout.segments, self._descriptors.numbers, strict=True)
        ]
        empty = np.empty(0, np.int64)
        starts = np.concatenate([empty, *(o[:-1] + p // width for o, p in zip(offsets, places, strict=True))])
        lengths = np.concatenate([empty, *map(np.diff, offsets)])
        if self.validity is not None:
            lengths[~self.validity.all()] = 0
        return values, starts, lengths

    def present(self) -> npt.NDArray[np.bool_]:
        """Whether each row is not null, shape ``[N]``."""
        return np.ones(self.rows, np.bool_) if self.validity is None else self.validity.all()

    def whole(self) -> RaggedRows:
        """All rows."""
        return self.take(np.arange(self.rows, dtype=np.int64))


def _parts(segment: Segment, descriptor: int) -> tuple[memoryview, memoryview]:
    offsets, data = segment.offsets, segment.data
    return (
        map_region(segment, descriptor, offsets.offset, offsets.length),
        map_region(segment, descriptor, data.offset, data.length),
    )
