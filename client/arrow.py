"""An ARROW column: structs, maps, decimals and the like, read with pyarrow straight from the mapped segments."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from alluxio_lance.client.counting import ReadCounters
from alluxio_lance.client.descriptors import Descriptors
from alluxio_lance.client.regions import map_region
from alluxio_lance.layout import Column, Segment

__all__ = ["ArrowColumn"]


class ArrowColumn:
    """Rows of any Arrow type; a sample is what pyarrow makes of it (``as_py``)."""

    def __init__(
        self, column: Column, descriptors: Descriptors, rows: int, shard_rows: int, counters: ReadCounters
    ) -> None:
        self.layout: Final = column
        self.rows: Final = rows
        self._descriptors = descriptors
        self._counters = counters

    @cached_property
    def array(self) -> pa.ChunkedArray:
        """All rows, one chunk per shard; the buffers are the segments themselves."""
        pairs = zip(self.layout.segments, self._descriptors.numbers, strict=True)
        chunks = [chunk for segment, descriptor in pairs for chunk in _read(segment, descriptor)]
        return pa.chunked_array(chunks, pa.ipc.read_schema(pa.py_buffer(self.layout.schema)).field(0).type)

    def row(self, index: int) -> Any:
        """One row as a Python object; None for a null. `IndexError` when there is no such row."""
        if not -self.rows <= index < self.rows:
            raise IndexError(f"index {index} is out of range for {self.rows} rows")
        return self.array[index % self.rows].as_py()

    def take(self, indices: npt.NDArray[np.int64]) -> list[Any]:
        """Rows as Python objects, in the order of the indices. `IndexError` when an index is not in ``[-N, N)``."""
        for index in indices[(indices < -self.rows) | (indices >= self.rows)]:
            raise IndexError(f"index {index} is out of range for {self.rows} rows")
        taken = self.array.take(pa.array(np.where(indices < 0, indices + self.rows, indices)))
        self._counters.gathered(taken.nbytes)
        rows: list[Any] = taken.to_pylist()
        return rows

    def present(self) -> npt.NDArray[np.bool_]:
        """Whether each row is not null, shape ``[N]``."""
        return np.asarray(self.array.is_valid().combine_chunks(), np.bool_).reshape(self.rows)


def _read(segment: Segment, descriptor: int) -> list[pa.Array]:
    with pa.ipc.open_file(pa.py_buffer(map_region(segment, descriptor, 0, segment.length))) as reader:
        return [reader.get_batch(place).column(0) for place in range(reader.num_record_batches)]
