"""Writers that lay out the regions of a segment themselves and frame them as an Arrow IPC file."""

from __future__ import annotations

from collections.abc import Sequence

from alluxio_lance.layout import PAGE, Pages, Region
from alluxio_lance.sidecar.fill.validity import Validity
from alluxio_lance.sidecar.fill.writer import SegmentWriter
from alluxio_lance.sidecar.ipcfile import FileFrame, Node
from alluxio_lance.sidecar.memfd import page_bytes, round_up
from alluxio_lance.sidecar.plan import ColumnPlan

__all__ = ["FramedWriter"]


class FramedWriter(SegmentWriter):
    """Puts the first region at ``_start`` (H of docs/format/segments.md) and the messages around them all."""

    def __init__(self, column: ColumnPlan, rows: int, name: str, pages: Pages) -> None:
        self._frame = FileFrame(column.shape.written)
        self._start = round_up(self._frame.head_bytes(column.shape.arrays), page_bytes(pages))
        self._validity = Validity()
        self._written = 0
        """Bytes of values so far."""
        super().__init__(column, rows, name, pages)

    def _write_validity(self, place: int) -> Region:
        """Write the bitmap, if there is a null."""
        bitmap = self._validity.bitmap()
        if not bitmap:
            return Region()
        return Region(place, self._memfd.write(place, bitmap))

    def _complete(self, nodes: Sequence[Node], last: Region) -> int:
        """Write the messages around the regions, seal, and return the length of the file, in whole pages."""
        end = round_up(last.offset + last.length, 8)
        tail = self._frame.tail(self._start, end, nodes)
        length = round_up(end + len(tail), page_bytes(Pages.HUGE) if self._memfd.pages is Pages.HUGE else PAGE)
        for place, data in self._frame.head(self._start, end, nodes):
            self._memfd.write(place, data)
        self._memfd.write(length - len(tail), tail)
        self._memfd.seal(length)
        return length
