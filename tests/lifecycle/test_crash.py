"""kill -9 in the middle of every verb, at every step: a real process, a real kill, and what the next one finds."""

import runpy
from pathlib import Path

import lance
import pytest

import alluxio_lance as al
from alluxio_lance.errors import NotFound
from alluxio_lance.values import State

# The folders of tests are no packages.
CRASHING = runpy.run_path(str(Path(__file__).with_name("crashing.py")))
check_no_orphans, crash, rows = (CRASHING[name] for name in ("check_no_orphans", "crash", "rows"))
COMPLETED, UNDONE = "completed", "undone"

REGISTER = {
    "begun": UNDONE,
    "locked": UNDONE,
    "writing": UNDONE,
    "mid-write": UNDONE,
    "written": COMPLETED,
    "hashed": COMPLETED,
    "committed": COMPLETED,
}
UPDATE = {**REGISTER}
AFTER_ROLLBACK = {"restored": UNDONE, "mid-write": UNDONE, "written": COMPLETED}
ROLLBACK = {"begun": UNDONE, "committed": COMPLETED}


@pytest.fixture
def root(tmp_path):
    """Prepare a root with one resource of two versions, the second one active."""
    folder = tmp_path / "root"
    with al.ResourceManager.embedded(folder) as manager:
        manager.register_resource("datasets", "old", rows(10))
        manager.update_resource("datasets", "old", rows(5))
    return folder


@pytest.mark.parametrize(("step", "outcome"), REGISTER.items())
def test_a_register_killed_at_any_step_is_completed_or_undone(root, step, outcome):
    """No half version is visible, nothing else is touched, no orphan stays, and the name can be used."""
    crash(root, "register", step)
    with al.ResourceManager.embedded(root) as manager:
        assert manager.get_resource("datasets", "old").num_rows == 15
        if outcome == COMPLETED:
            version = manager.get_resource("datasets", "new")
            assert version.num_rows == version.to_lance().count_rows() == 2_000_000
        else:
            with pytest.raises(NotFound):
                manager.get_resource("datasets", "new")
            manager.register_resource("datasets", "new", rows(1))
    check_no_orphans(root)


@pytest.mark.parametrize(("step", "outcome"), UPDATE.items())
def test_an_update_killed_at_any_step_is_completed_or_undone(root, step, outcome):
    """The old version is served unless the new one was whole; the next update works."""
    crash(root, "update", step)
    with al.ResourceManager.embedded(root) as manager:
        active = manager.get_resource("datasets", "old")
        assert active.to_lance().count_rows() == active.num_rows == (2_000_015 if outcome == COMPLETED else 15)
        assert active.semver == ("1.2.0" if outcome == COMPLETED else "1.1.0")
    check_no_orphans(root)
    with al.ResourceManager.embedded(root) as manager:
        assert manager.update_resource("datasets", "old", rows(1)).num_rows == active.num_rows + 1
    check_no_orphans(root)


@pytest.mark.parametrize(("step", "outcome"), AFTER_ROLLBACK.items())
def test_an_update_after_a_rollback_killed_at_any_step_is_completed_or_undone(root, step, outcome):
    """The step back that comes first leaves no trace once the next update is through."""
    with al.ResourceManager.embedded(root) as manager:
        manager.rollback_resource("datasets", "old", "1.0.0")
    crash(root, "update", step)
    with al.ResourceManager.embedded(root) as manager:
        active = manager.get_resource("datasets", "old")
        assert active.num_rows == (2_000_010 if outcome == COMPLETED else 10)
        assert manager.update_resource("datasets", "old", rows(1)).num_rows == active.num_rows + 1
        assert manager.get_resource("datasets", "old", "1.1.0").to_lance().count_rows() == 15
    check_no_orphans(root)


@pytest.mark.parametrize(("step", "outcome"), ROLLBACK.items())
def test_a_rollback_killed_at_any_step_is_whole_or_not_there(root, step, outcome):
    """The pointer stands at one version or the other, and the Lance tag follows it."""
    crash(root, "rollback", step)
    with al.ResourceManager.embedded(root) as manager:
        active = manager.get_resource("datasets", "old")
        assert active.semver == ("1.0.0" if outcome == COMPLETED else "1.1.0")
        assert lance.dataset(active.info.location, version="active").version == active.version
        states = {version.semver: version.state for version in manager.list_versions("datasets", "old")}
        assert sorted(states.values()) == [State.ACTIVE, State.REGISTERED]
    check_no_orphans(root)


def test_a_second_writer_mends_a_dead_one_without_a_restart(root):
    """A manager that was open all the time takes the lock of a killed process over at once."""
    with al.ResourceManager.embedded(root) as manager:
        crash(root, "update", "written")
        version = manager.update_resource("datasets", "old", rows(1))
        assert (version.semver, version.num_rows) == ("1.3.0", 2_000_016)
    check_no_orphans(root)


def test_versions_that_somebody_wrote_past_the_manager_are_not_removed(root):
    """A foreign append to the table survives the undoing of a crashed update: it is not ours."""
    with al.ResourceManager.embedded(root) as manager:
        location = manager.get_resource("datasets", "old").info.location
    foreign = lance.write_dataset(rows(3), location, mode="append").version
    crash(root, "update", "mid-write")
    with al.ResourceManager.embedded(root) as manager:
        assert lance.dataset(location, version=foreign).count_rows() == 18
        assert manager.update_resource("datasets", "old", rows(1)).num_rows == 16
        assert lance.dataset(location, version=foreign).count_rows() == 18
