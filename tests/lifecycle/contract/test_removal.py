"""The end of a resource or version, on both managers: delete, undelete, purge."""

import pyarrow as pa
import pytest

from alluxio_lance.errors import AlreadyExists, InvalidArgument, NotFound, PolicyDenied
from alluxio_lance.values import State, Verb


def table(n):
    """Make n rows."""
    return pa.table({"id": pa.array(range(n), pa.int64())})


@pytest.fixture
def two(manager):
    """A resource with two versions, the second one active."""
    manager.register_resource("datasets", "a", table(1))
    return manager.update_resource("datasets", "a", table(1))


def test_a_deleted_resource_is_hidden_and_comes_back_whole(manager, two):
    """It is listed only among the deleted, its name is taken, and undelete takes it all back."""
    manager.delete_resource("datasets", "a", message="obsolete")
    for call in (
        lambda: manager.get_resource("datasets", "a"),
        lambda: manager.list_versions("datasets", "a"),
        lambda: manager.update_resource("datasets", "a", table(1)),
        lambda: manager.delete_resource("datasets", "a"),
    ):
        with pytest.raises(NotFound):
            call()
    assert manager.list_resources() == []
    (gone,) = manager.list_resources(deleted=True)
    assert (gone.name, gone.purge_at is None) == ("a", False)
    with pytest.raises(AlreadyExists, match="undelete"):
        manager.register_resource("datasets", "a", table(3))
    manager.undelete_resource("datasets", "a", message="needed")
    assert manager.get_resource("datasets", "a").info == two
    assert manager.list_resources(deleted=True) == []
    verbs = [event.verb for event in manager.history("datasets", "a")]
    assert verbs == [Verb.REGISTER, Verb.UPDATE, Verb.DELETE, Verb.UNDELETE]


def test_a_purged_resource_is_gone_and_its_name_is_free(manager, two):
    """Only the history remembers it."""
    manager.delete_resource("datasets", "a")
    manager.purge_resource("datasets", "a", message="for good")
    assert manager.list_resources(deleted=True) == []
    with pytest.raises(NotFound):
        manager.undelete_resource("datasets", "a")
    assert [event.verb for event in manager.history("datasets", "a")][-2:] == [Verb.DELETE, Verb.PURGE]
    again = manager.register_resource("datasets", "a", table(3))
    assert again.num_rows == 3
    assert again.operation != two.operation


def test_a_version_is_deleted_undeleted_and_purged_by_itself(manager, two):
    """The others stay as they are."""
    manager.delete_resource("datasets", "a", "1.0.0")
    with pytest.raises(NotFound):
        manager.get_resource("datasets", "a", "1.0.0")
    assert [version.semver for version in manager.list_versions("datasets", "a")] == ["1.1.0"]
    (gone,) = manager.list_versions("datasets", "a", deleted=True)
    assert (gone.semver, gone.state, gone.purge_at is None) == ("1.0.0", State.DELETED, False)
    manager.undelete_resource("datasets", "a", "1.0.0")
    assert manager.find_version("datasets", "a", "1.0.0").state is State.REGISTERED
    manager.delete_resource("datasets", "a", "1.0.0")
    manager.purge_resource("datasets", "a", "1.0.0")
    assert manager.list_versions("datasets", "a", deleted=True) == []
    assert manager.get_resource("datasets", "a").to_lance().count_rows() == 2


def test_only_what_was_deleted_is_purged_or_undeleted(manager, two):
    """A purge is no short cut."""
    for selector in (None, "1.0.0"):
        with pytest.raises(InvalidArgument):
            manager.purge_resource("datasets", "a", selector)
    with pytest.raises((InvalidArgument, NotFound)):
        manager.undelete_resource("datasets", "a", "1.0.0")
    assert len(manager.list_versions("datasets", "a")) == 2


def test_a_version_where_a_branch_begins_is_not_deleted(manager, two):
    """The branch needs its files."""
    manager.branch_resource("datasets", "a", "exp", version="1.0.0")
    with pytest.raises(PolicyDenied, match="exp"):
        manager.delete_resource("datasets", "a", "1.0.0")


def test_a_second_call_with_the_same_request_id_is_the_first(manager, two):
    """Each of the three verbs."""
    for _ in range(2):
        manager.delete_resource("datasets", "a", "1.0.0", request_id="r1")
    for _ in range(2):
        manager.undelete_resource("datasets", "a", "1.0.0", request_id="r2")
    manager.delete_resource("datasets", "a")
    for _ in range(2):
        manager.purge_resource("datasets", "a", request_id="r3")
    assert [event.verb for event in manager.history("datasets", "a")][2:] == [
        Verb.DELETE,
        Verb.UNDELETE,
        Verb.DELETE,
        Verb.PURGE,
    ]
