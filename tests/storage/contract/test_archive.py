"""To the cold tier and back: the same bytes under the same number, from a folder and from a bucket."""

from __future__ import annotations

import json
import os
from itertools import product

import lance
import pyarrow as pa
import pytest

from alluxio_lance.errors import Corrupt, NotFound
from alluxio_lance.lifecycle.ports import StoredFile

LOCATION = "datasets/deep/a.lance"
TABLE = pa.table({"id": pa.array(range(1000)), "x": pa.array([0.5] * 1000)})
NOTED = pa.table(
    {"id": pa.array(range(500))},
    schema=pa.schema(
        [pa.field("id", pa.int64(), metadata={"k": "1", "l": "2"})], metadata={"a": "1", "b": "2", "c": "3"}
    ),
)
NULLS = pa.table({"id": [1, 2], "s": pa.array([{"a": 1}, None], pa.struct([("a", pa.int64())]))})
BYTES = pa.table({"id": [1, 2, 3], "b": pa.array([os.urandom(1 << 20), b"x", None], pa.large_binary())})
EMPTY = pa.table({"id": pa.array([], pa.int64())})


def blobs(start):
    """Two rows whose values lie in side files."""
    return pa.Table.from_arrays(
        [pa.array([start, start + 1]), lance.blob_array([os.urandom(5 << 20), os.urandom(5 << 20)])],
        schema=pa.schema([pa.field("id", pa.int64()), lance.blob_field("b")]),
    )


def whole(store, location, version):
    """Read all rows."""
    with store.open(location, version) as reader:
        return pa.Table.from_batches(reader.batches(reader.schema.names), reader.schema)


DATA = {
    "columns change": (TABLE, pa.table({"y": ["a", "b"]}), "2.0"),
    "metadata": (NOTED, TABLE, "2.0"),
    "format 2.2": (NULLS, NULLS, "2.2"),
    "binary": (BYTES, BYTES, "2.0"),
    "empty": (EMPTY, EMPTY, "2.0"),
}
GOING = ([1], [2, 3], [5], [4, 5], [1, 2, 3, 4, 5])
CASES = [
    *product(["folder", "folder+s3"], DATA, GOING),
    # Each kind of data and each choice of versions once.
    *((ground, *case) for ground in ("alluxio", "alluxio-s3") for case in zip(DATA, GOING, strict=True)),
]
every_tier = pytest.mark.parametrize("ground", ["folder", "folder+s3", "alluxio", "alluxio-s3"], indirect=True)


@pytest.mark.parametrize(("ground", "data", "going"), CASES, indirect=["ground"])
def test_versions_come_back_as_they_were(tiers, plain, snapshots, write, source, data, going):
    """With deletion files, and another schema; the table then goes on where it was."""
    first, second, kind = DATA[data]
    store = tiers.store
    store.create(LOCATION, source(first), write())
    store.upsert(LOCATION, source(first.slice(0, 2)), ["id"], write())
    store.append(LOCATION, source(first.slice(1, 1)), write())
    store.overwrite(LOCATION, source(second), write("5" * 32))
    store.append(LOCATION, source(second), write("6" * 32))
    assert store.dataset(LOCATION, 1).data_storage_version == kind
    before, known = snapshots(store, LOCATION, [1, 2, 3, 4, 5])
    rows = {version: whole(store, LOCATION, version) for version in going}
    writers = store.writers(LOCATION)
    for version in going:
        copy = store.archive(LOCATION, version, f"datasets/deep/a/{version}", known, write())
        assert copy.num_bytes == sum(
            len(content)
            for path, content in tiers.cold_files().items()
            if path.startswith(f"datasets/deep/a/{version}/")
        )
    store.remove(LOCATION, going, write())
    for version in going:
        with pytest.raises(NotFound):
            store.snapshot(LOCATION, version, {})
    for version in going:
        store.unarchive(f"datasets/deep/a/{version}", LOCATION, version, known, write())
        assert whole(store, LOCATION, version).equals(rows[version])
        assert plain.open(LOCATION, version).count_rows() == before[version].num_rows
    assert snapshots(store, LOCATION, before)[0] == before
    assert {version: store.writers(LOCATION)[version] for version in before} == writers
    latest = store.latest(LOCATION)
    store.restore(LOCATION, 5, write())
    added = store.append(LOCATION, source(second), write())
    assert added > latest
    assert store.open(LOCATION, added).num_rows == before[5].num_rows + second.num_rows
    plain.open(LOCATION).validate()
    for version in going:
        store.drop_cold(f"datasets/deep/a/{version}")
        store.drop_cold(f"datasets/deep/a/{version}")
    assert tiers.cold_files() == {}


