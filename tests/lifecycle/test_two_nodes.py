"""Two nodes over one catalog and store want the same version back from the cold tier."""

import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from alluxio_lance.catalog import DatabaseCatalog
from alluxio_lance.embedded import catalog_url, tables_folder
from alluxio_lance.errors import Restoring
from alluxio_lance.lifecycle.local import LocalManager
from alluxio_lance.storage import LanceStore
from alluxio_lance.values import State, Verb

RESTORER = Path(__file__).with_name("restorer.py")
TTL = 30.0


@pytest.fixture
def root(tmp_path):
    """A folder with an archived version of some megabytes."""
    with here(tmp_path) as manager:
        manager.register_resource("datasets", "a", pa.table({"id": pa.array(range(1 << 20), pa.int64())}))
        manager.update_resource("datasets", "a", pa.table({"id": pa.array([1], pa.int64())}), mode="overwrite")
        manager.archive_resource("datasets", "a", "1.0.0")
    return tmp_path


def here(root, ttl=TTL):
    """Open a manager on this node."""
    catalog, store = DatabaseCatalog.open(catalog_url(root)), LanceStore.local(tables_folder(root))
    return LocalManager(catalog, store, node="here", ttl=ttl)


@contextmanager
def elsewhere(root, ttl=TTL):
    """Let a process of another node stand still in the middle of the restore."""
    command = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-W", "ignore", str(RESTORER)]
    child = subprocess.Popen(
        [*command, str(root), "elsewhere", str(ttl)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout.readline() == "copying\n"
        yield child
    finally:
        child.kill()
        child.communicate()


class Waiting:
    """A reader here that waits for the version, in a thread."""

    def __init__(self, manager):
        self.told, self.heard = [], threading.Event()
        self.found = []
        self.thread = threading.Thread(target=self.run, args=(manager,))
        self.thread.start()

    def run(self, manager):
        table = manager.get_resource("datasets", "a", "1.0.0", wait=True, on_progress=self.tell)
        self.found.append(table.to_lance().count_rows())

    def tell(self, progress):
        self.told.append(progress)
        self.heard.set()

    def end(self):
        self.thread.join(60)
        assert not self.thread.is_alive()
        return self.found


def restores(manager):
    """List by whom the version was restored."""
    return [event.origin for event in manager.history("datasets", "a") if event.verb is Verb.RESTORE]


def test_one_node_restores_and_the_other_follows_its_progress(root):
    """Both have the data in the end, and it was done once."""
    with here(root) as manager, elsewhere(root) as other:
        with pytest.raises(Restoring) as caught:
            manager.get_resource("datasets", "a", "1.0.0")
        assert 0 < caught.value.details["progress"] <= 1
        waiting = Waiting(manager)
        assert waiting.heard.wait(30)
        answer, _ = other.communicate("go\n", timeout=60)
        assert answer == "done\n"
        assert waiting.end() == [1 << 20]
        assert waiting.told[0].total_bytes > 1 << 20
        assert restores(manager) == [f"embedded:pid={other.pid}"]


@pytest.mark.parametrize("ttl", [TTL, 0.5])
def test_the_other_node_takes_over_when_the_first_one_dies(root, ttl):
    """At once within one machine; on another, where nobody can see its processes, when its heartbeat is too old."""
    with here(root, ttl) as manager, elsewhere(root, ttl) as other:
        if ttl != TTL:
            journal = manager._rooms.journal
            journal.owner = replace(journal.owner, boot="of another machine")
        waiting = Waiting(manager)
        assert waiting.heard.wait(30)
        other.kill()
        assert waiting.end() == [1 << 20]
        assert len(restores(manager)) == 1
        assert manager.catalog.open_operations() == []
        assert manager.find_version("datasets", "a", "1.0.0").state is State.REGISTERED


def test_two_threads_of_one_node_restore_once(root):
    """Who comes second joins."""
    with here(root) as manager:
        both = [Waiting(manager), Waiting(manager)]
        assert [waiting.end() for waiting in both] == [[1 << 20]] * 2
        assert len(restores(manager)) == 1
