"""What half ended operations may not do any more once others were there: bring back, or take, what is not theirs."""

import runpy
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from alluxio_lance.embedded import tables_folder
from alluxio_lance.errors import AlluxioLanceError, Conflict, NotFound, Unavailable
from alluxio_lance.lifecycle.ports import OperationState
from alluxio_lance.storage import LanceStore
from alluxio_lance.values import State, Verb

# The folders of tests are no packages.
SETUP = runpy.run_path(str(Path(__file__).with_name("cold_setup.py")))
broken, ids, manager, opened, root, size, table = (
    SETUP[name] for name in ("broken", "ids", "manager", "opened", "root", "size", "table")
)


class DiedError(BaseException):
    """A process that ends where it stands, as far as the catalog can see."""


def dying_at(root, verb, step):
    """Open a manager that dies at a step of a verb, and leaves all of it as it is."""

    def observe(seen, at):
        if (seen, at) == (verb, step):
            raise DiedError

    dying = opened(root, observer=observe)
    dying.catalog.abandon = lambda *_: None
    for room in (dying._rooms.archiver, dying._rooms.restorer):
        room._undo_after_error = lambda *_: None
    return dying


def leave_half(root, verb, step, do):
    """Leave an operation half done, and its lock free as if its time were over."""
    with dying_at(root, verb, step) as dying, pytest.raises(DiedError):
        do(dying)


def blind(manager):
    """Let a manager take every operation for a living one, as another node does in the first minute; return how to see again."""
    journal = manager._rooms.journal
    journal.is_dead = lambda _: False
    return lambda: journal.__dict__.pop("is_dead")


def purged(manager, *version):
    """Delete and purge datasets/a, or a version of it."""
    manager.delete_resource("datasets", "a", *version)
    manager.purge_resource("datasets", "a", *version)


# -- archive -------------------------------------------------------------------------------------------------------------


def test_an_archive_that_goes_on_late_leaves_the_table_alone_that_came_later(manager, root):
    """The name, the number and the place are the same, the version is another; the copy of the old one goes."""
    leave_half(root, Verb.ARCHIVE, "verified", lambda dying: dying.archive_resource("datasets", "a", "1.0.0"))
    see = blind(manager)
    purged(manager)
    manager.register_resource("datasets", "a", table(7))
    manager.update_resource("datasets", "a", table(8), mode="overwrite")
    see()
    assert [found.outcome for found in manager.reconcile()] == ["undone"]
    assert len(ids(manager, "1.0.0")) == 7
    assert manager.find_version("datasets", "a", "1.0.0").state is State.REGISTERED
    assert size(root / "cold") == 0
    assert manager.catalog.open_operations() == []


def test_an_archive_of_a_resource_that_was_deleted_is_ended(manager, root):
    """It comes back archived when it is undeleted."""
    leave_half(root, Verb.ARCHIVE, "verified", lambda dying: dying.archive_resource("datasets", "a", "1.0.0"))
    see = blind(manager)
    manager.delete_resource("datasets", "a")
    see()
    assert [found.outcome for found in manager.reconcile()] == ["completed"]
    manager.undelete_resource("datasets", "a")
    assert manager.find_version("datasets", "a", "1.0.0").state is State.ARCHIVED
    assert ids(manager, "1.0.0", wait=True) == list(range(1000))


def test_a_version_on_its_way_to_the_cold_tier_is_not_deleted(manager, root):
    """Its rows are in two places then; the deletion is told to come again."""
    leave_half(root, Verb.ARCHIVE, "verified", lambda dying: dying.archive_resource("datasets", "a", "1.0.0"))
    see = blind(manager)
    with pytest.raises(Conflict, match="about to go"):
        manager.delete_resource("datasets", "a", "1.0.0")
    see()
    assert [found.outcome for found in manager.reconcile()] == ["completed"]
    purged(manager, "1.0.0")
    assert size(root / "cold") == 0


def test_a_stalled_archive_wakes_after_the_resource_was_replaced(root):
    """It takes nothing of the new one, and its copy goes."""
    with opened(root) as other:

        def overtake(verb, step):
            if (verb, step) == (Verb.ARCHIVE, "verified"):
                operation = next(one for one in other.catalog.open_operations() if one.verb is Verb.ARCHIVE)
                other.catalog.unlock("datasets", "a", operation.id)
                purged(other)
                other.register_resource("datasets", "a", table(7))
                other.update_resource("datasets", "a", table(8), mode="overwrite")

        with opened(root, observer=overtake) as manager:
            with pytest.raises(AlluxioLanceError):
                manager.archive_resource("datasets", "a", "1.0.0")
            assert [found.outcome for found in manager.reconcile()] == ["undone"]
            assert len(ids(manager, "1.0.0")) == 7
            assert size(root / "cold") == 0