@every_tier
def test_side_files_and_indices_come_back(tiers, plain, snapshots, write):
    """Blobs in files of their own, and an index that others made."""
    store = tiers.store
    plain.write(blobs(0), LOCATION, data_storage_version="2.2")
    plain.write(blobs(2), LOCATION, mode="append")
    plain.open(LOCATION).create_scalar_index("id", "BTREE")
    before, known = snapshots(store, LOCATION, [1, 2, 3])
    rows = whole(store, LOCATION, 3)
    for version in (1, 2, 3):
        store.archive(LOCATION, version, f"c/{version}", known, write())
    store.remove(LOCATION, [1, 2, 3], write())
    assert tiers.hot_bytes() < 10_000
    for version in (3, 1, 2):
        store.unarchive(f"c/{version}", LOCATION, version, known, write())
    assert snapshots(store, LOCATION, before)[0] == before
    assert whole(store, LOCATION, 3).equals(rows)
    assert store.dataset(LOCATION, 3).to_table(["id"], filter="id = 2").num_rows == 1
    assert [index.name for index in store.dataset(LOCATION, 3).describe_indices()] == ["id_idx"]


@pytest.fixture
def archived(tiers, snapshots, write, source):
    """Two versions, of which the first is archived too."""
    store = tiers.store
    store.create(LOCATION, source(NOTED), write())
    store.append(LOCATION, source(NOTED), write())
    _, known = snapshots(store, LOCATION, [1, 2])
    store.archive(LOCATION, 1, "c", known, write())
    return tiers, known


@every_tier
def test_a_whole_copy_is_kept(archived, write):
    """A second call reads it, and writes nothing."""
    tiers, known = archived
    before = tiers.cold_files()
    times = {path: path.stat().st_mtime_ns for path in tiers.cold.folder.rglob("*") if path.is_file()}
    again = tiers.store.archive(LOCATION, 1, "c", known, write())
    assert again.num_bytes == sum(len(data) for data in before.values())
    assert {path: path.stat().st_mtime_ns for path in times} == times


PARTS = ("data/", "_original/_versions/", "_original/_transactions/", "_original/files.json")
ANEW = [
    *product(["folder", "folder+s3"], PARTS, ["flipped", "short", "missing"]),
    *product(["alluxio", "alluxio-s3"], ["data/"], ["flipped"]),
]
SPOILED = [*product(["folder", "folder+s3"], PARTS[:3], ["flipped", "missing"]), *ANEW[-2:]]


@pytest.mark.parametrize(("ground", "part", "how"), ANEW, indirect=["ground"])
def test_a_copy_that_is_not_right_is_made_anew(archived, write, part, how):
    """Whatever happened to whichever of its files."""
    tiers, known = archived
    before = tiers.cold_files()
    spoil(tiers, part, how)
    tiers.store.archive(LOCATION, 1, "c", known, write())
    after = tiers.cold_files()
    # The clone's own transaction and manifest have another id and time.
    own = {path for path in before if path.startswith(("c/_transactions", "c/_versions"))}
    assert {path: data for path, data in after.items() if path in before and path not in own} == {
        path: data for path, data in before.items() if path not in own
    }
    assert len(after) == len(before)


def spoil(tiers, part, how):
    """Damage the first file of a part of the copy."""
    path = next(path for path in sorted(tiers.cold.folder.rglob("*")) if path.is_file() and f"c/{part}" in str(path))
    data = path.read_bytes()
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(data[:-1] if how == "short" else bytes([data[0] ^ 1]) + data[1:])


