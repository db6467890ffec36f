"""How files are hashed: every byte counts, the order of maps in a file's own metadata does not."""

from __future__ import annotations

import struct

import pyarrow as pa
import pytest
from blake3 import blake3

from alluxio_lance.storage.digest import file_hash, sort_maps

LOCATION = "datasets/a.lance"
TABLE = pa.table({"id": pa.array(range(1000)), "s": [str(number) for number in range(1000)]})
NOTED = TABLE.cast(
    pa.schema(
        [pa.field("id", pa.int64(), metadata=dict.fromkeys("qwertyuiop", "1")), ("s", pa.string())],
        metadata=dict.fromkeys("asdfghjkl", "2"),
    )
)


def folder(store):
    """Return the table's folder."""
    return store._place.root / LOCATION


@pytest.mark.parametrize("offset", [0, 100, -1, -45, -120])
def test_any_other_byte_is_another_hash(store, write, source, offset):
    """A flipped bit anywhere in a data file changes its hash, in its schema and footer too."""
    store.create(LOCATION, source(NOTED), write())
    (file,) = store.snapshot(LOCATION, 1, {}).files
    path = folder(store) / file.path
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)
    assert file_hash(store._place, LOCATION, file.path, file.size, [].append) != file.hash


def lance_file(message, length):
    """Make the end of a Lance file whose schema is this message."""
    return message + struct.pack("<QQ", 0, length) + struct.pack("<QQQIIHH4s", 0, 0, len(message), 1, 0, 2, 0, b"LANC")


@pytest.mark.parametrize(
    "content", [b"", b"short", bytes(100), lance_file(b"\x0b" * 16, 16), lance_file(b"\x0b" * 16, 999)]
)
def test_a_file_that_is_no_lance_file_is_hashed_as_it_is(store, tmp_path, content):
    """Whatever has the ending, the hash is at least that of its bytes."""
    path = store._place.root / "t.lance/data/x.lance"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert file_hash(store._place, "t.lance", "data/x.lance", len(content), [].append) == blake3(content).hexdigest()


def field(number, body):
    """Encode a length-delimited protobuf field."""
    return bytes([number << 3 | 2, len(body)]) + body


@pytest.mark.parametrize(
    ("message", "sorted_"),
    [
        (b"", b""),
        (field(5, b"b") + field(5, b"a"), field(5, b"a") + field(5, b"b")),
        (field(5, b"b") + b"\x08\x01" + field(5, b"a"), field(5, b"a") + b"\x08\x01" + field(5, b"b")),
        (field(2, field(5, b"b") + field(5, b"a")), field(2, field(5, b"a") + field(5, b"b"))),
        (field(9, b"zz") + field(9, b"a"), field(9, b"zz") + field(9, b"a")),
        (b"\x09" + bytes(8) + b"\x1d" + bytes(4), b"\x09" + bytes(8) + b"\x1d" + bytes(4)),
    ],
)
def test_only_maps_are_sorted(message, sorted_):
    """Entries of the maps in the shape change places, everything else stays; the length never changes."""
    assert sort_maps(message, {5: None, 2: {5: None}}) == sorted_


@pytest.mark.parametrize("message", [b"\x2a\x05a", b"\x0b", b"\x08", b"\x2a"])
def test_what_is_no_message_is_refused(message):
    """Cut or foreign bytes are an error, not a wrong order."""
    with pytest.raises((ValueError, IndexError)):
        sort_maps(message, {5: None})
