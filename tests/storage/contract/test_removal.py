"""What versions take, and removing them: the bytes told are the bytes that the folder loses."""

from __future__ import annotations

from itertools import product

import lance
import pyarrow as pa
import pytest

from alluxio_lance.errors import InvalidArgument, NotFound

LOCATION = "datasets/deep/a.lance"
TABLE = pa.table({"id": pa.array(range(1000)), "x": pa.array([0.5] * 1000)})


@pytest.fixture
def table(tiers, write, source):
    """Five versions that share files: create, append, overwrite, upsert with a deletion file, append."""
    store = tiers.store
    store.create(LOCATION, source(TABLE), write())
    store.append(LOCATION, source(TABLE), write())
    store.overwrite(LOCATION, source(TABLE), write())
    store.upsert(LOCATION, source(TABLE.slice(0, 7)), ["id"], write())
    store.append(LOCATION, source(TABLE.slice(0, 5)), write())
    return tiers


@pytest.fixture
def numbers(plain):
    """List the versions."""
    return lambda: plain.numbers(LOCATION)


GOING = ([1], [2], [3], [4], [1, 2], [2, 4], [1, 2, 3, 4], [99], [])
CASES = [
    *product(["folder"], GOING, [False, True]),
    # Each step takes a while here: what frees a deletion file, what most, and nothing.
    *product(["alluxio", "alluxio-s3"], ([2, 4], [1, 2, 3, 4], [99]), [True]),
]


@pytest.mark.parametrize(("ground", "going", "tagged"), CASES, indirect=["ground"])
def test_what_a_removal_frees_is_told_before(table, snapshots, plain, numbers, write, going, tagged):
    """Tags included; versions that stay are what they were, and Lance's own clean-up would find the same files."""
    store = table.store
    before, _ = snapshots(store, LOCATION, [1, 2, 3, 4, 5])
    explained = plain.open(LOCATION).explain_cleanup_old_versions(versions=going or [99])
    if tagged:
        store.mirror_tags(LOCATION, {"1.0.0": 1, "best": 2, "active": 5})
    told, size = store.removal(LOCATION, going), table.hot_bytes()
    assert tagged or told == explained.stats.bytes_removed
    assert store.remove(LOCATION, going, write()) == told == size - table.hot_bytes()
    stayed = [version for version in before if version not in going]
    assert numbers() == stayed
    assert snapshots(store, LOCATION, stayed)[0] == {version: before[version] for version in stayed}
    assert store.removal(LOCATION, going) == store.remove(LOCATION, going, write()) == 0
    assert store.sweep(LOCATION, stayed) == 0


def test_the_newest_version_is_covered_by_the_newest_that_stays(table, snapshots, numbers, write, source):
    """What is on top then is nobody's: it counts for nobody, and goes when it covers nothing any more."""
    store = table.store
    before, _ = snapshots(store, LOCATION, [1, 2, 3, 4, 5])
    told, size = store.removal(LOCATION, [5]), table.hot_bytes()
    freed = store.remove(LOCATION, [5], write("7" * 32))
    assert freed == size - table.hot_bytes()
    assert told - 1200 < freed <= told
    assert numbers() == [1, 2, 3, 4, 6]
    assert store.writers(LOCATION)[6] == "step-back"
    assert store.snapshot(LOCATION, 6, {}).content_hash == before[4].content_hash
    # Removing what the cover shows covers it anew; the old cover does not hold its files.
    assert store.usage(LOCATION, [1, 2, 3, 4]).unique[4] > 0
    store.remove(LOCATION, [4], write())
    assert numbers() == [1, 2, 3, 7]
    assert store.snapshot(LOCATION, 7, {}).content_hash == before[3].content_hash
    # A version of somebody on top makes it superfluous.
    store.append(LOCATION, source(TABLE), write())
    assert store.removal(LOCATION, []) > 0
    store.remove(LOCATION, [], write())
    assert numbers() == [1, 2, 3, 8]
    assert store.open(LOCATION, 8).num_rows == 2000
    assert store.sweep(LOCATION, [1, 2, 3, 8]) == 0


