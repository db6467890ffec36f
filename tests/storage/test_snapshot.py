"""Snapshots: files, hashes, and the content hash that tells same from different."""

from __future__ import annotations

import struct
import subprocess
import sys

import lance
import pyarrow as pa
import pytest
from blake3 import blake3

from alluxio_lance.errors import Corrupt
from alluxio_lance.lifecycle.ports import StoredFile
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


def test_a_snapshot_tells_rows_bytes_schema_and_files(store, write, source):
    """The sums agree with the disk, and a hash is that of ``b3sum`` where the schema has no metadata."""
    store.create(LOCATION, source(TABLE), write())
    store.append(LOCATION, source(TABLE), write())
    found = store.snapshot(LOCATION, 2, {})
    assert found.version == 2
    assert found.num_rows == 2000
    assert pa.ipc.read_schema(pa.py_buffer(found.schema)).equals(TABLE.schema)
    assert {folder(store) / file.path for file in found.files} == set((folder(store) / "data").iterdir())
    assert found.num_bytes == sum(file.size for file in found.files)
    for file in found.files:
        data = (folder(store) / file.path).read_bytes()
        assert file.size == len(data)
        assert file.hash == blake3(data).hexdigest()


def test_known_files_are_not_read_again(store, write, source, monkeypatch):
    """After an append only the new file is hashed; progress counts its bytes."""
    store.create(LOCATION, source(TABLE), write())
    first = store.snapshot(LOCATION, 1, {})
    store.append(LOCATION, source(TABLE), write())
    hashed = []
    real = store._place.hash
    monkeypatch.setattr(store._place, "hash", lambda *args: hashed.append(args[1]) or real(*args))
    heard = []
    found = store.snapshot(LOCATION, 2, {file.path: file for file in first.files}, heard.append)
    assert hashed == [file.path for file in found.files if file not in first.files]
    assert len(hashed) == 1
    assert (heard[-1].step, heard[-1].bytes) == ("hash", heard[-1].total_bytes)


@pytest.mark.parametrize("table", [TABLE, NOTED, pa.table({"z": [{"a": 1}, None]})], ids=["plain", "noted", "2.2"])
def test_the_same_data_have_the_same_hash(store, write, source, table):
    """Twice the same data, twice the same hash, also with much metadata, which Lance writes in random order."""
    hashes = set()
    for number in range(4):
        store.create(f"datasets/{number}.lance", source(table), write())
        found = store.snapshot(f"datasets/{number}.lance", 1, {})
        hashes |= {(found.content_hash, tuple(file.hash for file in found.files))}
    assert len(hashes) == 1


def test_another_process_finds_the_same_hash(store, write, source):
    """The hash does not depend on the process that computes it."""
    store.create(LOCATION, source(NOTED), write())
    code = (
        "import sys; from pathlib import Path; from alluxio_lance.storage import LanceStore;"
        f"print(LanceStore.local(Path(sys.argv[1])).snapshot({LOCATION!r}, 1, {{}}).content_hash)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, str(store._place.root)], capture_output=True, text=True, check=True, timeout=60
    )
    assert told.stdout.strip() == store.snapshot(LOCATION, 1, {}).content_hash


@pytest.mark.parametrize(
    "other",
    [
        TABLE.slice(0, 999),
        TABLE.set_column(0, "id", pa.array(range(1, 1001))),
        TABLE.rename_columns(["id", "t"]),
        TABLE.select(["s", "id"]),
        TABLE.replace_schema_metadata({"a": "b"}),
    ],
    ids=["rows", "values", "names", "order", "metadata"],
)
def test_other_data_have_another_hash(store, write, source, other):
    """Rows, values, names, order of columns and metadata all count."""
    store.create(LOCATION, source(TABLE), write())
    store.overwrite(LOCATION, source(other), write())
    assert store.snapshot(LOCATION, 1, {}).content_hash != store.snapshot(LOCATION, 2, {}).content_hash


def test_a_restored_version_has_the_hash_of_the_old_one(store, write, source):
    """The content is the same; the version number does not count."""
    store.create(LOCATION, source(TABLE), write())
    store.append(LOCATION, source(TABLE), write())
    store.restore(LOCATION, 1, write())
    assert store.snapshot(LOCATION, 3, {}).content_hash == store.snapshot(LOCATION, 1, {}).content_hash


def test_deleted_rows_count(store, write, source):
    """A deletion file belongs to the version, and takes part in its hash."""
    store.create(LOCATION, source(TABLE), write())
    lance.dataset(store.absolute(LOCATION)).delete("id < 10")
    found = store.snapshot(LOCATION, 2, {})
    assert found.num_rows == 990
    assert any(file.path.startswith("_deletions/") for file in found.files)
    assert found.content_hash != store.snapshot(LOCATION, 1, {}).content_hash


def test_the_side_files_of_blobs_belong_to_the_version(store, tmp_path):
    """Lance's manifests do not name them, snapshots do."""
    field = lance.blob_field("b")
    values = lance.blob_array([bytes(6 << 20), bytes(5 << 20)])
    table = pa.Table.from_arrays([values], schema=pa.schema([field]))
    lance.write_dataset(table, store.absolute(LOCATION), data_storage_version="2.2")
    found = store.snapshot(LOCATION, 1, {})
    on_disk = {path for path in (folder(store) / "data").rglob("*") if path.is_file()}
    assert len(on_disk) > 1
    assert {folder(store) / file.path for file in found.files} == on_disk
    assert found.num_bytes > 11 << 20
    store.sweep(LOCATION, [1])
    assert all(path.exists() for path in on_disk)


def test_a_missing_or_short_file_is_corrupt(store, write, source):
    """The snapshot names the file, whether it was known before or not."""
    store.create(LOCATION, source(TABLE), write())
    (file,) = store.snapshot(LOCATION, 1, {}).files
    known = {file.path: StoredFile(path=file.path, size=file.size + 1, hash=file.hash)}
    with pytest.raises(Corrupt, match=file.path) as caught:
        store.snapshot(LOCATION, 1, known)
    assert caught.value.details == {"expected": file.size + 1, "found": file.size}
    (folder(store) / file.path).unlink()
    with pytest.raises(Corrupt, match=r"is missing"):
        store.snapshot(LOCATION, 1, {})


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
