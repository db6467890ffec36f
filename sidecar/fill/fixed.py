"""Segments of fixed-width columns: row-major values on whole pages, then the validity bitmap if there is a null."""

from __future__ import annotations

import pyarrow as pa

from alluxio_lance.layout import PAGE, Pages, Region, Segment
from alluxio_lance.sidecar.fill.framed import FramedWriter
from alluxio_lance.sidecar.fill.validity import presence
from alluxio_lance.sidecar.fill.values import stored
from alluxio_lance.sidecar.fill.writer import Filled
from alluxio_lance.sidecar.ipcfile import Node
from alluxio_lance.sidecar.memfd import page_bytes, round_up

__all__ = ["FixedWriter"]


class FixedWriter(FramedWriter):
    """Writes FIXED segments; the memory of all values is there before the first one comes."""

    def _first_bytes(self, pages: Pages) -> int:
        if pages is Pages.HUGE:  # with the bitmap: the pool may be empty when it turns out to be needed
            return self._column.segment_bytes(self._rows, page_bytes(pages))
        return self._start + self._rows * self._column.row_bytes

    def room(self, row: int, count: int) -> memoryview | None:
        """Return where values of rows go, where they are memory and stay as they come."""
        leaf, width = self._column.shape.leaf, self._column.row_bytes
        if leaf is None or not leaf.plain:
            return None
        return self._memfd.room(self._start + row * width, count * width)

    def append(self, array: pa.Array) -> int:
        """Copy the next rows; `NullItems` when a list has a null item."""
        leaf = self._column.shape.leaf
        assert leaf is not None
        present = presence(array)
        before = self._written
        for piece in stored(array, leaf, present):
            self._written += self._memfd.write(self._start + self._written, piece)
        self._validity.append(len(array), present)
        return self._written - before

    def finish(self, id: int) -> Filled:
        """Write the bitmap and the messages, and seal."""
        data = Region(self._start, self._written)
        validity = self._write_validity(round_up(data.offset + data.length, PAGE))
        nodes = _tree(self._column.shape.written.type, self._rows, self._validity.nulls, validity, data)
        length = self._complete(nodes, validity if validity.length else data)
        segment = Segment(id=id, rows=self._rows, length=length, pages=self._memfd.pages, data=data, validity=validity)
        return self._filled(segment, self._validity.nulls)


def _tree(type: pa.DataType, rows: int, nulls: int, validity: Region, data: Region) -> list[Node]:
    """Describe nested fixed-size lists, parents first; only the outermost has nulls."""
    if isinstance(type, pa.BaseExtensionType):
        return _tree(type.storage_type, rows, nulls, validity, data)
    if not isinstance(type, pa.FixedSizeListType):
        return [Node(rows, nulls, (validity, data))]
    inner = _tree(type.value_type, rows * type.list_size, 0, Region(), data)
    return [Node(rows, nulls, (validity,)), *inner]
