"""From which version an update continues: when others are archived or deleted, when it died, when gates are asked."""

import runpy
import threading
from dataclasses import replace
from pathlib import Path

import lance
import pyarrow as pa
import pytest

import alluxio_lance as al
from alluxio_lance.catalog import DatabaseCatalog
from alluxio_lance.embedded import catalog_url, tables_folder
from alluxio_lance.errors import AlreadyExists, Conflict, NotActive, PolicyDenied, Restoring
from alluxio_lance.lifecycle.local import LocalManager
from alluxio_lance.lifecycle.ports import OperationState
from alluxio_lance.storage import LanceStore
from alluxio_lance.values import State

DYING = runpy.run_path(str(Path(__file__).with_name("dying.py")))
Death, Fate, mortal = DYING["Death"], DYING["Fate"], DYING["mortal"]


def rows(*ids):
    """Make a table."""
    return pa.table({"id": pa.array(ids, pa.int64())})


def ids(manager, selector=None):
    """Read the rows of a version."""
    return sorted(manager.get_resource("datasets", "a", selector).to_lance().to_table()["id"].to_pylist())


@pytest.fixture
def root(tmp_path):
    """Give a root with three versions, rows 1 to 3, the third one active."""
    with al.ResourceManager.embedded(tmp_path / "root") as manager:
        manager.register_resource("datasets", "a", rows(1))
        manager.update_resource("datasets", "a", rows(2), metadata={"from": "second"})
        manager.update_resource("datasets", "a", rows(3), metadata={"from": "third"})
    return tmp_path / "root"


@pytest.fixture
def manager(root):
    """Give a manager on it."""
    with al.ResourceManager.embedded(root) as manager:
        yield manager


def check_numbers(manager):
    """Every version has a Lance number of its own, archived ones too, and hot ones can be read under it."""
    versions = manager.list_versions("datasets", "a")
    numbers = [version.version for version in versions]
    assert len(set(numbers)) == len(numbers)
    table = lance.dataset(versions[0].location)
    present = {ref["version"] for ref in table.version_refs()}
    hot = {version.version for version in versions if version.state is not State.ARCHIVED}
    assert hot <= present
    assert not present & {version.version for version in versions if version.state is State.ARCHIVED}


def test_an_update_after_the_newest_was_archived_continues_from_the_active_one(manager):
    """The number of the archived version is not given again, and it comes back under it."""
    manager.rollback_resource("datasets", "a", "1.0.0")
    archived = manager.archive_resource("datasets", "a", "1.2.0")
    updated = manager.update_resource("datasets", "a", rows(7))
    assert (updated.semver, ids(manager)) == ("1.3.0", [1, 7])
    assert updated.version > archived.version
    check_numbers(manager)
    manager.restore_resource("datasets", "a", "1.2.0")
    assert manager.find_version("datasets", "a", "1.2.0").version == archived.version
    assert ids(manager, "1.2.0") == [1, 2, 3]
    assert manager.update_resource("datasets", "a", rows(8)).semver == "1.4.0"
    check_numbers(manager)
    assert ids(manager) == [1, 7, 8]


def test_without_an_active_version_an_update_continues_from_the_newest_usable_one(manager):
    """Never from one that is archived or deleted."""
    manager.deprecate_resource("datasets", "a", "1.2.0")
    manager.delete_resource("datasets", "a", "1.2.0")
    manager.archive_resource("datasets", "a", "1.1.0")
    updated = manager.update_resource("datasets", "a", rows(7))
    assert (updated.semver, ids(manager), dict(updated.metadata)) == ("1.3.0", [1, 7], {})
    assert ids(manager, "1.0.0") == [1]
    check_numbers(manager)
    manager.undelete_resource("datasets", "a", "1.2.0")
    assert ids(manager, "1.2.0") == [1, 2, 3]


def test_where_all_is_archived_an_update_begins_the_restore(manager):
    """It says so; when the version is back it continues from it."""
    manager.deprecate_resource("datasets", "a", "1.2.0")
    for semver in ("1.0.0", "1.1.0", "1.2.0"):
        manager.archive_resource("datasets", "a", semver)
    with pytest.raises(Restoring) as caught:
        manager.update_resource("datasets", "a", rows(7))
    assert 0 <= caught.value.details["progress"] <= 1
    assert caught.value.details["operation"]
    manager.restore_resource("datasets", "a", "1.2.0")
    assert manager.find_version("datasets", "a", "1.0.0").state is State.ARCHIVED
    assert manager.update_resource("datasets", "a", rows(7)).semver == "1.3.0"
    assert ids(manager) == [1, 2, 3, 7]
    check_numbers(manager)


