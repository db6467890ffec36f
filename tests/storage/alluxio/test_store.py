"""The whole life of a dataset with its tables in a real Alluxio."""

import os
import subprocess
import sys

import lance
import pyarrow as pa
import pytest

from alluxio_lance.catalog import DatabaseCatalog
from alluxio_lance.errors import Conflict, InvalidArgument, Unavailable
from alluxio_lance.files.address import AlluxioAddress
from alluxio_lance.lifecycle.local import LocalManager
from alluxio_lance.lifecycle.ports import Source, Write
from alluxio_lance.storage import LanceStore
from alluxio_lance.storage.alluxio.cluster import Ports
from alluxio_lance.storage.alluxio.place import AlluxioPlace

UPDATES = int(os.environ.get("ALLUXIO_LANCE_UPDATES", "5"))
"""Of each of two processes."""


def rows(start, count):
    """Rows with an id and a value."""
    return pa.table({"id": range(start, start + count), "x": [i / 2 for i in range(start, start + count)]})


@pytest.fixture
def address(cluster, request):
    """A folder of its own in the Alluxio of this run."""
    ports, name = cluster.plan.ports, request.node.name.partition("[")[0]
    return f"alluxio://localhost:{ports.master}/lance/{name}?proxy={ports.proxy}&worker={ports.worker_web}"


@pytest.fixture
def store(address, tmp_path):
    """An empty store in it."""
    return LanceStore.at(address, tmp_path / "data")


@pytest.fixture
def manager(store, tmp_path):
    """A manager over it."""
    with LocalManager(DatabaseCatalog.open(f"sqlite:///{tmp_path}/catalog.db"), store) as found:
        yield found


def test_a_dataset_lives_in_alluxio(manager, address):
    """Every way of writing, a rollback, an update that continues from it; the purge leaves nothing, not even folders."""
    first = manager.register_resource("datasets", "a/b", rows(0, 1000))
    assert first.location.startswith("s3://lance/")
    manager.update_resource("datasets", "a/b", rows(1000, 500))
    manager.update_resource("datasets", "a/b", rows(0, 10), mode="upsert", on="id")
    manager.update_resource("datasets", "a/b", rows(0, 10), mode="overwrite")
    manager.rollback_resource("datasets", "a/b", "1.0.0")
    manager.update_resource("datasets", "a/b", rows(1000, 7))
    counts = {v.semver: v.num_rows for v in manager.list_versions("datasets", "a/b")}
    assert counts == {"1.0.0": 1000, "1.1.0": 1500, "1.2.0": 1500, "1.3.0": 10, "1.4.0": 1007}
    found = manager.get_resource("datasets", "a/b", "1.1.0")
    assert found.to_lance().to_table().num_rows == 1500
    by_hand = lance.dataset(found.info.location, version=found.version, storage_options=found.storage_options)
    assert by_hand.count_rows() == 1500
    manager.delete_resource("datasets", "a/b")
    manager.purge_resource("datasets", "a/b")
    place = AlluxioPlace.open(address)
    assert place.namespace.list(place.where.folder, recursive=True) == []


def test_the_same_data_have_the_same_hash_as_in_a_folder(manager, tmp_path):
    """Where a table lies is no part of what it holds."""
    with LocalManager(
        DatabaseCatalog.open(f"sqlite:///{tmp_path}/other.db"), LanceStore.local(tmp_path / "other")
    ) as other:
        here, there = (each.register_resource("datasets", "a", rows(0, 100)) for each in (other, manager))
        assert here.content_hash == there.content_hash


def test_an_archived_version_comes_back(manager):
    """With its number and content hash; what archiving frees is what was told."""
    first = manager.register_resource("datasets", "a", rows(0, 1000))
    manager.update_resource("datasets", "a", rows(0, 10), mode="overwrite")
    manager.archive_resource("datasets", "a", "1.0.0")
    table = manager.get_resource("datasets", "a", "1.0.0", wait=True)
    assert (table.version, table.content_hash) == (first.version, first.content_hash)
    assert table.to_lance().count_rows() == 1000


def test_branches_live_in_alluxio(manager):
    """Begun, continued, merged, removed."""
    manager.register_resource("datasets", "a", rows(0, 100))
    manager.branch_resource("datasets", "a", "exp")
    manager.update_resource("datasets", "a", rows(100, 50), branch="exp")
    assert manager.merge_resource("datasets", "a", "exp").num_rows == 150
    manager.unbranch_resource("datasets", "a", "exp")
    assert manager.get_resource("datasets", "a").to_lance().count_rows() == 150


