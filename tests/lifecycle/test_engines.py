"""The lifecycle over a catalog on PostgreSQL and on MariaDB: a handful of scenarios that SQLite passes in the other modules."""

import signal
import subprocess
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from alluxio_lance.catalog import DatabaseCatalog
from alluxio_lance.errors import Leased, NotFound, Restoring
from alluxio_lance.lifecycle.local import LocalManager
from alluxio_lance.lifecycle.ports import Holder
from alluxio_lance.storage import LanceStore
from alluxio_lance.values import State, Verb

WORKER = Path(__file__).with_name("engine_worker.py")
KINDS = [pytest.param(kind, marks=getattr(pytest.mark, kind)) for kind in ("postgresql", "mariadb")]


@pytest.fixture(params=KINDS)
def url(request, databases, tmp_path):
    """An empty database."""
    with databases.empty(request.param, tmp_path) as made:
        yield made


@pytest.fixture
def tables(tmp_path):
    """The folder of the tables."""
    return tmp_path / "tables"


@pytest.fixture
def manager(url, tables):
    """A manager over the two, with datasets/a of one row."""
    with LocalManager(DatabaseCatalog.open(url), LanceStore.local(tables)) as opened:
        opened.register_resource("datasets", "a", pa.table({"id": pa.array([-1], pa.int64())}), metadata={"ä": [1.5]})
        yield opened


def ids(manager):
    """Read the active version."""
    return sorted(manager.get_resource("datasets", "a").to_lance().to_table()["id"].to_pylist())


def work(url, tables, *arguments):
    """Start a worker."""
    command = [sys.executable, "-W", "ignore", str(WORKER), url, str(tables), *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_register_update_rollback_and_history(manager):
    """A resource lives its life: every face of the manager tells the same story."""
    assert manager.get_resource("datasets", "a").metadata == {"ä": [1.5]}
    second = manager.update_resource("datasets", "a", pa.table({"id": [7]}), request_id="r-1")
    assert manager.update_resource("datasets", "a", pa.table({"id": [7]}), request_id="r-1") == second
    assert ids(manager) == [-1, 7]
    assert manager.rollback_resource("datasets", "a").semver == "1.0.0"
    assert ids(manager) == [-1]
    assert {v.semver: v.state for v in manager.list_versions("datasets", "a")} == {
        "1.0.0": State.ACTIVE,
        "1.1.0": State.REGISTERED,
    }
    assert [event.verb for event in manager.history("datasets", "a")] == [Verb.REGISTER, Verb.UPDATE, Verb.ROLLBACK]
    report = manager.catalog.verify_audit()
    assert (report.rows, report.fault) == (3, None)


def test_two_processes_update_one_resource_and_nothing_is_lost(manager, url, tables):
    """2 x 10 updates at once: 20 versions, unique numbers, every row there."""
    workers = [work(url, tables, first, 10) for first in (0, 100)]
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    assert [(worker.communicate(timeout=120)[1], worker.returncode) for worker in workers] == [("", 0)] * 2
    versions = manager.list_versions("datasets", "a")
    assert len({version.semver for version in versions}) == len({version.version for version in versions}) == 21
    assert ids(manager) == [-1, *range(10), *range(100, 110)]
    assert manager.catalog.open_operations() == []
    assert manager.catalog.verify_audit().rows == 21


def test_a_purge_leaves_the_history_only(manager, tables):
    """Catalog and folder are empty afterwards, and the name is free."""
    manager.delete_resource("datasets", "a")
    assert [(one.name, one.versions) for one in manager.list_resources(deleted=True)] == [("a", 1)]
    manager.undelete_resource("datasets", "a")
    assert ids(manager) == [-1]
    manager.delete_resource("datasets", "a")
    manager.purge_resource("datasets", "a")
    assert manager.list_resources() == manager.list_resources(deleted=True) == []
    assert not list(tables.rglob("*.lance"))
    with pytest.raises(NotFound):
        manager.get_resource("datasets", "a")
    assert [event.verb for event in manager.history("datasets", "a")] == [
        Verb.REGISTER,
        Verb.DELETE,
        Verb.UNDELETE,
        Verb.DELETE,
        Verb.PURGE,
    ]
    assert manager.register_resource("datasets", "a", pa.table({"id": [1]})).semver == "1.0.0"


def test_a_version_goes_to_the_cold_tier_and_comes_back(manager, tables):
    """A reader stops it; it comes back to whoever wants it, and is deleted and purged there."""
    manager.update_resource("datasets", "a", pa.table({"id": [7]}), mode="overwrite")
    reader = Holder(
        id=uuid.uuid4().hex,
        type="datasets",
        name="a",
        semver="1.0.0",
        node="b",
        pid=1,
        user="eve",
        command="train.py",
        since=datetime.now(UTC),
    )
    manager.catalog.hold(reader, 60)
    with pytest.raises(Leased, match="eve"):
        manager.archive_resource("datasets", "a", "1.0.0")
    manager.catalog.release([reader.id])
    assert manager.archive_resource("datasets", "a", "1.0.0").state is State.ARCHIVED
    with pytest.raises(Restoring):
        manager.catalog.hold(reader, 60)
    back = manager.get_resource("datasets", "a", "1.0.0", wait=True)
    assert back.to_lance().to_table()["id"].to_pylist() == [-1]
    manager.archive_resource("datasets", "a", "1.0.0")
    manager.delete_resource("datasets", "a", "1.0.0")
    manager.undelete_resource("datasets", "a", "1.0.0")
    manager.delete_resource("datasets", "a", "1.0.0")
    manager.purge_resource("datasets", "a", "1.0.0")
    assert ids(manager) == [7]
    assert not [path for path in (tables.parent / "cold").rglob("*") if path.is_file()]
    assert manager.catalog.open_operations() == []
    assert manager.catalog.verify_audit().fault is None


@pytest.mark.parametrize(("step", "found"), [("writing", [-1]), ("written", [-1, 5])])
def test_what_a_killed_process_left_is_mended(manager, url, tables, step, found):
    """Killed before the table was whole, an update is undone; afterwards it is completed. The next one works."""
    worker = work(url, tables, 5, 1, step)
    assert worker.communicate("go\n", timeout=60)[1] == ""
    assert worker.returncode == -signal.SIGKILL
    assert len(manager.reconcile()) == 1
    assert ids(manager) == found
    assert manager.catalog.open_operations() == []
    manager.update_resource("datasets", "a", pa.table({"id": [6]}))
    assert ids(manager) == [*found, 6]
    assert manager.catalog.verify_audit().fault is None
