"""Archive: what it moves, what stops it, and what an error or a reader in its middle finds."""

import runpy
import threading
from pathlib import Path

import pytest

from alluxio_lance.errors import (
    Conflict,
    InvalidArgument,
    Leased,
    NotFound,
    PolicyDenied,
    Restoring,
    Unavailable,
)
from alluxio_lance.values import State, Verb

# The folders of tests are no packages.
SETUP = runpy.run_path(str(Path(__file__).with_name("cold_setup.py")))
broken, holder, ids, manager, opened, root, size, table = (
    SETUP[name] for name in ("broken", "holder", "ids", "manager", "opened", "root", "size", "table")
)


def test_an_archive_moves_the_bytes_that_only_this_version_needs(manager, root):
    """Hot falls by what the store foretold, cold rises by what the version says, and nothing else changes."""
    before = manager.find_version("datasets", "a", "1.0.0")
    foretold = manager.store.removal("datasets/a.lance", [before.version])
    hot = size(root / "data")
    archived = manager.archive_resource("datasets", "a", "1.0.0", message="old")
    assert (archived.state, archived.version, archived.content_hash) == (
        State.ARCHIVED,
        before.version,
        before.content_hash,
    )
    assert archived.archived_at is not None
    assert foretold > 1000
    assert hot - size(root / "data") == foretold
    assert archived.cold_bytes == size(root / "cold") > 1000
    assert ids(manager, "1.1.0") == [0, 1, 2]
    assert [version.semver for version in manager.list_versions("datasets", "a")] == ["1.1.0", "1.0.0"]
    assert [one.name for one in manager.list_resources(search="old")] in ([], ["a"])
    event = manager.history("datasets", "a")[-1]
    assert (event.verb, event.semver, event.message) == (Verb.ARCHIVE, "1.0.0", "old")


def test_lances_newest_version_can_be_archived_while_an_older_one_is_active(manager):
    """And the next update continues from the active one, under a new number."""
    manager.rollback_resource("datasets", "a", "1.0.0")
    manager.archive_resource("datasets", "a", "1.1.0")
    assert ids(manager, "1.0.0") == list(range(1000))
    updated = manager.update_resource("datasets", "a", table(1, start=5000))
    assert (updated.semver, updated.num_rows) == ("1.2.0", 1001)
    assert ids(manager, "1.1.0", wait=True) == [0, 1, 2]
    numbers = [version.version for version in manager.list_versions("datasets", "a")]
    assert len(set(numbers)) == 3


def test_every_version_of_a_resource_can_be_archived(manager):
    """The table stays as an empty place to which they come back."""
    manager.deprecate_resource("datasets", "a", "1.1.0")
    for semver in ("1.0.0", "1.1.0"):
        manager.archive_resource("datasets", "a", semver)
    assert ids(manager, "1.1.0", wait=True) == [0, 1, 2]
    assert ids(manager, "1.0.0", wait=True) == list(range(1000))


# -- what stops an archive -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("selector", "error", "says"),
    [
        ("1.1.0", InvalidArgument, "activate another version"),
        ("9.9.9", NotFound, "9.9.9"),
        ("active", InvalidArgument, "is active"),
    ],
)
def test_what_cannot_be_archived_is_refused(manager, selector, error, says):
    """With a sentence, and without a trace."""
    before = manager.list_versions("datasets", "a")
    with pytest.raises(error, match=says):
        manager.archive_resource("datasets", "a", selector)
    assert manager.list_versions("datasets", "a") == before
    assert manager.catalog.open_operations() == []


def test_an_archived_version_is_not_archived_again(manager):
    """Nor deprecated: it has to come back first."""
    manager.archive_resource("datasets", "a", "1.0.0")
    with pytest.raises(InvalidArgument, match="is archived already"):
        manager.archive_resource("datasets", "a", "1.0.0")
    with pytest.raises(InvalidArgument, match="restore it first"):
        manager.deprecate_resource("datasets", "a", "1.0.0")


def test_a_repeated_request_gets_the_first_answer(manager):
    """Also when the selector means nothing any more."""
    first = manager.archive_resource("datasets", "a", "1.0", request_id="r")
    assert manager.archive_resource("datasets", "a", "1.0", request_id="r") == first
    with pytest.raises(NotFound):
        manager.archive_resource("datasets", "b", "1.0", request_id="other")


def test_a_branch_holds_the_version_at_which_it_begins(manager):
    """Its data are the branch's, too."""
    manager.branch_resource("datasets", "a", "exp", version="1.0.0")
    for verb in (manager.archive_resource, manager.delete_resource):
        with pytest.raises(PolicyDenied, match="the branch exp begins at"):
            verb("datasets", "a", "1.0.0")


def test_the_only_holder_of_a_stage_stays(manager):
    """Until another version takes the stage."""
    manager.set_rules('[stages.experiment]\nto=["gold"]\n[stages.gold]\nholders="one"\n')
    manager.promote_resource("datasets", "a", "1.0.0", to="gold")
    for verb in (manager.archive_resource, manager.delete_resource):
        with pytest.raises(PolicyDenied, match="holds the stage gold"):
            verb("datasets", "a", "1.0.0")


