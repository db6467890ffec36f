"""What a PUT leaves that is cut in its middle, on a real Alluxio, whose S3 service marks what has come complete: no verb stumbles over it."""

import hashlib
import json
import socket
import threading
import time
from base64 import b64encode

import pyarrow as pa
import pytest
from alluxio.option import CreateFile
from alluxio.wire import WRITE_TYPE_MUST_CACHE

from alluxio_lance.catalog import DatabaseCatalog
from alluxio_lance.errors import Corrupt, Unavailable
from alluxio_lance.lifecycle.local import LocalManager
from alluxio_lance.storage import LanceStore

TABLE = "datasets/a.lance"
OTHER = "datasets/b.lance"
BRANCH = json.dumps({"parent_branch": None, "parent_version": 1, "create_at": 1, "manifest_size": 500}).encode()


def rows(*ids):
    """A table of some rows."""
    return pa.table({"id": pa.array(ids, pa.int64())})


def manifest(version):
    """The name of a version's manifest."""
    return f"_versions/{(1 << 64) - 1 - version:020d}.manifest"


@pytest.fixture
def store(alluxio, tmp_path):
    """An empty store in it."""
    return LanceStore.at(alluxio, tmp_path / "data")


@pytest.fixture
def manager(store, tmp_path):
    """A manager with two versions, the second one active."""
    with LocalManager(DatabaseCatalog.open(f"sqlite:///{tmp_path}/catalog.db"), store) as found:
        found.register_resource("datasets", "a", rows(1))
        found.update_resource("datasets", "a", rows(2))
        yield found


@pytest.fixture
def cut(store):
    """Begin to PUT a file, die before its last bytes, and wait until the service takes what has come for all."""
    place = store._place

    def put(location, path, data, keep, *, slowly=0.0):
        where, key = place.where, place.path(location, path).lstrip("/")
        head = (
            f"PUT /api/v1/s3/{key} HTTP/1.1\r\nHost: {where.host}\r\nContent-Length: {len(data)}\r\n"
            f"Content-MD5: {b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()}\r\n"
            f"Authorization: AWS4-HMAC-SHA256 Credential={where.user}/19700101/us-east-1/s3/aws4_request, "
            "SignedHeaders=host, Signature=unused\r\n\r\n"
        )
        with socket.create_connection((where.host, where.proxy)) as connection:
            connection.sendall(head.encode() + data[:keep])
            if slowly:
                held = connection.dup()
                end = threading.Timer(slowly, held.close)
                end.start()
        full = place.path(location, path)
        if slowly:
            wait_for(lambda: place.namespace.exists(full))
            assert not place.namespace._call(full, "get-status")["completed"]
            return end
        wait_for(lambda: place.namespace.exists(full) and is_complete(place.namespace, full, keep))
        return None

    return put


def wait_for(wanted):
    """Wait until something is so."""
    deadline = time.monotonic() + 20
    while not wanted():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_complete(namespace, path, length):
    """Tell whether Alluxio holds a file for whole at this length."""
    told = namespace._call(path, "get-status")
    return told["completed"] and told["length"] == length


def content(store, path):
    """The bytes of a file."""
    return b"".join(store._place.chunks(TABLE, path))


@pytest.mark.parametrize("keep", [0, 300, -1])
def test_the_next_writer_gets_past_half_a_manifest(manager, store, cut, keep):
    """A newest manifest of nobody that is cut anywhere is removed under the commit lock, and nothing else is."""
    good = content(store, manifest(2))
    before = store._place.files(TABLE)
    cut(TABLE, manifest(3), good, keep % len(good))
    with pytest.raises(Exception, match=r"datasets/a\.lance"):
        store.latest(TABLE)
    with store.open(TABLE, 2) as reader:
        assert reader.num_rows == 2
    assert manager.update_resource("datasets", "a", rows(3)).semver == "1.2.0"
    assert before.keys() <= store._place.files(TABLE).keys()
    assert {v.semver: v.num_rows for v in manager.list_versions("datasets", "a")} == {
        "1.2.0": 3,
        "1.1.0": 2,
        "1.0.0": 1,
    }
    assert manager.catalog.open_operations() == []


def test_a_manifest_that_is_still_arriving_is_waited_for(manager, store, cut):
    """Removed before its writer's end is known, it would come up again in the place of the next writer's."""
    end = cut(TABLE, manifest(3), content(store, manifest(2)), 300, slowly=4.0)
    assert manager.update_resource("datasets", "a", rows(3)).num_rows == 3
    end.join()
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        assert content(store, manifest(3)).endswith(b"LANC")
        time.sleep(0.1)
    with store.open(TABLE, 3) as reader:
        assert reader.num_rows == 3


