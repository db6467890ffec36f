"""Several processes and threads on one resource."""

import subprocess
import sys
import threading
from pathlib import Path

import pyarrow as pa
import pytest

import alluxio_lance as al
from alluxio_lance.errors import Conflict, Unavailable
from alluxio_lance.values import State

APPENDER = Path(__file__).with_name("appender.py")


def test_two_processes_update_one_resource_and_nothing_is_lost(tmp_path):
    """2 x 20 updates at once: 40 versions, unique numbers, every row there."""
    root = tmp_path / "root"
    with al.ResourceManager.embedded(root) as manager:
        manager.register_resource("datasets", "a", pa.table({"id": pa.array([-1], pa.int64())}))
    workers = [
        subprocess.Popen(
            [sys.executable, str(APPENDER), str(root), str(first)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for first in (0, 100)
    ]
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    for worker in workers:
        worker.communicate(timeout=120)
        assert worker.returncode == 0
    with al.ResourceManager.embedded(root) as manager:
        versions = manager.list_versions("datasets", "a")
        assert len({version.semver for version in versions}) == len({version.version for version in versions}) == 41
        found = manager.get_resource("datasets", "a").to_lance().to_table()["id"].to_pylist()
        assert sorted(found) == [-1, *range(20), *range(100, 120)]
        assert [version.num_rows for version in reversed(versions)] == list(range(1, 42))


def test_a_rollback_does_not_wait_for_a_long_update_and_is_not_undone_by_it(tmp_path):
    """The pointer moves at once; the update's version comes in, but stays registered."""
    root = tmp_path / "root"
    writing, rolled_back = threading.Event(), threading.Event()

    def slow():
        yield pa.record_batch({"id": [3]})
        writing.set()
        assert rolled_back.wait(30)
        yield pa.record_batch({"id": [4]})

    with al.ResourceManager.embedded(root) as manager:
        manager.register_resource("datasets", "a", pa.table({"id": [1]}))
        manager.update_resource("datasets", "a", pa.table({"id": [2]}))
        result = []
        thread = threading.Thread(target=lambda: result.append(manager.update_resource("datasets", "a", slow())))
        thread.start()
        assert writing.wait(30)
        assert manager.rollback_resource("datasets", "a").semver == "1.0.0"
        rolled_back.set()
        thread.join(30)
        assert (result[0].semver, result[0].state, result[0].num_rows) == ("1.2.0", State.REGISTERED, 4)
        assert manager.get_resource("datasets", "a").semver == "1.0.0"


def test_an_update_that_waits_too_long_names_who_holds_the_resource(tmp_path):
    """Conflict tells verb, actor, process and node of the holder."""
    from alluxio_lance.catalog import DatabaseCatalog
    from alluxio_lance.embedded import catalog_url, tables_folder
    from alluxio_lance.lifecycle.local import LocalManager
    from alluxio_lance.storage import LanceStore

    root = tmp_path / "root"
    writing, done = threading.Event(), threading.Event()

    def slow():
        yield pa.record_batch({"id": [3]})
        writing.set()
        assert done.wait(30)

    with al.ResourceManager.embedded(root) as manager:
        manager.register_resource("datasets", "a", pa.table({"id": [1]}))
        thread = threading.Thread(target=lambda: manager.update_resource("datasets", "a", slow()))
        thread.start()
        assert writing.wait(30)
        store = LanceStore.local(tables_folder(root))
        with (
            LocalManager(DatabaseCatalog.open(catalog_url(root)), store, lock_timeout=0.2) as other,
            pytest.raises(Conflict, match=r"update of datasets/a by .*@.* \(operation [0-9a-f]{8}, process \d+ on"),
        ):
            other.update_resource("datasets", "a", pa.table({"id": [5]}))
        done.set()
        thread.join(30)
        assert manager.get_resource("datasets", "a").num_rows == 2


def test_closing_a_manager_ends_the_wait_for_a_resource(tmp_path):
    """A server that stops does not wait for somebody else's upload."""
    root = tmp_path / "root"
    writing, done = threading.Event(), threading.Event()

    def slow():
        yield pa.record_batch({"id": [3]})
        writing.set()
        assert done.wait(30)

    with al.ResourceManager.embedded(root) as manager, al.ResourceManager.embedded(root) as other:
        manager.register_resource("datasets", "a", pa.table({"id": [1]}))
        holder = threading.Thread(target=lambda: manager.update_resource("datasets", "a", slow()))
        holder.start()
        assert writing.wait(30)
        errors = []

        def wait():
            try:
                other.update_resource("datasets", "a", pa.table({"id": [4]}))
            except Unavailable as error:
                errors.append(error)

        waiter = threading.Thread(target=wait)
        waiter.start()
        try:
            while len(manager.catalog.open_operations()) < 2:
                pass
            other.close()
            waiter.join(30)
        finally:
            done.set()
            holder.join(30)
        assert "closed" in str(errors[0])


def test_a_failing_stream_leaves_nothing_behind(tmp_path):
    """The error of the caller's own iterator comes out, and the table is as it was."""
    root = tmp_path / "root"

    def broken():
        yield pa.record_batch({"id": [3]})
        raise RuntimeError("the disk of the source is gone")

    with al.ResourceManager.embedded(root) as manager:
        with pytest.raises(Exception, match="the disk of the source is gone"):
            manager.register_resource("datasets", "b", broken())
        assert manager.list_resources() == []
        assert not (root / "data" / "datasets").exists()
        manager.register_resource("datasets", "a", pa.table({"id": [1]}))
        with pytest.raises(Exception, match="the disk of the source is gone"):
            manager.update_resource("datasets", "a", broken())
        assert manager.get_resource("datasets", "a").num_rows == 1
        assert manager.update_resource("datasets", "a", pa.table({"id": [2]})).semver == "1.1.0"
        assert manager.catalog.open_operations() == []