def test_the_number_of_a_deleted_version_is_taken(manager):
    """Until it is purged: it may be taken back."""
    manager.rollback_resource("datasets", "a", "1.0.0")
    manager.delete_resource("datasets", "a", "1.2.0")
    with pytest.raises(AlreadyExists, match=r"1\.2\.0"):
        manager.update_resource("datasets", "a", rows(7), version="1.2.0")
    assert manager.update_resource("datasets", "a", rows(7)).semver == "1.3.0"
    manager.purge_resource("datasets", "a", "1.2.0")
    assert manager.update_resource("datasets", "a", rows(8), version="1.2.0").semver == "1.2.0"
    assert ids(manager) == [1, 7, 8]
    check_numbers(manager)


def test_a_line_without_any_version_says_what_to_do(manager):
    """A branch whose versions are all deleted is one; on the main line the last one cannot be deleted."""
    from alluxio_lance.lifecycle.writing.line import read_line

    line = read_line(manager.catalog, manager.store, "datasets", "a")
    deleted = replace(line, versions=tuple(replace(each, state=State.DELETED) for each in line.versions))
    with pytest.raises(NotActive, match="of datasets/a to continue from, all are deleted"):
        deleted.base()
    with pytest.raises(NotActive, match="on the branch 'exp' of datasets/a"):
        replace(deleted, branch="exp").base()
    assert replace(line, versions=()).highest == 0
    assert replace(line, versions=()).newest_hot is None


def test_a_name_that_was_deleted_is_taken_until_it_is_purged(manager):
    """Register says how to get it free, or back."""
    manager.delete_resource("datasets", "a")
    with pytest.raises(AlreadyExists, match="undelete"):
        manager.register_resource("datasets", "a", rows(1))
    manager.undelete_resource("datasets", "a")
    assert ids(manager) == [1, 2, 3]
    manager.delete_resource("datasets", "a")
    manager.purge_resource("datasets", "a")
    assert manager.register_resource("datasets", "a", rows(9)).semver == "1.0.0"


# -- a crash, and a pointer that moved since ---------------------------------------------------------------------------


def crash(root, at, verb):
    """Run a verb in a manager that dies at the first call of a name."""
    catalog, store = DatabaseCatalog.open(catalog_url(root)), LanceStore.local(tables_folder(root))
    fate = Fate()
    meet = fate.meet

    def dies(name):
        fate.dead = fate.dead or name == at
        return meet(name)

    fate.meet = dies
    victim = mortal(catalog, store, fate)
    with pytest.raises(Death):
        verb(victim)
    victim._rooms.journal.close()
    catalog.close()


def test_a_version_completed_after_a_crash_follows_the_base_that_it_was_written_on(root):
    """Not the one that somebody activated in between: number, metadata and rows are of one piece, and the pointer stays."""
    crash(root, "snapshot", lambda manager: manager.update_resource("datasets", "a", rows(7), bump="patch"))
    with DatabaseCatalog.open(catalog_url(root)) as catalog:
        pending = [one for one in catalog.open_operations() if one.state is OperationState.PENDING]
        assert [(one.params["base"], one.params["active"]) for one in pending] == [("1.2.0", "1.2.0")]
        with LocalManager(catalog, LanceStore.local(tables_folder(root)), ttl=3600) as other:
            other.rollback_resource("datasets", "a", "1.0.0")
    with al.ResourceManager.embedded(root) as manager:
        completed = manager.find_version("datasets", "a", "1.2.1")
        assert (completed.state, dict(completed.metadata)) == (State.REGISTERED, {"from": "third"})
        assert ids(manager, "1.2.1") == [1, 2, 3, 7]
        assert manager.find_version("datasets", "a").semver == "1.0.0"


@pytest.mark.parametrize("at", ["record_params", "append", "snapshot"])
def test_a_crash_is_undone_where_nothing_was_written_and_completed_where_it_was(root, at):
    """Either way the next update works."""
    crash(root, at, lambda manager: manager.update_resource("datasets", "a", rows(7)))
    with al.ResourceManager.embedded(root) as manager:
        assert manager.catalog.open_operations() == []
        assert ids(manager) == ([1, 2, 3, 7] if at == "snapshot" else [1, 2, 3])
        assert ids(manager, manager.update_resource("datasets", "a", rows(8)).semver)[-1] == 8
        check_numbers(manager)


