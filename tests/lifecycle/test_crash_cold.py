"""kill -9 at every step of archive, restore, delete, undelete and purge: a real process, a real kill, and what the next one finds."""

import runpy
from pathlib import Path

import pytest

import alluxio_lance as al
from alluxio_lance.errors import NotFound
from alluxio_lance.values import State

# The folders of tests are no packages.
CRASHING = runpy.run_path(str(Path(__file__).with_name("crashing.py")))
check_no_orphans, contents, crash, prepare, rows = (
    CRASHING[name] for name in ("check_no_orphans", "contents", "crash", "prepare", "rows")
)
COMPLETED, UNDONE = "completed", "undone"

ARCHIVE = {
    "begun": UNDONE,
    "locked": UNDONE,
    "fenced": UNDONE,
    "cloning": UNDONE,
    "verifying": UNDONE,
    "verified": COMPLETED,
    "removed": COMPLETED,
    "committed": COMPLETED,
    "settled": COMPLETED,
}
RESTORE = {
    "begun": UNDONE,
    "locked": UNDONE,
    "copying": UNDONE,
    "mid-copy": UNDONE,
    "restored": COMPLETED,
    "committed": COMPLETED,
    "settled": COMPLETED,
}
ONE_TRANSACTION = {"begun": UNDONE, "locked": UNDONE, "committed": COMPLETED, "settled": COMPLETED}
PURGE = {
    "begun": UNDONE,
    "locked": UNDONE,
    "purging": COMPLETED,
    "dropped": COMPLETED,
    "emptied": COMPLETED,
    "committed": COMPLETED,
    "settled": COMPLETED,
}


@pytest.fixture
def root(tmp_path):
    """Give a root with one resource of three versions, the last one active."""
    return prepare(tmp_path / "root")


def do(root, *calls):
    """Make calls of a manager on datasets/old, each given as the verb and a version."""
    with al.ResourceManager.embedded(root) as manager:
        for verb, *version in calls:
            getattr(manager, f"{verb}_resource")("datasets", "old", *version)


@pytest.mark.parametrize(("step", "outcome"), ARCHIVE.items())
def test_an_archive_killed_at_any_step_is_completed_or_undone(root, step, outcome):
    """The version is hot or cold, wholly, and in both cases its content comes back equal."""
    before = contents(root)
    crash(root, "archive", step)
    after = contents(root)
    if outcome == COMPLETED:
        assert after.pop("1.0.0") == (State.ARCHIVED, before["1.0.0"][1], None)
        before_others = {semver: found for semver, found in before.items() if semver != "1.0.0"}
        assert after == before_others
    else:
        assert after == before
    check_no_orphans(root)
    with al.ResourceManager.embedded(root) as manager:
        table = manager.get_resource("datasets", "old", "1.0.0", wait=True)
        assert table.content_hash == before["1.0.0"][1]
    assert contents(root) == before
    check_no_orphans(root)


@pytest.mark.parametrize("step", ["verified", "removed"])
def test_an_archive_of_the_newest_version_that_is_killed_is_completed(root, step):
    """Lance's newest version is covered by another one before it goes, once."""
    do(root, ("rollback", "1.0.0"))
    before = contents(root)
    crash(root, "archive:newest", step)
    assert contents(root)["1.2.0"][0] is State.ARCHIVED
    check_no_orphans(root)
    do(root, ("restore", "1.2.0"))
    assert contents(root) == before
    check_no_orphans(root)
    with al.ResourceManager.embedded(root) as manager:
        assert manager.update_resource("datasets", "old", rows(1)).num_rows == 11
    check_no_orphans(root)


@pytest.mark.parametrize(("step", "outcome"), RESTORE.items())
def test_a_restore_killed_at_any_step_is_completed_or_undone(root, step, outcome):
    """Half of a version is never there, and asking again brings it back."""
    before = contents(root)
    do(root, ("archive", "1.0.0"))
    crash(root, "restore", step)
    state = contents(root)["1.0.0"][0]
    assert state is (State.REGISTERED if outcome == COMPLETED else State.ARCHIVED)
    check_no_orphans(root)
    do(root, ("restore", "1.0.0"))
    assert contents(root) == before
    check_no_orphans(root)