# -- restore -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["copying", "restored"])
@pytest.mark.parametrize("what", ["version", "purged version", "resource", "purged resource", "another resource"])
def test_a_restore_whose_version_has_gone_is_ended(manager, root, step, what):
    """Nothing waits for ever, nothing of it stays in the hot tier, and what came later is not touched."""
    manager.archive_resource("datasets", "a", "1.0.0")
    hot = size(root / "data")
    leave_half(root, Verb.RESTORE, step, lambda dying: dying.restore_resource("datasets", "a", "1.0.0"))
    see = blind(manager)
    manager.delete_resource("datasets", "a", *(["1.0.0"] if "version" in what else []))
    if what not in ("version", "resource"):
        manager.purge_resource("datasets", "a", *(["1.0.0"] if "version" in what else []))
    if what == "another resource":
        manager.register_resource("datasets", "a", table(7))
    see()
    assert [found.outcome for found in manager.reconcile()] == ["undone"]
    assert manager.catalog.open_operations() == []
    if what == "another resource":
        assert len(ids(manager, "1.0.0")) == 7
    elif what == "purged resource":
        assert size(root / "data") == size(root / "cold") == 0
        manager.register_resource("datasets", "a", table(7))
    else:
        assert size(root / "data") <= hot
    if what in ("version", "resource"):
        manager.undelete_resource("datasets", "a", *(["1.0.0"] if what == "version" else []))
        assert ids(manager, "1.0.0", wait=True) == list(range(1000))


# -- purge ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [[], ["1.0.0"]])
def test_what_is_half_purged_is_not_undeleted(manager, root, monkeypatch, version):
    """Rows of it are gone: it can only go on."""
    manager.delete_resource("datasets", "a", *version)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda path: (_ for _ in ()).throw(OSError(5, "Input/output error", str(path))))
        patch.setattr(Path, "unlink", lambda path, **_: (_ for _ in ()).throw(OSError(5, "I/O error", str(path))))
        with pytest.raises(Unavailable):
            manager.purge_resource("datasets", "a", *version)
        with pytest.raises(Conflict, match="purge"):
            manager.undelete_resource("datasets", "a", *version)
    manager.reconcile()
    assert manager.catalog.open_operations() == []
    assert manager.list_resources(deleted=True) == []


@pytest.mark.parametrize("version", [[], ["1.0.0"]])
def test_a_stalled_purge_wakes_after_an_undelete(root, version):
    """It had not begun in earnest, and does not begin now."""
    with opened(root) as other:
        done = []

        def overtake(verb, step):
            if (verb, step) == (Verb.PURGE, "locked"):
                operation = next(one for one in other.catalog.open_operations() if one.verb is Verb.PURGE)
                other.catalog.unlock("datasets", "a", operation.id)
                other.undelete_resource("datasets", "a", *version)
                done.append(operation.id)

        with opened(root, observer=overtake) as manager:
            manager.delete_resource("datasets", "a", *version)
            with pytest.raises(AlluxioLanceError):
                manager.purge_resource("datasets", "a", *version)
            assert manager.catalog.operation(done[0]).state is OperationState.UNDONE
            assert ids(manager, "1.0.0") == list(range(1000))


@pytest.mark.parametrize("version", [[], ["1.0.0"]])
@pytest.mark.parametrize("again", [False, True])
def test_a_purge_that_goes_on_late_leaves_alone_what_came_later(manager, root, version, again):
    """Also when that was deleted by now, and has its own time to be undeleted."""
    manager.delete_resource("datasets", "a", *version)
    leave_half(root, Verb.PURGE, "purging", lambda dying: dying.purge_resource("datasets", "a", *version))
    see = blind(manager)
    manager.purge_resource("datasets", "a", *version)
    if version:
        purged(manager)
    manager.register_resource("datasets", "a", table(7))
    manager.update_resource("datasets", "a", table(8), mode="overwrite")
    if again:
        manager.delete_resource("datasets", "a", *version)
    see()
    assert [found.outcome for found in manager.reconcile()] == ["undone"]
    if again:
        manager.undelete_resource("datasets", "a", *version)
    assert len(ids(manager, "1.0.0")) == 7