def test_a_process_that_stood_still_does_not_commit_what_another_one_mended(root):
    """It wakes up, finds that its operation was taken over, and touches nothing any more."""
    hashing, mended = threading.Event(), threading.Event()

    def wait(progress):
        if progress.step == "hash":
            hashing.set()
            assert mended.wait(30)

    errors = []
    with al.ResourceManager.embedded(root) as sleeper, al.ResourceManager.embedded(root) as other:

        def work():
            try:
                sleeper.update_resource("datasets", "a", rows(7), on_progress=wait)
            except Conflict as error:
                errors.append(error.message)

        thread = threading.Thread(target=work)
        thread.start()
        assert hashing.wait(30)
        (operation,) = other.catalog.open_operations()
        assert other.catalog.adopt(operation, replace(operation.owner, pid=1))
        mended.set()
        thread.join(30)
        assert len(errors) == 1
        assert "taken over by another process" in errors[0]
        # What it wrote is there for the one who mends it, which the process with the number 1 never will.
        assert sleeper.catalog.operation(operation.id).state is not OperationState.DONE
    with al.ResourceManager.embedded(root) as manager:
        assert ids(manager, "1.2.0") == [1, 2, 3]


# -- gates on activation -----------------------------------------------------------------------------------------------

GATE = """
[[gates]]
name = "good-enough"
on = ["activate"]
kind = "expectation"
require = ["metadata.accuracy >= 0.9"]
"""


@pytest.mark.parametrize("verb", ["register", "update", "merge"])
def test_a_gate_on_activation_lets_the_version_in_and_keeps_the_pointer(manager, verb):
    """It is committed as registered, and the error names it and the promotion; nothing is lost."""
    manager.branch_resource("datasets", "a", "exp")
    manager.set_rules(GATE)
    do = {
        "register": lambda **more: manager.register_resource("datasets", "b", rows(7), **more),
        "update": lambda **more: manager.update_resource("datasets", "a", rows(7), **more),
        "merge": lambda **more: manager.merge_resource("datasets", "a", "exp", **more),
    }[verb]
    name, semver = ("b", "1.0.0") if verb == "register" else ("a", "1.3.0")
    with pytest.raises(PolicyDenied) as caught:
        do()
    assert semver in caught.value.message
    assert caught.value.details["promotion"]
    assert caught.value.details["report"][0]["gate"] == "good-enough"
    version = manager.find_version("datasets", name, semver)
    assert version.state is State.REGISTERED
    if verb == "register":
        with pytest.raises(NotActive):
            manager.get_resource("datasets", name)
    else:
        assert manager.find_version("datasets", name).semver == "1.2.0"
    assert manager.catalog.open_operations() == []


def test_a_gate_that_passes_lets_the_pointer_move(manager):
    """The version comes in and is active, as without a gate."""
    manager.set_rules(GATE)
    updated = manager.update_resource("datasets", "a", rows(7), metadata={"accuracy": 0.95}, request_id="u")
    assert updated.state is State.ACTIVE
    assert manager.find_version("datasets", "a").semver == updated.semver == "1.3.0"
    manager.rollback_resource("datasets", "a", "1.2.0")
    # The request is repeated after the rollback, which it must not undo.
    again = manager.update_resource("datasets", "a", rows(7), metadata={"accuracy": 0.95}, request_id="u")
    assert (again.semver, again.state) == ("1.3.0", State.REGISTERED)
    assert manager.find_version("datasets", "a").semver == "1.2.0"


def test_a_gate_is_not_asked_for_a_pointer_that_moved_meanwhile(manager):
    """A long update does not undo a rollback, with a gate as without one."""
    manager.set_rules(GATE)

    def slow():
        yield pa.record_batch({"id": pa.array([7], pa.int64())})
        manager.rollback_resource("datasets", "a", "1.0.0")

    updated = manager.update_resource("datasets", "a", slow(), metadata={"accuracy": 0.95})
    assert (updated.semver, updated.state) == ("1.3.0", State.REGISTERED)
    assert manager.find_version("datasets", "a").semver == "1.0.0"
    assert manager.list_promotions() == []
