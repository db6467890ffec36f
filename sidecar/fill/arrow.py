"""Segments of all other types: an Arrow IPC file as pyarrow writes it, of one batch where it fits."""

from __future__ import annotations

import os

import pyarrow as pa

from alluxio_lance.layout import Pages, Segment
from alluxio_lance.sidecar.fill.writer import Filled, SegmentWriter
from alluxio_lance.sidecar.memfd import memory_faults
from alluxio_lance.sidecar.plan import ColumnPlan

__all__ = ["ArrowWriter"]


class ArrowWriter(SegmentWriter):
    """Writes ARROW segments; a shard is collected first, since a file has one dictionary for all its batches."""

    def __init__(self, column: ColumnPlan, rows: int, name: str, pages: Pages) -> None:
        super().__init__(column, rows, name, Pages.SMALL)  # its buffers start anywhere, so no mapping wants huge pages
        self._arrays: list[pa.Array] = []
        self._collected = 0

    def _first_bytes(self, pages: Pages) -> int:
        return 0

    @property
    def taken(self) -> int:
        """Bytes of the rows collected so far."""
        return self._collected

    def append(self, array: pa.Array) -> int:
        """Collect the next rows."""
        self._arrays.append(array)
        self._collected += array.nbytes
        return int(array.nbytes)

    def finish(self, id: int) -> Filled:
        """Write the file, and seal."""
        field = self._column.shape.written
        arrays = pa.chunked_array(self._arrays, field.type)
        self._arrays = []
        table = pa.Table.from_arrays([arrays], schema=pa.schema([field])).unify_dictionaries().combine_chunks()
        fd = self._memfd.fd
        with (
            memory_faults(self._memfd.name, table.nbytes),
            pa.OSFile(f"/proc/self/fd/{fd}", "wb") as sink,
            pa.ipc.new_file(sink, table.schema) as writer,
        ):
            writer.write_table(table)
        length = os.fstat(fd).st_size
        self._memfd.seal(length)
        segment = Segment(id=id, rows=self._rows, length=length, pages=Pages.SMALL)
        return self._filled(segment, arrays.null_count)
