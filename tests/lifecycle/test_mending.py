"""What is undone, mended or left alone: errors in the middle of a verb, starts beside living writers, processes that fork."""

import os
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import lance
import pyarrow as pa
import pytest

import alluxio_lance as al
from alluxio_lance.catalog import DatabaseCatalog
from alluxio_lance.embedded import catalog_url, tables_folder
from alluxio_lance.errors import InvalidArgument, NoSpace, NotActive, NotFound, Unavailable
from alluxio_lance.governance import Identity
from alluxio_lance.lifecycle.local import LocalManager
from alluxio_lance.lifecycle.ports import OperationState
from alluxio_lance.storage import LanceStore

ONE = pa.table({"id": [1]})
SOMEBODY = Identity(actor="x@y", roles=("admin",), method="embedded", origin="")


@pytest.fixture
def root(tmp_path):
    """Give a root folder with one resource of one version."""
    with al.ResourceManager.embedded(tmp_path / "root") as manager:
        manager.register_resource("datasets", "a", ONE, metadata={"a": None, "b": 1})
    return tmp_path / "root"


def local(root, store=None, **options):
    """Open a manager without reconciling."""
    return LocalManager(
        DatabaseCatalog.open(catalog_url(root)), store or LanceStore.local(tables_folder(root)), **options
    )


class Interrupted(BaseException):
    """Like Ctrl-C."""


def data_files(root):
    """List the data files of datasets/a."""
    return sorted(path.name for path in (root / "data/datasets/a.lance/data").iterdir())


@pytest.mark.parametrize("error", [RuntimeError, Interrupted, KeyboardInterrupt])
def test_an_update_that_fails_after_its_table_was_written_leaves_no_data(root, error):
    """The version that nobody got goes at once, also where it is Lance's newest; plain Lance sees the old rows."""

    def fail(progress):
        if progress.step == "hash":
            raise error("stop")

    before = data_files(root)
    with al.ResourceManager.embedded(root) as manager:
        with pytest.raises(error, match="stop"):
            manager.update_resource("datasets", "a", pa.table({"id": [2]}), on_progress=fail)
        assert data_files(root) == before
        assert lance.dataset(str(root / "data/datasets/a.lance")).count_rows() == 1
        version = manager.update_resource("datasets", "a", pa.table({"id": [3]}))
        assert (version.semver, version.num_rows) == ("1.1.0", 2)
        assert len(data_files(root)) == 2


def test_what_could_not_be_undone_goes_with_the_next_update(root):
    """An undo that fails does not hide the first error, and its data do not stay for ever."""

    class Stubborn(LanceStore):
        stuck = True

        def sweep(self, location, keep):
            if self.stuck:
                raise Unavailable("the disk does not answer", what="disk")
            return super().sweep(location, keep)

    def fail(progress):
        if progress.step == "hash":
            raise RuntimeError("stop")

    store = Stubborn.local(tables_folder(root))
    with local(root, store) as manager:
        with pytest.raises(RuntimeError, match="stop"):
            manager.update_resource("datasets", "a", pa.table({"id": [2]}), on_progress=fail)
        store.stuck = False
        assert len(data_files(root)) == 2
        manager.update_resource("datasets", "a", pa.table({"id": [3]}))
        assert len(data_files(root)) == 2
        assert manager.get_resource("datasets", "a").num_rows == 2


def test_what_failed_is_not_completed_later(root):
    """Its caller was told that it failed: reconcile removes what could not be removed then, though it is whole."""

    class Stubborn(LanceStore):
        stuck = True

        def sweep(self, location, keep):
            if self.stuck:
                raise Unavailable("the disk does not answer", what="disk")
            return super().sweep(location, keep)

    def fail(progress):
        if progress.step == "hash":
            raise RuntimeError("stop")

    store, before = Stubborn.local(tables_folder(root)), data_files(root)
    with local(root, store) as manager:
        with pytest.raises(RuntimeError, match="stop"):
            manager.update_resource("datasets", "a", pa.table({"id": [2]}), on_progress=fail)
        assert [finding.outcome for finding in manager.reconcile()] == ["failed"]
        store.stuck = False
        assert [finding.outcome for finding in manager.reconcile()] == ["undone"]
        assert manager.reconcile() == []
        assert data_files(root) == before
        assert [version.semver for version in manager.list_versions("datasets", "a")] == ["1.0.0"]