def test_an_update_that_left_half_a_manifest_is_undone(manager, store, cut):
    """By reconcile, with the data that it had written; before, it could neither be completed nor undone."""
    good = content(store, manifest(2))
    before = store._place.files(TABLE)

    def die(location):
        # All but the manifest is written: the commit's own PUT is cut.
        cut(location, manifest(3), good, 200)
        raise Unavailable("the connection is gone", what="alluxio")

    store.guard_commits(die)
    with pytest.raises(Corrupt):
        manager.update_resource("datasets", "a", rows(3))
    store.guard_commits(lambda _: None)
    assert [finding.outcome for finding in manager.reconcile()] == ["undone"]
    assert manager.catalog.open_operations() == []
    assert {path for path in store._place.files(TABLE) if path.startswith("data/")} == {
        path for path in before if path.startswith("data/")
    }
    assert manager.get_resource("datasets", "a").num_rows == 2


def test_half_a_restored_manifest_hides_nothing(manager, store, cut):
    """A version that was coming back from the cold tier is archived as before, and can come back."""
    good = content(store, manifest(1))
    manager.archive_resource("datasets", "a", "1.0.0")
    cut(TABLE, manifest(1), good, 100)
    with pytest.raises(Corrupt):
        store.usage(TABLE, [2])
    assert manager.restore_resource("datasets", "a", "1.0.0").semver == "1.0.0"
    assert store.usage(TABLE, [1, 2]).total.keys() == {1, 2}
    assert content(store, manifest(1)) == good


def test_a_manifest_that_the_catalog_knows_is_never_removed(manager, store, cut):
    """Whatever became of it: it tells what was there, and a backup has the rest."""
    cut(TABLE, manifest(1), content(store, manifest(1)), 100)
    manager.update_resource("datasets", "a", rows(3))
    assert store._place.files(TABLE)[manifest(1)] == 100


@pytest.mark.parametrize("keep", [0, 10])
def test_half_a_tag_is_set_again(manager, store, cut, keep):
    """The mirror of the catalog's tags in Lance is right after the next settled operation."""
    path = "_refs/tags/active.json"
    cut(TABLE, path, content(store, path), keep)
    manager.rollback_resource("datasets", "a", "1.0.0")
    assert json.loads(content(store, path))["version"] == 1
    assert manager.catalog.open_operations() == []


@pytest.mark.parametrize(
    ("path", "keep"),
    [("_refs/branches/exp.json", 10), ("_refs/branches/exp.json", 0), (f"tree/exp/{manifest(2)}", 100)],
)
def test_half_a_branch_keeps_nobody_from_making_it(manager, store, cut, path, keep):
    """Neither its name nor its first manifest."""
    cut(TABLE, path, BRANCH if path.endswith("json") else content(store, manifest(2)), keep)
    assert manager.branch_resource("datasets", "a", "exp").semver == "1.1.0-exp.1"
    assert manager.update_resource("datasets", "a", rows(3), branch="exp").num_rows == 3


def test_half_a_first_manifest_keeps_nobody_from_registering(manager, store, cut):
    """The name is free, as after any registration that died."""
    cut(OTHER, manifest(1), content(store, manifest(1)), 300)
    assert manager.register_resource("datasets", "b", rows(7)).num_rows == 1
    assert manager.catalog.open_operations() == []


def test_half_a_data_file_is_no_version(manager, store, cut):
    """Its size is compared with what Lance wrote, also where nobody knows its hash yet."""
    path = next(path for path in store._place.files(TABLE) if path.startswith("data/"))
    good = content(store, path)
    cut(TABLE, path, good, len(good) // 2)
    with pytest.raises(Corrupt, match=f"has {len(good) // 2} bytes, not {len(good)}"):
        store.snapshot(TABLE, 2, {})


def test_what_only_a_worker_has_in_memory_is_no_version(manager, store):
    """As with a proxy that acknowledges before the under-store has it; the property to set is named."""
    place = store._place
    store.snapshot(TABLE, 2, {})
    path = place.path(TABLE, "data/loose.lance")
    with place.namespace._client.open(path, "w") as file:
        file.write(b"x")
    place.harden(TABLE, ["data/loose.lance"])
    place.namespace.remove(path)
    loose = place.namespace._client.create_file(path, CreateFile(write_type=WRITE_TYPE_MUST_CACHE))
    place.namespace._client.write(loose).write(b"x")
    place.namespace._client.close(loose)
    with pytest.raises(Unavailable, match=r"s3\.writetype=CACHE_THROUGH"):
        place.harden(TABLE, ["data/loose.lance"])
