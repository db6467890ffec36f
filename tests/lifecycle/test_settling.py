"""What is settled behind the answer: the tags follow the pointer, whatever comes between, and no later verb overtakes them."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import SimpleNamespace

import lance
import pyarrow as pa
import pytest

import alluxio_lance as al
from alluxio_lance.catalog import DatabaseCatalog
from alluxio_lance.embedded import catalog_url, tables_folder
from alluxio_lance.lifecycle.local import LocalManager
from alluxio_lance.lifecycle.settling import Settler
from alluxio_lance.storage import LanceStore
from alluxio_lance.values import Verb

ONE = pa.table({"id": [1]})
PATIENCE = 60.0


class Gated(LanceStore):
    """A store that writes no tag before it may."""

    may: threading.Event
    reached: threading.Event

    def mirror_tags(self, location, tags):
        self.reached.set()
        assert self.may.wait(PATIENCE)
        super().mirror_tags(location, tags)


@pytest.fixture
def root(tmp_path):
    """Give a root folder with one resource of two versions, of which the second is active."""
    with al.ResourceManager.embedded(tmp_path / "root") as manager:
        manager.register_resource("datasets", "a", ONE)
        manager.update_resource("datasets", "a", ONE)
    return tmp_path / "root"


@pytest.fixture
def gated(root):
    """Give a manager that settles behind its answers, its store, and the steps that it has told of."""
    store = Gated.local(tables_folder(root))
    store.may, store.reached = threading.Event(), threading.Event()
    steps = []
    manager = LocalManager(
        DatabaseCatalog.open(catalog_url(root)),
        store,
        observer=lambda verb, step: steps.append((verb, step)),
        settle_behind=True,
    )
    yield manager, store, steps
    store.may.set()
    manager.close()


def tagged(root):
    """Return the version that the Lance tag stands on."""
    return lance.dataset(tables_folder(root) / "datasets/a.lance", version="active").version


def test_the_answer_comes_before_the_tag_and_the_tag_comes(root, gated):
    """Whoever closes the manager finds everything settled."""
    manager, store, steps = gated
    assert manager.rollback_resource("datasets", "a").semver == "1.0.0"
    assert store.reached.wait(PATIENCE)
    assert (manager.find_version("datasets", "a").semver, tagged(root)) == ("1.0.0", 2)
    assert manager.reconcile() == [], "what is at work is taken for a dead one's"
    assert steps[-1] == (Verb.ROLLBACK, "committed")
    store.may.set()
    manager.close()
    assert tagged(root) == 1
    assert steps[-1] == (Verb.ROLLBACK, "settled")
    with DatabaseCatalog.open(catalog_url(root)) as catalog:
        assert catalog.open_operations() == []


def test_the_tag_stands_where_the_last_of_many_left_the_pointer(root, gated):
    """They are settled one after the other, each by what the catalog says then."""
    manager, store, _ = gated
    for version in ("1.0.0", "1.1.0", "1.0.0", "1.1.0", "1.0.0"):
        manager.activate_resource("datasets", "a", version)
    store.may.set()
    manager.close()
    assert tagged(root) == 1


def test_a_verb_that_takes_the_lock_waits_for_what_is_not_settled_yet(root, gated, monkeypatch):
    """An update never runs beside the mirror of an earlier rollback."""
    manager, store, steps = gated
    asked = threading.Event()
    wait = Settler.wait

    def told(settler, type, name):
        asked.set()
        wait(settler, type, name)
        steps.append("waited")

    monkeypatch.setattr(Settler, "wait", told)
    manager.rollback_resource("datasets", "a")
    with ThreadPoolExecutor(1) as pool:
        updated = pool.submit(manager.update_resource, "datasets", "a", ONE)
        assert asked.wait(PATIENCE)
        assert "waited" not in steps
        store.may.set()
        version = updated.result(PATIENCE)
    assert steps.index("waited") < steps.index((Verb.UPDATE, "begun"))
    assert tagged(root) == version.version


def test_what_a_killed_process_has_answered_and_not_settled_is_settled_by_the_next(root):
    """The journal knows what is left."""
    code = """
import os, signal, sys, threading
from alluxio_lance.catalog import DatabaseCatalog
from alluxio_lance.embedded import catalog_url, tables_folder
from alluxio_lance.lifecycle.local import LocalManager
from alluxio_lance.storage import LanceStore
from pathlib import Path

class Never(LanceStore):
    def mirror_tags(self, location, tags):
        threading.Event().wait()

root = Path(sys.argv[1])
manager = LocalManager(DatabaseCatalog.open(catalog_url(root)), Never.local(tables_folder(root)), settle_behind=True)
print(manager.rollback_resource("datasets", "a").semver, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    died = subprocess.run([sys.executable, "-c", code, str(root)], capture_output=True, text=True, check=False)
    assert (died.stdout.strip(), died.returncode) == ("1.0.0", -9), died.stderr
    assert tagged(root) == 2
    with al.ResourceManager.embedded(root) as manager:
        assert manager.find_version("datasets", "a").semver == "1.0.0"
        assert tagged(root) == 1


def test_a_settler_takes_no_more_than_it_can_keep_and_nothing_but_moves_of_the_pointer():
    """Whoever comes with one more settles by himself, and so does everybody when it is closed."""
    may, settled = threading.Event(), []

    def settle(running):
        assert may.wait(PATIENCE)
        settled.append(running)

    def of(verb):
        return SimpleNamespace(operation=SimpleNamespace(verb=verb, type="datasets", name="a"))

    settler, ended = Settler(settle), []
    assert not settler.takes(of(Verb.UPDATE), ExitStack())
    taken = 0
    while True:
        alive = ExitStack()
        alive.callback(ended.append, taken)
        if not settler.takes(of(Verb.ROLLBACK), alive):
            break
        alive.close()
        taken += 1
    assert (taken, ended) == (64, []), "an operation that waits has to stay alive"
    may.set()
    settler.wait("datasets", "a")
    assert (len(settled), ended) == (64, list(range(64)))
    assert settler.takes(of(Verb.ROLLBACK), ExitStack())
    settler.close()
    settler.close()
    assert len(settled) == 65
    assert not settler.takes(of(Verb.ROLLBACK), ExitStack())
