"""Arrow IPC files whose regions start on pages: the messages around the values of one segment.

A file of one record batch with one field (https://arrow.apache.org/docs/format/Columnar.html#ipc-file-format)::

    ARROW1 . schema message . zeros | batch message ][ body: regions ... | zeros . footer . its length . ARROW1
    0                                               H (whole pages)              V                        length

The schema message and the footer's copy of the schema are pyarrow's own bytes, whatever the type; the footer's block,
a struct that is always stored in full, is overwritten with the true place of the batch. The batch message is built here.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import flatbuffers
import pyarrow as pa
from flatbuffers.table import Table

from alluxio_lance.errors import Internal
from alluxio_lance.layout import Region

__all__ = ["FileFrame", "Node"]

_MAGIC: Final = b"ARROW1"
_CONTINUATION: Final = 0xFFFFFFFF
_ALIGNMENT: Final = 8
_METADATA_V5: Final = 4
_RECORD_BATCH: Final = 3
_FOOTER_BLOCKS: Final = 4 + 2 * 3
"""The vtable entry of ``Footer.recordBatches``, its fourth field (File.fbs)."""
_BLOCK: Final = struct.Struct("<qi4xq")
"""``Block``: offset, metaDataLength, bodyLength (File.fbs)."""


@dataclass(frozen=True, slots=True)
class Node:
    """One array of the batch's tree, parents first: its length, its nulls and where its buffers lie in the file."""

    length: int
    null_count: int
    buffers: tuple[Region, ...]


class FileFrame:
    """The bytes before and after the regions of an IPC file of one field.

    Parameters
    ----------
    field
        The field as it is written.
    """

    def __init__(self, field: pa.Field) -> None:
        sink = pa.BufferOutputStream()
        schema = pa.schema([field])
        with pa.ipc.new_file(sink, schema) as writer:
            writer.write_batch(pa.record_batch([pa.nulls(0, field.type)], schema))
        file = sink.getvalue().to_pybytes()
        (footer_length,) = struct.unpack_from("<i", file, len(file) - len(_MAGIC) - 4)
        end = len(file) - len(_MAGIC) - 4
        footer = file[end - footer_length : end]
        # A footer that ends on a multiple of 8 also begins on one: zeros behind a flatbuffer are allowed.
        self._footer = footer + bytes(-(len(footer) + 4 + len(_MAGIC)) % _ALIGNMENT)
        self._schema: bytes = schema.serialize().to_pybytes()

    def head_bytes(self, arrays: int) -> int:
        """Return how many bytes the head of a tree of so many arrays takes at most, whatever its numbers are."""
        fullest = Node(1, 1, (Region(_ALIGNMENT, _ALIGNMENT),) * 3)
        return _ALIGNMENT + len(self._schema) + len(self._batch(1, [fullest] * arrays))

    def tail_bytes(self) -> int:
        """Return the bytes after the last region."""
        return len(self._footer) + 4 + len(_MAGIC)

    def head(self, start: int, end: int, nodes: Sequence[Node]) -> tuple[tuple[int, bytes], ...]:
        """Write what stands before the regions.

        Parameters
        ----------
        start, end
            Where the body begins (H) and where it ends, from the start of the file.
        nodes
            The arrays, parents first; the first one has the rows.

        Returns
        -------
        tuple
            ``(place, bytes)`` of the opening and of the batch message, which ends at ``start``; zeros between.
        """
        opening = _MAGIC + b"\0\0" + self._schema
        batch = self._message(start, end, nodes)
        place = start - len(batch)
        if place < len(opening):
            raise Internal(
                f"the messages of a segment do not fit into the {start} bytes of its head - please report it"
            )
        return (0, opening), (place, batch)

    def tail(self, start: int, end: int, nodes: Sequence[Node]) -> bytes:
        """Write the footer, which ends the file; arguments as in `head`."""
        message = len(self._message(start, end, nodes))
        footer = bytearray(self._footer)
        _BLOCK.pack_into(footer, _place_of_block(footer), start - message, message, end - start)
        return bytes(footer) + struct.pack("<i", len(footer)) + _MAGIC

    def _message(self, start: int, end: int, nodes: Sequence[Node]) -> bytes:
        moved = [
            Node(
                node.length,
                node.null_count,
                tuple(Region(r.offset - start, r.length) if r.length else Region() for r in node.buffers),
            )
            for node in nodes
        ]
        return self._batch(end - start, moved)

    @staticmethod
    def _batch(body: int, nodes: Sequence[Node]) -> bytes:
        """Build the encapsulated message of a record batch (Message.fbs), padded to 8 bytes."""
        builder = flatbuffers.Builder(1024)
        buffers = [region for node in nodes for region in node.buffers]
        builder.StartVector(16, len(buffers), 8)
        for region in reversed(buffers):
            builder.Prep(8, 16)
            builder.PrependInt64(region.length)
            builder.PrependInt64(region.offset)
        buffer_vector = builder.EndVector()
        builder.StartVector(16, len(nodes), 8)
        for node in reversed(nodes):
            builder.Prep(8, 16)
            builder.PrependInt64(node.null_count)
            builder.PrependInt64(node.length)
        node_vector = builder.EndVector()
        builder.StartObject(5)
        builder.PrependInt64Slot(0, nodes[0].length, 0)
        builder.PrependUOffsetTRelativeSlot(1, node_vector, 0)
        builder.PrependUOffsetTRelativeSlot(2, buffer_vector, 0)
        batch = builder.EndObject()
        builder.StartObject(5)
        builder.PrependInt16Slot(0, _METADATA_V5, 0)
        builder.PrependUint8Slot(1, _RECORD_BATCH, 0)
        builder.PrependUOffsetTRelativeSlot(2, batch, 0)
        builder.PrependInt64Slot(3, body, 0)
        builder.Finish(builder.EndObject())
        message = bytes(builder.Output())
        message += bytes(-len(message) % _ALIGNMENT)
        return struct.pack("<Ii", _CONTINUATION, len(message)) + message


def _place_of_block(footer: bytearray) -> int:
    """Find the one block of a footer."""
    (root,) = struct.unpack_from("<I", footer)
    table = Table(footer, root)
    field = table.Offset(_FOOTER_BLOCKS)
    if not field or table.VectorLen(field) != 1:
        raise Internal("pyarrow wrote a footer without exactly one record batch - please report it")
    place = table.Vector(field)
    assert isinstance(place, int)
    return place