def test_a_table_that_an_undone_register_left_is_not_in_the_way(root):
    """The name can be used at once: whose table that is, its own transaction tells."""

    class Stubborn(LanceStore):
        stuck = True

        def drop(self, location):
            if self.stuck:
                raise Unavailable("the disk does not answer", what="disk")
            super().drop(location)

    def fail(progress):
        if progress.step == "hash":
            raise RuntimeError("stop")

    store = Stubborn.local(tables_folder(root))
    with local(root, store) as manager:
        with pytest.raises(RuntimeError, match="stop"):
            manager.register_resource("datasets", "b", ONE, on_progress=fail)
        store.stuck = False
        assert manager.register_resource("datasets", "b", pa.table({"id": [5, 6]})).num_rows == 2


def test_a_purge_that_failed_half_way_is_ended_by_the_next_verb_on_the_name(root, monkeypatch):
    """Nobody has to restart anything, and a disk error comes out as one of ours."""

    def broken(path):
        raise OSError(5, "Input/output error", str(path))

    with al.ResourceManager.embedded(root) as manager:
        manager.delete_resource("datasets", "a")
        with monkeypatch.context() as patch:
            patch.setattr(shutil, "rmtree", broken)
            for verb in (manager.purge_resource, manager.purge_resource):
                with pytest.raises(Unavailable, match="Input/output error"):
                    verb("datasets", "a")
        assert manager.list_resources() == []
        assert manager.register_resource("datasets", "a", ONE).semver == "1.0.0"


