"""Snapshots: files, hashes, and the content hash that tells same from different."""

from __future__ import annotations

import subprocess
import sys

import lance
import pyarrow as pa
import pytest
from blake3 import blake3

from alluxio_lance.errors import Corrupt
from alluxio_lance.lifecycle.ports import StoredFile

LOCATION = "datasets/a.lance"
TABLE = pa.table({"id": pa.array(range(1000)), "s": [str(number) for number in range(1000)]})
NOTED = TABLE.cast(
    pa.schema(
        [pa.field("id", pa.int64(), metadata=dict.fromkeys("qwertyuiop", "1")), ("s", pa.string())],
        metadata=dict.fromkeys("asdfghjkl", "2"),
    )
)


def test_a_snapshot_tells_rows_bytes_schema_and_files(store, write, source, root):
    """The sums agree with the disk, and a hash is that of ``b3sum`` where the schema has no metadata."""
    store.create(LOCATION, source(TABLE), write())
    store.append(LOCATION, source(TABLE), write())
    found = store.snapshot(LOCATION, 2, {})
    assert found.version == 2
    assert found.num_rows == 2000
    assert pa.ipc.read_schema(pa.py_buffer(found.schema)).equals(TABLE.schema)
    assert {root / LOCATION / file.path for file in found.files} == set((root / LOCATION / "data").iterdir())
    assert found.num_bytes == sum(file.size for file in found.files)
    for file in found.files:
        data = (root / LOCATION / file.path).read_bytes()
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


def test_another_process_finds_the_same_hash(store, ground, write, source):
    """The hash does not depend on the process that computes it."""
    store.create(LOCATION, source(NOTED), write())
    code = (
        "import sys; from pathlib import Path; from alluxio_lance.storage import LanceStore;"
        f"print(LanceStore.at(sys.argv[1], Path(sys.argv[2])).snapshot({LOCATION!r}, 1, {{}}).content_hash)"
    )
    command = [sys.executable, "-c", code, ground.address, str(ground.root)]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
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


def test_deleted_rows_count(store, write, source, plain):
    """A deletion file belongs to the version, and takes part in its hash."""
    store.create(LOCATION, source(TABLE), write())
    plain.open(LOCATION).delete("id < 10")
    found = store.snapshot(LOCATION, 2, {})
    assert found.num_rows == 990
    assert any(file.path.startswith("_deletions/") for file in found.files)
    assert found.content_hash != store.snapshot(LOCATION, 1, {}).content_hash


def test_the_side_files_of_blobs_belong_to_the_version(store, root, plain):
    """Lance's manifests do not name them, snapshots do."""
    field = lance.blob_field("b")
    values = lance.blob_array([bytes(6 << 20), bytes(5 << 20)])
    table = pa.Table.from_arrays([values], schema=pa.schema([field]))
    plain.write(table, LOCATION, data_storage_version="2.2")
    found = store.snapshot(LOCATION, 1, {})
    on_disk = {path for path in (root / LOCATION / "data").rglob("*") if path.is_file()}
    assert len(on_disk) > 1
    assert {root / LOCATION / file.path for file in found.files} == on_disk
    assert found.num_bytes > 11 << 20
    store.sweep(LOCATION, [1])
    assert all(path.exists() for path in on_disk)


def test_a_missing_or_short_file_is_corrupt(store, write, source, ground):
    """The snapshot names the file, whether it was known before or not."""
    store.create(LOCATION, source(TABLE), write())
    (file,) = store.snapshot(LOCATION, 1, {}).files
    known = {file.path: StoredFile(path=file.path, size=file.size + 1, hash=file.hash)}
    with pytest.raises(Corrupt, match=file.path) as caught:
        store.snapshot(LOCATION, 1, known)
    assert caught.value.details == {"expected": file.size + 1, "found": file.size}
    ground.damage(ground.root / LOCATION / file.path, None)
    with pytest.raises(Corrupt, match=r"is missing"):
        store.snapshot(LOCATION, 1, {})
