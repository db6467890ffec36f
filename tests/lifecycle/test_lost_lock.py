"""A writer that stands still for longer than its lock holds, and comes back when another one was there."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path

import lance
import pyarrow as pa
import pytest

import alluxio_lance as al
from alluxio_lance.catalog import DatabaseCatalog
from alluxio_lance.embedded import catalog_url, tables_folder
from alluxio_lance.errors import AlreadyExists, Conflict
from alluxio_lance.lifecycle.local import LocalManager
from alluxio_lance.storage import LanceStore

STALLING = Path(__file__).with_name("stalling.py")
TTL = 0.4


@pytest.fixture
def root(tmp_path):
    """Give an empty root folder."""
    with al.ResourceManager.embedded(tmp_path / "root"):
        return tmp_path / "root"


def opened(root):
    """Open a manager whose locks hold as shortly as those of the stalled one."""
    return LocalManager(DatabaseCatalog.open(catalog_url(root)), LanceStore.local(tables_folder(root)), ttl=TTL)


def stop_outside_of_a_transaction(child, database):
    """Stop a process; SQLite lets nobody else write while its heartbeat stands in the middle of a transaction."""
    while True:
        child.send_signal(signal.SIGSTOP)
        # Its threads may go on for a moment, and one of them into a transaction.
        os.waitid(os.P_PID, child.pid, os.WSTOPPED)
        try:
            with closing(sqlite3.connect(database, timeout=0)) as connection:
                connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            child.send_signal(signal.SIGCONT)
        else:
            return


@contextmanager
def stalled(root, verb):
    """Start a writer and stop it in its middle; the function that is given lets it go on and tells how it ended."""
    command = ["setpriv", "--pdeathsig", "KILL", sys.executable, str(STALLING), str(root), verb, str(TTL)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def resume():
        child.send_signal(signal.SIGCONT)
        answer, _ = child.communicate("go\n", timeout=60)
        assert child.returncode == 0
        return answer.strip()

    try:
        assert child.stdout.readline() == "writing\n"
        stop_outside_of_a_transaction(child, root / "catalog.db")
        yield resume
    finally:
        child.kill()
        child.communicate()


def check_clean(root):
    """Nothing is open, every version can be read, and no file lies there that no version needs."""
    with al.ResourceManager.embedded(root) as manager:
        assert manager.catalog.open_operations() == []
        known = manager.list_versions("datasets", "a")
        for version in known:
            table = manager.get_resource("datasets", "a", version.semver).to_lance()
            assert len(table.to_table()) == version.num_rows
        location = Path(known[0].location)
    dataset = lance.dataset(str(location))
    used = {Path(row["path"]).name for row in dataset.tracked_files().read_all().to_pylist()}
    assert {path.name for path in (location / "data").iterdir()} <= used


def test_an_update_that_lost_its_lock_changes_nothing(root):
    """The other one's version stands, the late one is told Conflict, and its data go."""
    with opened(root) as manager:
        manager.register_resource("datasets", "a", pa.table({"id": [-1]}))
        with stalled(root, "update") as resume:
            other = manager.update_resource("datasets", "a", pa.table({"id": [-2]}))
            assert (other.semver, other.num_rows) == ("1.1.0", 2)
            assert resume() == "Conflict"
        assert [version.semver for version in manager.list_versions("datasets", "a")] == ["1.1.0", "1.0.0"]
        after = manager.update_resource("datasets", "a", pa.table({"id": [-3]}))
        assert after.num_rows == 3
        assert sorted(manager.get_resource("datasets", "a").to_lance().to_table()["id"].to_pylist()) == [-3, -2, -1]
    check_clean(root)


def test_a_register_that_lost_its_lock_does_not_remove_the_table_of_the_other_one(root):
    """Who comes second with a name finds it taken; undoing his work must not touch what he did not write."""
    with opened(root) as manager:
        with stalled(root, "register") as resume:
            other = manager.register_resource("datasets", "a", pa.table({"id": [-2]}))
            assert other.semver == "1.0.0"
            assert resume() in ("AlreadyExists", "Conflict")
        assert manager.get_resource("datasets", "a").to_lance().to_table()["id"].to_pylist() == [-2]
        assert manager.update_resource("datasets", "a", pa.table({"id": [-3]})).num_rows == 2
    check_clean(root)


def test_a_register_and_a_delete_while_a_writer_is_stopped(root):
    """The name is free again, and what the stopped one wrote late is gone as well."""
    with opened(root) as manager:
        with stalled(root, "register") as resume:
            manager.register_resource("datasets", "a", pa.table({"id": [-2]}))
            manager.delete_resource("datasets", "a")
            manager.purge_resource("datasets", "a")
            # Corrupt: its first half went with the table that was deleted.
            assert resume() in ("Conflict", "Corrupt")
        assert manager.list_resources() == []
        assert manager.register_resource("datasets", "a", pa.table({"id": [-3]})).num_rows == 1
    check_clean(root)


@pytest.mark.parametrize("mode", ["append", "upsert"])
def test_a_commit_that_slips_in_between_is_never_part_of_a_version(root, mode):
    """Somebody who writes past the lock, or has lost it, cannot get rows into another one's version."""
    on = "id" if mode == "upsert" else None
    with opened(root) as manager:
        location = manager.register_resource("datasets", "a", pa.table({"id": [1]})).location

        def interrupted():
            yield pa.record_batch({"id": [2]})
            lance.write_dataset(pa.table({"id": [666]}), location, mode="append")

        with pytest.raises(Conflict):
            manager.update_resource("datasets", "a", interrupted(), mode=mode, on=on)
        assert [version.semver for version in manager.list_versions("datasets", "a")] == ["1.0.0"]
        assert lance.dataset(location, version=2).count_rows() == 2
        manager.update_resource("datasets", "a", pa.table({"id": [3]}), mode=mode, on=on)
        assert manager.get_resource("datasets", "a").to_lance().to_table()["id"].to_pylist() == [1, 3]


def test_a_table_that_the_catalog_does_not_know_is_not_touched(root):
    """Registering at its place is refused, and the table stays."""
    with opened(root) as manager:
        location = root / "data" / "datasets" / "a.lance"
        lance.write_dataset(pa.table({"id": [7]}), str(location))
        with pytest.raises(AlreadyExists, match="does not know"):
            manager.register_resource("datasets", "a", pa.table({"id": [1]}))
        assert lance.dataset(str(location)).count_rows() == 1