def test_a_reader_on_any_node_stops_an_archive(manager):
    """The refusal names it; when it has gone, the archive goes through."""
    reader = holder()
    manager.catalog.hold(reader, 60)
    with pytest.raises(Leased, match="node-b") as caught:
        manager.archive_resource("datasets", "a", "1.0.0")
    assert [one["pid"] for one in caught.value.details["holders"]] == [4711]
    assert ids(manager, "1.0.0") == list(range(1000))
    manager.catalog.release([reader.id])
    assert manager.archive_resource("datasets", "a", "1.0.0").state is State.ARCHIVED


# -- while it runs -------------------------------------------------------------------------------------------------------


class Paused:
    """A long verb in a thread that stands still at its first progress until it may go on."""

    def __init__(self, verb):
        self.at, self.go = threading.Event(), threading.Event()
        self.error = None
        self.thread = threading.Thread(target=self.run, args=(verb,))
        self.thread.start()
        assert self.at.wait(30)

    def run(self, verb):
        try:
            verb(on_progress=self.stop)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self.error = error
        finally:
            self.at.set()

    def stop(self, _progress):
        self.at.set()
        assert self.go.wait(30)

    def end(self):
        self.go.set()
        self.thread.join(30)
        assert not self.thread.is_alive()


def archiving(manager):
    """Begin to archive 1.0.0."""
    return Paused(lambda **options: manager.archive_resource("datasets", "a", "1.0.0", **options))


def test_a_reader_that_comes_while_the_archive_runs_gets_restoring_and_in_the_end_the_data(root, manager):
    """No lease begins on what is about to go; who waits gets it back when it has gone."""
    running = archiving(manager)
    with opened(root, node="other") as other:
        with pytest.raises(Restoring):
            other.catalog.hold(holder(), 60)
        found = other.find_version("datasets", "a", "1.0.0")
        with pytest.raises(Restoring, match="on its way to the cold tier"):
            other.bring_back(found)
        back = []
        waiting = threading.Thread(target=lambda: back.append(other.bring_back(found, wait=True)))
        waiting.start()
        running.end()
        waiting.join(30)
        assert [version.state for version in back] == [State.REGISTERED]
        assert ids(other, "1.0.0") == list(range(1000))
        other.catalog.hold(holder(), 60)
    verbs = [event.verb for event in manager.history("datasets", "a")]
    assert verbs[-2:] == [Verb.ARCHIVE, Verb.RESTORE]


def test_a_version_does_not_become_active_while_it_is_copied(manager):
    """The pointer never stands at a version that is not there."""
    running = archiving(manager)
    with pytest.raises(Conflict, match="about to go"):
        manager.rollback_resource("datasets", "a", "1.0.0")
    running.end()
    active = manager.get_resource("datasets", "a")
    assert active.to_lance().count_rows() == active.num_rows
    assert running.error is None
    assert manager.find_version("datasets", "a", "1.0.0").state is State.ARCHIVED
    assert manager.catalog.open_operations() == []


def test_an_archive_that_another_process_took_over_removes_nothing(root):
    """Who stood still for too long must not take away what the other one decided to keep."""
    with opened(root, node="other") as other:

        def taken_over(verb, step):
            if (verb, step) == (Verb.ARCHIVE, "fenced"):
                (operation,) = other.catalog.open_operations()
                assert other.catalog.adopt(operation, other._rooms.journal.owner)

        with opened(root, observer=taken_over) as manager, pytest.raises(Conflict):
            manager.archive_resource("datasets", "a", "1.0.0")
        assert ids(other, "1.0.0") == list(range(1000))
        assert [one.outcome for one in other.reconcile()] == ["undone"]
        assert size(root / "cold") == 0
        assert other.archive_resource("datasets", "a", "1.0.0").state is State.ARCHIVED


def test_an_archive_that_fails_before_it_is_verified_changes_nothing(broken, root):
    """The copy goes, the fence is lifted."""
    manager, store = broken
    store.failing = "archive"
    with pytest.raises(Unavailable):
        manager.archive_resource("datasets", "a", "1.0.0")
    assert manager.catalog.open_operations() == []
    assert size(root / "cold") == 0
    manager.catalog.hold(holder(), 60)


def test_an_archive_that_fails_and_cannot_remove_its_copy_still_says_why(broken, caplog):
    """The first error comes out."""
    manager, store = broken
    store.failing = "archive drop_cold"
    with pytest.raises(Unavailable, match="does not answer"):
        manager.archive_resource("datasets", "a", "1.0.0")
    assert ids(manager, "1.0.0") == list(range(1000))


def test_an_archive_that_fails_after_it_is_verified_goes_on_by_itself(broken, root):
    """It is left to reconcile, and the copy stays."""
    manager, store = broken
    store.failing = "remove"
    with pytest.raises(Unavailable):
        manager.archive_resource("datasets", "a", "1.0.0")
    assert [one.step for one in manager.catalog.open_operations()] == ["verified"]
    store.failing = ""
    assert [one.outcome for one in manager.reconcile()] == ["completed"]
    archived = manager.find_version("datasets", "a", "1.0.0")
    assert (archived.state, archived.cold_bytes) == (State.ARCHIVED, size(root / "cold"))