def test_all_versions_go_and_an_empty_one_stays(table, numbers, write, source):
    """It has the schema and the file format, so that the table goes on."""
    store = table.store
    schema, kind = store.open(LOCATION, 5).schema, store.dataset(LOCATION, 5).data_storage_version
    store.remove(LOCATION, [1, 2, 3, 4, 5], write())
    assert numbers() == [6]
    assert not [path for path in table.hot_files() if "/data/" in path or "_deletions/" in path]
    assert store.dataset(LOCATION, 6).data_storage_version == kind
    with store.open(LOCATION, 6) as empty:
        assert (empty.num_rows, empty.schema) == (0, schema)
    assert store.append(LOCATION, source(TABLE), write()) == 7
    assert store.open(LOCATION, 7).num_rows == 1000
    assert store.remove(LOCATION, [7], write()) > 0
    assert numbers() == [8]


def test_without_a_table_there_is_nothing_to_remove(tiers, write):
    """Neither is an error; its usage is."""
    assert tiers.store.removal(LOCATION, [1]) == tiers.store.remove(LOCATION, [1], write()) == 0
    with pytest.raises(NotFound):
        tiers.store.usage(LOCATION, [1])


def test_unfinished_writes_of_others_stay(table, write):
    """A file that no version names may belong to somebody who writes right now."""
    stranger = table.root / LOCATION / "data" / "stranger.lance"
    stranger.write_bytes(b"half")
    table.store.remove(LOCATION, [1, 5], write())
    assert stranger.read_bytes() == b"half"


def test_a_version_at_which_a_branch_began_stays(table, write):
    """Lance needs it for the branch."""
    table.store.branch(LOCATION, "exp", 3, write())
    before = table.hot_files()
    with pytest.raises(InvalidArgument, match="the branch exp began there"):
        table.store.remove(LOCATION, [2, 3], write())
    assert table.hot_files() == before
    assert table.store.removal(LOCATION, [3]) == 0


def test_usage_counts_shared_files_once_for_the_table(table, snapshots):
    """``total`` has all files of a version, ``unique`` only those that go with it."""
    store = table.store
    used = store.usage(LOCATION, [1, 2, 3, 4, 5])
    assert used.table == table.hot_bytes()
    for version in (1, 2, 3, 4):
        assert used.unique[version] == store.removal(LOCATION, [version])
    described, _ = snapshots(store, LOCATION, [1, 2, 3, 4, 5])
    for version, snapshot in described.items():
        assert snapshot.num_bytes < used.total[version] < snapshot.num_bytes + 3000
    assert sum(used.total.values()) > used.table
    assert set(store.usage(LOCATION, [3, 99]).total) == {3}


def test_side_files_of_blobs_and_indices_count(tiers, plain, write):
    """Lance's manifests do not name the first; both go with their version."""
    store = tiers.store
    values = pa.Table.from_arrays(
        [pa.array([1, 2]), lance.blob_array([bytes(6 << 20), bytes(5 << 20)])],
        schema=pa.schema([pa.field("id", pa.int64()), lance.blob_field("b")]),
    )
    plain.write(values, LOCATION, data_storage_version="2.2")
    plain.open(LOCATION).create_scalar_index("id", "BTREE")
    plain.write(values, LOCATION, mode="overwrite")
    plain.write(values, LOCATION, mode="append")
    used = store.usage(LOCATION, [1, 2, 3, 4])
    assert used.unique[4] > 11 << 20
    assert used.unique[1] < 10_000
    told, size = store.removal(LOCATION, [1, 2]), tiers.hot_bytes()
    assert told > 11 << 20
    assert store.remove(LOCATION, [1, 2], write()) == told == size - tiers.hot_bytes()
    assert not list((tiers.root / LOCATION / "_indices").rglob("*.lance"))