@pytest.mark.parametrize(("ground", "part", "how"), SPOILED, indirect=["ground"])
def test_a_damaged_copy_does_not_come_back(archived, write, part, how):
    """The table is as it was; the error names the file and the hashes."""
    tiers, known = archived
    tiers.store.remove(LOCATION, [1], write())
    before = tiers.hot_files()
    if part == "data/":
        # Its file is still there, since the second version needs it.
        tiers.store.remove(LOCATION, [2], write())
        before = tiers.hot_files()
    spoil(tiers, part, how)
    with pytest.raises(Corrupt, match=r"is not what was written|is missing") as caught:
        tiers.store.unarchive("c", LOCATION, 1, known, write())
    assert set(caught.value.details) == {"expected", "found"}
    tiers.store.sweep(LOCATION, [2, 3])
    assert tiers.hot_files() == before


@every_tier
def test_a_damaged_list_or_none_is_told(archived, write):
    """Without a list the copy is half; one that cannot be read is damaged."""
    tiers, known = archived
    with pytest.raises(NotFound, match="no whole copy"):
        tiers.store.unarchive("nowhere", LOCATION, 1, known, write())
    listed = tiers.cold.folder / "c" / "_original" / "files.json"
    record = json.loads(listed.read_text())
    for text in ("[]", "{", json.dumps({**record, "format": 2})):
        listed.write_text(text)
        with pytest.raises(Corrupt, match=r"files\.json cannot be read"):
            tiers.store.unarchive("c", LOCATION, 1, known, write())
    listed.unlink()
    with pytest.raises(NotFound, match="no whole copy"):
        tiers.store.unarchive("c", LOCATION, 1, known, write())


@every_tier
def test_a_copy_of_another_version_is_refused(archived, write):
    """So is one whose files are not those that the catalog knows."""
    tiers, known = archived
    before = tiers.hot_files()
    with pytest.raises(Corrupt, match="of version 1, not 2"):
        tiers.store.unarchive("c", LOCATION, 2, known, write())
    other = {path: StoredFile(path=path, size=file.size, hash="0" * 64) for path, file in known.items()}
    with pytest.raises(Corrupt, match="not what was written"):
        tiers.store.unarchive("c", LOCATION, 1, other, write())
    assert tiers.hot_files() == before


@every_tier
@pytest.mark.parametrize("how", ["flipped", "missing"])
def test_a_damaged_original_is_not_archived(tiers, ground, snapshots, write, source, how):
    """The hash of the catalog decides, and the error says that it is the original."""
    store = tiers.store
    store.create(LOCATION, source(TABLE), write())
    _, known = snapshots(store, LOCATION, [1])
    (file,) = (tiers.root / LOCATION / "data").iterdir()
    data = bytearray(file.read_bytes())
    data[10] ^= 1
    ground.damage(file, bytes(data) if how == "flipped" else None)
    with pytest.raises(Corrupt, match="is not what was registered" if how == "flipped" else "is missing"):
        store.archive(LOCATION, 1, "c", known, write())
    assert "c/_original/files.json" not in tiers.cold_files()


@every_tier
def test_a_version_that_does_not_exist_cannot_be_archived(tiers, write, source):
    """Nothing is left in the cold tier."""
    tiers.store.create(LOCATION, source(TABLE), write())
    with pytest.raises(NotFound, match="version 7"):
        tiers.store.archive(LOCATION, 7, "c", {}, write())
    assert tiers.cold_files() == {}


@every_tier
def test_progress_is_told_in_bytes(tiers, snapshots, write, source):
    """From nothing to the whole, both ways; a file that is there already counts as done."""
    store = tiers.store
    store.create(LOCATION, source(BYTES), write())
    _, known = snapshots(store, LOCATION, [1])
    told = []
    store.archive(LOCATION, 1, "c", known, write(on_progress=told.append))
    assert told[0].step == "copy"
    assert told[-1].step == "verify"
    assert 1 << 20 < told[-1].bytes <= told[-1].total_bytes
    store.remove(LOCATION, [1], write())
    for _ in range(2):
        told.clear()
        store.unarchive("c", LOCATION, 1, known, write(on_progress=told.append))
        assert {each.step for each in told} == {"copy"}
        assert [each.bytes for each in told] == sorted(each.bytes for each in told)
        assert told[-1].bytes == told[-1].total_bytes > 1 << 20
