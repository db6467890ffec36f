"""Segments of strings, binary and lists of numbers: 64-bit offsets, room for the validity bitmap, then the values."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from alluxio_lance.layout import PAGE, Pages, Region, Segment
from alluxio_lance.sidecar.fill.framed import FramedWriter
from alluxio_lance.sidecar.fill.validity import presence
from alluxio_lance.sidecar.fill.values import NullItems, stored
from alluxio_lance.sidecar.fill.writer import Filled
from alluxio_lance.sidecar.ipcfile import Node
from alluxio_lance.sidecar.memfd import round_up
from alluxio_lance.sidecar.plan import ColumnPlan

__all__ = ["VariableWriter"]

_STEP: Final = 4 << 20
"""Bytes preallocated ahead of the values at most."""


class VariableWriter(FramedWriter):
    """Writes VARIABLE segments; the memory grows with the values."""

    def __init__(self, column: ColumnPlan, rows: int, name: str, pages: Pages) -> None:
        super().__init__(column, rows, name, pages)
        self._offsets = Region(self._start, 8 * (rows + 1))
        self._bitmap_at = round_up(self._start + self._offsets.length, PAGE)
        self._data_at = self._bitmap_at
        if column.field.nullable:
            self._data_at += round_up(-(-rows // 8), PAGE)
        leaf = column.shape.leaf
        self._item_bytes = 1 if leaf is None else leaf.stored.itemsize
        self._memfd.write(self._start, np.zeros(1, np.int64))

    def _first_bytes(self, pages: Pages) -> int:
        return self._start + 8 * (self._rows + 1)

    def append(self, array: pa.Array) -> int:
        """Copy the next rows; `NullItems` when a list has a null item."""
        present = presence(array)
        before = self._written
        ends = self._text(array) if self._column.shape.leaf is None else self._lists(array)
        place = self._offsets.offset + 8 * (self._validity.rows + 1)
        self._memfd.write(place, np.ascontiguousarray(ends + before // self._item_bytes))
        self._validity.append(len(array), present)
        return self._written - before + ends.nbytes

    def _text(self, array: pa.Array) -> npt.NDArray[np.int64]:
        """Copy the bytes of strings and return where each one ends, from the first."""
        array = array.cast(self._column.shape.written.type)
        _, offsets_buffer, data = array.buffers()
        offsets = np.frombuffer(offsets_buffer, np.int64, len(array) + 1, 8 * array.offset)
        if offsets[-1] > offsets[0]:
            self._write(np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]])
        ends: npt.NDArray[np.int64] = offsets[1:] - offsets[0]
        return ends

    def _lists(self, array: pa.Array) -> npt.NDArray[np.int64]:
        """Copy the items of lists and return where each list ends, from the first."""
        leaf = self._column.shape.leaf
        assert leaf is not None
        items = array.flatten()  # leaves out what lies under null rows
        if items.null_count:
            raise NullItems
        lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
        for piece in stored(items, leaf, None):
            self._write(piece)
        ends: npt.NDArray[np.int64] = np.cumsum(lengths, dtype=np.int64)
        return ends

    def _write(self, values: npt.NDArray[Any]) -> None:
        place = self._data_at + self._written
        if place + values.nbytes > self._memfd.allocated:
            self._memfd.ensure(place + values.nbytes + min(self._written, _STEP))
        self._written += self._memfd.write(place, values)

    def finish(self, id: int) -> Filled:
        """Write the bitmap and the messages, and seal."""
        validity = self._write_validity(self._bitmap_at)
        data = Region(self._data_at, self._written)
        length = self._complete(self._tree(validity, data), data)
        segment = Segment(
            id=id,
            rows=self._rows,
            length=length,
            pages=self._memfd.pages,
            data=data,
            offsets=self._offsets,
            validity=validity,
        )
        return self._filled(segment, self._validity.nulls)

    def _tree(self, validity: Region, data: Region) -> list[Node]:
        if self._column.shape.leaf is None:
            return [Node(self._rows, self._validity.nulls, (validity, self._offsets, data))]
        items = Node(self._written // self._item_bytes, 0, (Region(), data))
        return [Node(self._rows, self._validity.nulls, (validity, self._offsets)), items]
