"""The cold tier, on both managers: archive, restore, and opening what is archived."""

import pyarrow as pa
import pytest

from alluxio_lance.errors import InvalidArgument, NotFound, PolicyDenied, Restoring
from alluxio_lance.values import State, Verb


def table(n, start=0):
    """Make n rows."""
    return pa.table({"id": pa.array(range(start, start + n), pa.int64())})


@pytest.fixture
def two(manager):
    """A resource with an old version of 5 rows and an active one of 10."""
    old = manager.register_resource("datasets", "a", table(5))
    manager.update_resource("datasets", "a", table(5, 5))
    return old


def test_an_archived_version_is_listed_and_comes_back_as_it_was(manager, two):
    """The same number, hash and state; readers of other versions notice nothing."""
    told = []
    gone = manager.archive_resource("datasets", "a", "1.0.0", message="unread", on_progress=told.append)
    assert (gone.state, gone.semver, gone.location) == (State.ARCHIVED, "1.0.0", two.location)
    assert gone.cold_bytes > 0
    assert gone.archived_at is not None
    assert told
    assert manager.find_version("datasets", "a", "1.0.0") == gone
    assert [version.state for version in manager.list_versions("datasets", "a")] == [State.ACTIVE, State.ARCHIVED]
    assert manager.get_resource("datasets", "a").to_lance().count_rows() == 10
    told.clear()
    back = manager.restore_resource("datasets", "a", "1.0.0", on_progress=told.append)
    assert (back.state, back.version, back.content_hash) == (two.state.REGISTERED, two.version, two.content_hash)
    assert (back.cold_bytes, back.archived_at) == (None, None)
    assert manager.get_resource("datasets", "a", "1.0.0").to_lance().to_table()["id"].to_pylist() == list(range(5))
    verbs = [event.verb for event in manager.history("datasets", "a")]
    assert verbs == [Verb.REGISTER, Verb.UPDATE, Verb.ARCHIVE, Verb.RESTORE]


def test_opening_an_archived_version_starts_its_restore(manager, two):
    """Who does not wait is told how far it is; who waits gets it."""
    manager.archive_resource("datasets", "a", "1.0.0")
    with pytest.raises(Restoring, match="comes back") as refusal:
        manager.get_resource("datasets", "a", "1.0.0")
    assert 0 <= refusal.value.details["progress"] <= 1
    assert len(refusal.value.details["operation"]) == 32
    told = []
    handle = manager.get_resource("datasets", "a", "1.0.0", wait=True, on_progress=told.append)
    assert (handle.num_rows, handle.content_hash) == (5, two.content_hash)
    assert [event.verb for event in manager.history("datasets", "a")].count(Verb.RESTORE) == 1


def test_a_restore_that_nobody_waits_for_is_joined_by_the_next(manager, two):
    """One operation for all."""
    manager.archive_resource("datasets", "a", "1.0.0")
    with pytest.raises(Restoring):
        manager.restore_resource("datasets", "a", "1.0.0", wait=False)
    assert manager.restore_resource("datasets", "a", "1.0.0").state is State.REGISTERED
    assert manager.restore_resource("datasets", "a", "1.0.0", wait=False).state is State.REGISTERED
    assert [event.verb for event in manager.history("datasets", "a")].count(Verb.RESTORE) == 1


def test_the_state_before_comes_back(manager, two):
    """A deprecated version is deprecated again."""
    manager.deprecate_resource("datasets", "a", "1.0.0")
    manager.archive_resource("datasets", "a", "1.0.0")
    assert manager.restore_resource("datasets", "a", "1.0.0").state is State.DEPRECATED


def test_a_second_archive_with_the_same_request_id_changes_nothing(manager, two):
    """The first one's result."""
    first = manager.archive_resource("datasets", "a", "1.0.0", request_id="r1")
    assert manager.archive_resource("datasets", "a", "1.0.0", request_id="r1") == first


def test_the_active_version_is_not_archived(manager, two):
    """Its readers need it."""
    with pytest.raises(InvalidArgument, match="active"):
        manager.archive_resource("datasets", "a", "1.1.0")
    with pytest.raises(NotFound):
        manager.archive_resource("datasets", "a", "9.9.9")


def test_a_version_where_a_branch_begins_is_not_archived(manager, two):
    """The branch needs its files."""
    manager.branch_resource("datasets", "a", "exp", version="1.0.0")
    with pytest.raises(PolicyDenied, match="exp"):
        manager.archive_resource("datasets", "a", "1.0.0")