def test_a_table_that_cannot_be_mended_does_not_keep_the_others_from_being_opened(root, monkeypatch):
    """Reconcile says which operation failed, and goes on."""
    with al.ResourceManager.embedded(root) as manager:
        manager.register_resource("datasets", "b", ONE)
        manager.delete_resource("datasets", "a")
        monkeypatch.setattr(shutil, "rmtree", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            manager.purge_resource("datasets", "a")
        assert [found.outcome for found in manager.reconcile()] == ["failed"]
    with al.ResourceManager.embedded(root) as manager:
        assert [resource.name for resource in manager.list_resources()] == ["b"]


def test_tags_that_cannot_be_written_do_not_make_a_failure_of_a_version_that_is_there(root):
    """Who hears of an error tries again; the tags follow when reconcile comes by."""

    class Full(LanceStore):
        full = True

        def mirror_tags(self, location, tags):
            if self.full:
                raise NoSpace("the disk is full", budget=0, need=1)
            super().mirror_tags(location, tags)

    store = Full.local(tables_folder(root))
    with local(root, store) as manager:
        version = manager.update_resource("datasets", "a", ONE)
        assert version.semver == "1.1.0"
        store.full = False
        assert [found.outcome for found in manager.reconcile()] == ["settled"]
        assert lance.dataset(version.location, version="active").version == version.version


def test_the_tag_follows_a_pointer_that_moves_while_it_is_written(root):
    """Of two verbs at once the later one's version is tagged, whoever writes last."""

    class Slow(LanceStore):
        then = None

        def mirror_tags(self, location, tags):
            then, self.then = self.then, None
            if then:
                then()
            super().mirror_tags(location, tags)

    store = Slow.local(tables_folder(root))
    with local(root, store) as manager:
        manager.update_resource("datasets", "a", ONE)
        store.then = lambda: manager.activate_resource("datasets", "a", "1.1.0")
        location = manager.activate_resource("datasets", "a", "1.0.0").location
        assert manager.get_resource("datasets", "a").semver == "1.1.0"
        assert lance.dataset(location, version="active").version == 2


def test_a_start_does_not_wait_for_a_living_writer(root):
    """What a dead process left on a resource that is being written is mended later."""
    writing, done = threading.Event(), threading.Event()

    def slow():
        yield pa.record_batch({"id": [3]})
        writing.set()
        assert done.wait(30)

    with al.ResourceManager.embedded(root) as manager:
        thread = threading.Thread(target=lambda: manager.update_resource("datasets", "a", slow()))
        thread.start()
        assert writing.wait(30)
        journal = manager._rooms.journal
        for step in ("begun", "locked"):
            fresh, _ = journal.begin("update", "datasets", "a", identity=SOMEBODY, params={}, request_id=step)
            journal.catalog.record_step(fresh.id, step)
            journal._stop(fresh.id)
        found = {each.reason for each in manager.reconcile()}
        assert len(found) == 2
        assert any("ended at step 'begun'" in reason for reason in found)
        assert any("has held the resource" in reason for reason in found)
        done.set()
        thread.join(30)


def test_what_was_undone_names_the_process_that_died(root):
    """The journal does not accuse the one who mends."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    with local(root) as manager:
        journal = manager._rooms.journal
        journal.owner = replace(journal.owner, pid=child.pid, started=1)
        dead, _ = journal.begin("update", "datasets", "a", identity=SOMEBODY, params={}, request_id=None)
        journal._stop(dead.id)
        with al.ResourceManager.embedded(root):
            pass
        undone = manager.catalog.operation(dead.id)
        assert undone.state is OperationState.UNDONE
        assert f"process {child.pid} on " in undone.error


def test_an_observer_that_fails_at_once_leaves_nothing_running(root):
    """An operation whose first step failed does not count as alive for ever."""

    def fail(verb, step):
        raise RuntimeError("no")

    with local(root, observer=fail) as manager, al.ResourceManager.embedded(root) as other:
        with pytest.raises(RuntimeError, match="no"):
            manager.update_resource("datasets", "a", ONE, request_id="r")
        assert other.update_resource("datasets", "a", ONE, request_id="r").semver == "1.1.0"


def test_a_rollback_without_a_name_goes_to_nothing_that_is_out_of_use(root):
    """Whoever takes a bad version out of use does not get it back by a rollback."""
    with al.ResourceManager.embedded(root) as manager:
        manager.update_resource("datasets", "a", ONE)
        manager.update_resource("datasets", "a", ONE)
        manager.deprecate_resource("datasets", "a", "1.2.0")
        assert manager.rollback_resource("datasets", "a").semver == "1.1.0"
        manager.deprecate_resource("datasets", "a", "1.0.0")
        with pytest.raises(NotActive, match="still in use"):
            manager.rollback_resource("datasets", "a")


def test_a_rollback_does_not_look_behind_a_deletion(root):
    """A version of the same content that never was active is none to go back to."""
    with al.ResourceManager.embedded(root) as manager:
        manager.update_resource("datasets", "a", ONE)
        manager.delete_resource("datasets", "a")
        manager.purge_resource("datasets", "a")
        manager.register_resource("datasets", "a", ONE)
        manager.update_resource("datasets", "a", ONE, activate=False)
        with pytest.raises(NotActive):
            manager.rollback_resource("datasets", "a")


def test_a_request_is_not_answered_with_the_version_of_a_later_resource(root):
    """The number is the same, the version is not."""
    with al.ResourceManager.embedded(root) as manager:
        manager.register_resource("datasets", "b", ONE, request_id="r")
        manager.delete_resource("datasets", "b")
        manager.purge_resource("datasets", "b")
        manager.register_resource("datasets", "b", pa.table({"id": [9]}))
        with pytest.raises(NotFound, match="deleted since"):
            manager.register_resource("datasets", "b", ONE, request_id="r")


def test_metadata_that_are_null_stay_until_an_update_takes_them_away(root):
    """Only the keys that an update sets to None go."""
    with al.ResourceManager.embedded(root) as manager:
        assert dict(manager.update_resource("datasets", "a", ONE).metadata) == {"a": None, "b": 1}
        assert dict(manager.update_resource("datasets", "a", metadata={"b": None}).metadata) == {"a": None}


def test_a_number_that_no_uri_could_name_is_refused(root):
    """Before anything is written."""
    with al.ResourceManager.embedded(root) as manager:
        manager.update_resource("datasets", "a", ONE, version="1.999999999.0")
        with pytest.raises(InvalidArgument, match="above 999,999,999"):
            manager.update_resource("datasets", "a", ONE)
        with pytest.raises(InvalidArgument, match="no semantic version"):
            manager.update_resource("datasets", "a", ONE, version=2.0)
        assert manager.update_resource("datasets", "a", ONE, bump="major").semver == "2.0.0"


FORKER = """
import os, sys
import alluxio_lance as al
with al.ResourceManager.embedded(sys.argv[1]) as manager:
    handle = manager.get_resource("datasets", "a")
    child = os.fork()
    if not child:
        said = []
        for call in (manager.list_resources, handle.to_lance, lambda: manager.rollback_resource("datasets", "a")):
            try:
                call()
            except al.errors.Unavailable as error:
                said.append(error.message)
        manager.close()
        with al.ResourceManager.embedded(sys.argv[1]) as own:
            count = own.get_resource("datasets", "a").num_rows
        good = len(said) == 3 and all("forked" in each for each in said) and count == 1
        os._exit(0 if good else 3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    manager.update_resource("datasets", "a", metadata={"still": "alive"})
"""


def test_a_manager_is_refused_in_a_forked_child(root):
    """Connections do not survive a fork: the child is told, opens its own, and the parent's goes on."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKER, str(root)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_folder_that_cannot_be_a_root_is_refused(tmp_path):
    """A file in the way is said in a sentence."""
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidArgument, match="cannot be the root folder"):
        al.ResourceManager.embedded(tmp_path / "file")
    with pytest.raises(InvalidArgument, match="cannot be the root folder"):
        al.ResourceManager.embedded(tmp_path / "file" / "below")


def test_watch_ends_when_its_manager_is_closed_by_another_thread(root):
    """No error comes out of a watcher that waits, whenever the end comes."""
    for _ in range(5):
        manager = al.ResourceManager.embedded(root)
        started, errors = threading.Event(), []

        def follow(manager=manager, started=started, errors=errors):
            started.set()
            try:
                list(manager.watch())
            except Unavailable as error:
                errors.append(error)

        watcher = threading.Thread(target=follow)
        watcher.start()
        assert started.wait(10)
        manager.close()
        watcher.join(10)
        assert not watcher.is_alive()
        assert errors == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root may mount a small disk")
def test_a_full_disk_leaves_everything_as_it_was(tmp_path):
    """A real disk of 16 MB: the error has budget and need, the space comes back, and the next update works."""
    import numpy as np

    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("this container may not mount")

    def rows(megabytes):
        for _ in range(megabytes):
            yield pa.record_batch({"id": np.random.default_rng(0).integers(0, 1 << 60, 1 << 17)})

    def free():
        return os.statvfs(disk).f_bfree

    try:
        with al.ResourceManager.embedded(disk) as manager:
            manager.register_resource("datasets", "a", ONE)
            before = free()
            for verb, name in ((manager.register_resource, "b"), (manager.update_resource, "a")):
                with pytest.raises(NoSpace, match="disk is full") as caught:
                    verb("datasets", name, rows(40))
                assert caught.value.details["need"] > 0
                assert before - free() < 200
            assert manager.catalog.open_operations() == []
            assert manager.update_resource("datasets", "a", rows(2)).num_rows == 1 + (2 << 17)
            assert not (Path(disk) / "data/datasets/b.lance").exists()
    finally:
        subprocess.run(["umount", str(disk)], check=True)