# -- delete --------------------------------------------------------------------------------------------------------------


def test_a_version_that_becomes_active_while_it_is_deleted_stays(manager, monkeypatch):
    """A rollback takes no lock: whoever deletes looks again in the transaction."""
    commit = manager.catalog.commit

    def rolled_back_first(operation, change, **options):
        if change.verb is Verb.DELETE:
            manager.rollback_resource("datasets", "a", "1.0.0")
        return commit(operation, change, **options)

    monkeypatch.setattr(manager.catalog, "commit", rolled_back_first)
    with pytest.raises(Conflict):
        manager.delete_resource("datasets", "a", "1.0.0")
    assert manager.find_version("datasets", "a").semver == "1.0.0"


# -- mending that fails, again and again ---------------------------------------------------------------------------------


class RemovesAndFails(LanceStore):
    """A real store whose answer to a removal is lost."""

    failing = True

    def remove(self, *args):
        """Remove, and fail."""
        freed = super().remove(*args)
        if self.failing:
            raise Unavailable("the disk does not answer", what="disk")
        return freed


@pytest.mark.parametrize("times", [1, 3])
def test_an_archive_whose_mending_fails_keeps_its_copy(root, times):
    """From the moment in which the copy was verified it is the only one, however often somebody tries to end it."""
    store = RemovesAndFails.local(tables_folder(root))
    with opened(root, store) as manager:
        with pytest.raises(Unavailable):
            manager.archive_resource("datasets", "a", "1.0.0")
        for _ in range(times):
            assert [found.outcome for found in manager.reconcile()] == ["failed"]
        store.failing = False
        assert [found.outcome for found in manager.reconcile()] == ["completed"]
        assert ids(manager, "1.0.0", wait=True) == list(range(1000))


def test_a_copy_that_could_not_be_removed_goes_when_the_cold_tier_is_back(broken, root):
    """Readers do not wait for that, and a second archive is free to begin."""
    manager, store = broken
    store.failing = "archive drop_cold"
    with pytest.raises(Unavailable):
        manager.archive_resource("datasets", "a", "1.0.0")
    assert size(root / "cold") > 0
    manager.catalog.hold(SETUP["holder"](), 60)
    assert ids(manager, "1.0.0") == list(range(1000))
    assert [found.outcome for found in manager.reconcile()] == ["failed"]
    assert ids(manager, "1.0.0") == list(range(1000))
    store.failing = ""
    assert [found.outcome for found in manager.reconcile()] == ["undone"]
    assert size(root / "cold") == 0
    assert manager.catalog.open_operations() == []


@pytest.mark.parametrize("verb", ["branch", "merge"])
def test_a_request_to_branch_or_merge_is_not_answered_with_a_later_version(manager, verb):
    """A resource of the same name that came later has others under the same numbers."""

    def ask(request_id):
        if verb == "branch":
            return manager.branch_resource("datasets", "a", "exp", request_id=request_id)
        return manager.merge_resource("datasets", "a", "exp", request_id=request_id)

    if verb == "merge":
        manager.branch_resource("datasets", "a", "exp")
    made = ask("once")
    assert ask("once") == made
    purged(manager)
    manager.register_resource("datasets", "a", table(7))
    manager.update_resource("datasets", "a", table(8), mode="overwrite")
    manager.branch_resource("datasets", "a", "exp")
    if verb == "merge":
        manager.merge_resource("datasets", "a", "exp")
    with pytest.raises(NotFound, match="deleted since"):
        ask("once")


def test_a_lock_outlives_the_heartbeat_of_its_holder(root):
    """So that who stood still is taken for dead, and mended, before anybody else works on the resource."""
    found = []

    def look(verb, step):
        if (verb, step) == (Verb.UPDATE, "writing"):
            with closing(sqlite3.connect(root / "catalog.db")) as database:
                found.extend(database.execute("SELECT expires_at FROM commit_locks"))

    with opened(root, observer=look, ttl=30.0) as manager:
        began = datetime.now(UTC)
        manager.update_resource("datasets", "a", table(1))
    ((expires,),) = found
    assert datetime.fromisoformat(expires).replace(tzinfo=UTC) - began > timedelta(seconds=2 * 30)