def test_a_restore_that_another_reader_takes_over_from_a_killed_process(root):
    """A manager that was open all the time gets the data, without a restart."""
    before = contents(root)
    with al.ResourceManager.embedded(root) as manager:
        manager.archive_resource("datasets", "old", "1.0.0")
        crash(root, "restore", "mid-copy")
        assert manager.get_resource("datasets", "old", "1.0.0", wait=True).content_hash == before["1.0.0"][1]
    assert contents(root) == before
    check_no_orphans(root)


def test_a_fence_of_a_killed_archive_does_not_block_for_ever(root):
    """Whoever wants the version next undoes the dead archive."""
    before = contents(root)
    with al.ResourceManager.embedded(root) as manager:
        crash(root, "archive", "fenced")
        found = manager.find_version("datasets", "old", "1.0.0")
        assert manager.bring_back(found).state is State.REGISTERED
    assert contents(root) == before
    check_no_orphans(root)


@pytest.mark.parametrize(("step", "outcome"), ONE_TRANSACTION.items())
@pytest.mark.parametrize("verb", ["delete", "delete:version"])
def test_a_deletion_killed_at_any_step_is_whole_or_not_there(root, verb, step, outcome):
    """What is deleted is out of sight, and comes back by an undelete."""
    before = contents(root)
    version = ["1.0.0"] if verb == "delete:version" else []
    crash(root, verb, step)
    with al.ResourceManager.embedded(root) as manager:
        if outcome == COMPLETED:
            with pytest.raises(NotFound):
                manager.get_resource("datasets", "old", *version)
            check_no_orphans(root)
            manager.undelete_resource("datasets", "old", *version)
    assert contents(root) == before
    check_no_orphans(root)


@pytest.mark.parametrize(("step", "outcome"), ONE_TRANSACTION.items())
@pytest.mark.parametrize("verb", ["undelete", "undelete:version"])
def test_an_undeletion_killed_at_any_step_is_whole_or_not_there(root, verb, step, outcome):
    """What comes back is what it was; what does not can still be undeleted."""
    before = contents(root)
    version = ["1.0.0"] if verb == "undelete:version" else []
    do(root, ("delete", *version))
    crash(root, verb, step)
    if outcome == UNDONE:
        do(root, ("undelete", *version))
    assert contents(root) == before
    check_no_orphans(root)


@pytest.mark.parametrize(("step", "outcome"), PURGE.items())
def test_a_purge_killed_at_any_step_leaves_nothing_or_everything(root, step, outcome):
    """Once it began no byte stays, hot or cold; before that all can be undeleted."""
    do(root, ("archive", "1.0.0"))
    before = contents(root)
    do(root, ("delete",))
    crash(root, "purge", step)
    check_no_orphans(root)
    with al.ResourceManager.embedded(root) as manager:
        if outcome == COMPLETED:
            assert manager.list_resources(deleted=True) == []
            assert not list((root / "data").rglob("*.lance"))
            assert not [path for path in (root / "cold").rglob("*") if path.is_file()]
            assert [event.verb for event in manager.history("datasets", "old")][-2:] == ["delete", "purge"]
            manager.register_resource("datasets", "old", rows(1))
        else:
            manager.undelete_resource("datasets", "old")
            assert contents(root) == before
    check_no_orphans(root)


@pytest.mark.parametrize("cold", [False, True])
@pytest.mark.parametrize(("step", "outcome"), PURGE.items())
def test_a_purge_of_a_version_killed_at_any_step_leaves_nothing_or_everything(root, step, outcome, cold):
    """The other versions stay as they are, also where they share files with it."""
    if cold:
        do(root, ("archive", "1.0.0"))
    before = contents(root)
    do(root, ("delete", "1.0.0"))
    crash(root, "purge:version", step)
    check_no_orphans(root)
    if outcome == COMPLETED:
        del before["1.0.0"]
        with al.ResourceManager.embedded(root) as manager, pytest.raises(NotFound):
            manager.undelete_resource("datasets", "old", "1.0.0")
    else:
        do(root, ("undelete", "1.0.0"))
    assert contents(root) == before
    check_no_orphans(root)
