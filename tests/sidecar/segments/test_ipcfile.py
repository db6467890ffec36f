"""The frame of an Arrow IPC file around regions, by itself."""

from __future__ import annotations

import pyarrow as pa
import pytest

from alluxio_lance.errors import Internal
from alluxio_lance.layout import Region
from alluxio_lance.sidecar import ipcfile
from alluxio_lance.sidecar.ipcfile import FileFrame, Node


def _file(frame: FileFrame, start: int, body: bytes, nodes: list[Node], gap: int = 0) -> bytes:
    end = start + len(body)
    file = bytearray(start) + body + bytes(gap)
    for place, data in frame.head(start, end, nodes):
        file[place : place + len(data)] = data
    return bytes(file) + frame.tail(start, end, nodes)


@pytest.mark.parametrize("gap", [0, 8, 4096])
def test_zeros_may_stand_between_the_regions_and_the_footer(gap):
    """The footer is found from the end of the file, however far the values are."""
    frame = FileFrame(pa.field("x", pa.int32()))
    file = _file(frame, 4096, bytes(range(16)), [Node(4, 0, (Region(), Region(4096, 16)))], gap)
    table = pa.ipc.open_file(pa.py_buffer(file)).read_all()
    assert table.column("x").to_pylist() == [0x03020100, 0x07060504, 0x0B0A0908, 0x0F0E0D0C]


@pytest.mark.parametrize(
    ("type", "nodes"),
    [
        (pa.int8(), [Node(0, 0, (Region(), Region()))]),
        (pa.large_string(), [Node(0, 0, (Region(), Region(4096, 8), Region()))]),
        (pa.list_(pa.int8(), 3), [Node(0, 0, (Region(),)), Node(0, 0, (Region(), Region()))]),
    ],
    ids=str,
)
def test_a_file_may_have_no_rows(type, nodes):
    """Numbers that are 0 are written like any other, so that a batch without rows reads well."""
    table = pa.ipc.open_file(pa.py_buffer(_file(FileFrame(pa.field("x", type)), 4096, bytes(8), nodes))).read_all()
    table.validate(full=True)
    assert table.schema.field("x").type == type
    assert table.num_rows == 0


def test_numbers_beyond_32_bits_fit():
    """Rows, places and lengths are 64-bit numbers in every message."""
    frame = FileFrame(pa.field("x", pa.int8()))
    rows = (1 << 40) + 3
    node = Node(rows, 7, (Region(1 << 41, 1 << 38), Region(4096, rows)))
    (_, opening), (place, batch) = frame.head(4096, (1 << 41) + (1 << 38), [node])
    assert place + len(batch) == 4096
    assert opening.startswith(b"ARROW1\0\0")
    for number in (rows, 7, (1 << 41) - 4096, 1 << 38):
        assert number.to_bytes(8, "little") in batch
    assert ((1 << 41) + (1 << 38) - 4096).to_bytes(8, "little") in frame.tail(4096, (1 << 41) + (1 << 38), [node])


def test_the_least_head_is_enough_for_any_numbers():
    """`head_bytes` is an upper bound: a body that begins there has room for its messages, one before it has not."""
    field = pa.field("a name", pa.list_(pa.list_(pa.float32(), 2), 2), metadata={"k": "v" * 5000})
    frame = FileFrame(field)
    full = Region(1 << 40, 1 << 40)
    nodes = [Node(1 << 40, 1 << 40, (full,)), Node(1 << 41, 1, (full,)), Node(1 << 42, 1, (full, full))]
    enough = frame.head_bytes(3)
    assert frame.head(enough, 1 << 50, nodes)[1][0] > 5000
    with pytest.raises(Internal, match="do not fit"):
        frame.head(enough - 1000, 1 << 50, nodes)


def test_metadata_of_the_field_are_kept():
    """What the user wrote on the field is in the file."""
    field = pa.field("x", pa.int8(), nullable=False, metadata={"unit": "m"})
    file = _file(FileFrame(field), 4096, b"\1" + bytes(7), [Node(1, 0, (Region(), Region(4096, 1)))])
    assert pa.ipc.open_file(pa.py_buffer(file)).schema.field(0).equals(field, check_metadata=True)


def test_a_foreign_footer_is_refused():
    """Should pyarrow ever write another footer than expected, that is an error here, not a file nobody can read."""
    footer = bytearray(FileFrame(pa.field("x", pa.int8()))._footer)
    block = ipcfile._place_of_block(footer)
    footer[block - 4 : block] = (2).to_bytes(4, "little")
    with pytest.raises(Internal, match="exactly one record batch"):
        ipcfile._place_of_block(footer)