def cached(place, table):
    """Tell how many of a table's data files are cached, by path."""
    files = place.namespace.list(place.path(table), recursive=True)
    return {each.path.rpartition("/")[2]: each.cached_percent for each in files if "/data/" in each.path}


def test_a_deprecated_version_leaves_the_cache(manager, address):
    """The files that only it needs; those that it shares with others stay, and all stay in the under-store."""
    manager.register_resource("datasets", "a", rows(0, 1000))
    manager.update_resource("datasets", "a", rows(1000, 500))
    manager.update_resource("datasets", "a", rows(0, 10), mode="overwrite")
    place = AlluxioPlace.open(address)
    before = cached(place, "datasets/a.lance")
    assert set(before.values()) == {100}
    manager.deprecate_resource("datasets", "a", "1.1.0")
    gone = {path for path in before if place.namespace.await_cached(_full(place, path), percent=0, patience=2)}
    assert len(gone) == 1
    assert sorted(cached(place, "datasets/a.lance").values()) == [0, 100, 100]
    assert manager.get_resource("datasets", "a", "1.1.0").to_lance().count_rows() == 1500


def _full(place, file):
    return place.path("datasets/a.lance", f"data/{file}")


WRITER = """
import sys
import pyarrow as pa
from pathlib import Path
from alluxio_lance.catalog import DatabaseCatalog
from alluxio_lance.lifecycle.local import LocalManager
from alluxio_lance.storage import LanceStore
address, folder, start, count = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
with LocalManager(DatabaseCatalog.open(f"sqlite:///{folder}/catalog.db"), LanceStore.at(address, folder / "data")) as manager:
    for number in range(count):
        manager.update_resource("datasets", "a", pa.table({"id": [start + number], "x": [0.5]}))
"""


def test_two_processes_lose_no_commit(manager, address, tmp_path):
    """Alluxio's S3 service would let them overwrite each other: the catalog's lock does not."""
    manager.register_resource("datasets", "a", rows(0, 10))
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, address, str(tmp_path), str(1000 * n), str(UPDATES)])
        for n in (1, 2)
    ]
    assert [writer.wait(timeout=200) for writer in writers] == [0, 0]
    versions = manager.list_versions("datasets", "a")
    assert len(versions) == 1 + 2 * UPDATES
    ids = manager.get_resource("datasets", "a").to_lance().to_table().column("id").to_pylist()
    assert sorted(ids) == [*range(10), *range(1000, 1000 + UPDATES), *range(2000, 2000 + UPDATES)]


def test_a_writer_that_lost_the_resource_commits_nothing(store):
    """It is asked at the last moment: the table stays as it was."""
    write = Write(operation="1" * 32, actor="ada@node", message="")

    def source():
        table = rows(0, 10)
        return Source(reader=table.to_reader(), description="rows")

    store.create("datasets/a.lance", source(), write)
    asked = []

    def guard(location):
        asked.append(location)
        raise Conflict("the resource was taken over")

    store.guard_commits(guard)
    with pytest.raises(Exception, match="taken over"):
        store.append("datasets/a.lance", source(), write)
    assert asked == ["datasets/a.lance"]
    assert store.latest("datasets/a.lance") == 1


def test_two_writers_without_the_lock_do_lose_commits(cluster, address):
    """What the lock is for: a conditional put succeeds twice there."""
    place = AlluxioPlace.open(address)
    place.put("t", "x", [b"1"])
    from obstore import put

    put(place._bucket._store, "t/x", b"2", mode="create")
    assert place.read("t", "x", 0, 1) == b"2"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("alluxio://host", "names no folder"),
        ("alluxio:///x", "is no store"),
        ("s3://b/x", "is no store"),
        ("alluxio://h:x/f", "names no port"),
        ("alluxio://h/f?proxy=x", "proxy=x, which is no port"),
        ("alluxio://h/f?nope=1", "unknown option"),
        ("alluxio://h/a b", "names no folder"),
    ],
)
def test_an_address_that_is_none_is_refused_with_the_grammar(text, said):
    """Before anything is reached."""
    with pytest.raises(InvalidArgument, match=said):
        AlluxioAddress.parse(text)


def test_an_alluxio_that_does_not_answer_is_told(tmp_path):
    """At the start, and not with the first table."""
    with pytest.raises(Unavailable, match="does not answer"):
        LanceStore.at(f"alluxio://localhost:1/f?proxy={Ports.free().proxy}", tmp_path)
