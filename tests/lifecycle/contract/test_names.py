"""Names, on both managers: tags, labels, branches."""

import pyarrow as pa
import pytest

from alluxio_lance.errors import AlreadyExists, InvalidArgument, NotFound
from alluxio_lance.values import State, Verb


def table(*values):
    """Make rows."""
    return pa.table({"id": pa.array(values, pa.int64())})


def ids(manager, selector=None):
    """Read the rows of a version."""
    return manager.get_resource("datasets", "a", selector).to_lance().to_table()["id"].to_pylist()


@pytest.fixture
def two(manager):
    """A resource with two versions, the second one active."""
    manager.register_resource("datasets", "a", table(1, 2))
    return manager.update_resource("datasets", "a", table(3))


def test_a_tag_is_a_selector_and_moves_only_when_told(manager, two):
    """Untag says which version had it."""
    assert manager.tag_resource("datasets", "a", "1.0.0", "golden").tags == ("golden",)
    assert manager.tag_resource("datasets", "a", "1.0.0", "best").tags == ("best", "golden")
    assert ids(manager, "golden") == [1, 2]
    with pytest.raises(AlreadyExists, match="golden"):
        manager.tag_resource("datasets", "a", "1.1.0", "golden")
    assert manager.tag_resource("datasets", "a", "1.1.0", "golden", move=True).semver == "1.1.0"
    assert ids(manager, "golden") == [1, 2, 3]
    assert manager.untag_resource("datasets", "a", "golden").semver == "1.1.0"
    with pytest.raises(NotFound):
        manager.get_resource("datasets", "a", "golden")
    with pytest.raises(NotFound):
        manager.untag_resource("datasets", "a", "golden")


@pytest.mark.parametrize("tag", ["v7", "1.0", "production", "", "a b"])
def test_what_is_no_tag_is_refused(manager, two, tag):
    """A version, a stage, nothing, a space."""
    with pytest.raises(InvalidArgument):
        manager.tag_resource("datasets", "a", "1.0.0", tag)


def test_labels_are_set_replaced_removed_and_searched_by(manager, two):
    """A label stays until it is removed."""
    assert manager.label_resource("datasets", "a", {"team": "vision", "tier": "1"}).labels == {
        "team": "vision",
        "tier": "1",
    }
    changed = manager.label_resource("datasets", "a", {"team": "audio", "tier": None})
    assert changed.labels == {"team": "audio"}
    manager.register_resource("datasets", "b", table(1))
    assert [r.name for r in manager.list_resources(labels={"team": "audio"})] == ["a"]
    assert manager.list_resources(labels={"team": "vision"}) == []


@pytest.mark.parametrize("labels", [{"team": 7}, {7: "team"}])
def test_labels_are_texts(manager, two, labels):
    """Nothing is changed."""
    with pytest.raises(InvalidArgument):
        manager.label_resource("datasets", "a", labels)
    assert manager.list_resources()[0].labels == {}


def test_a_branch_is_a_line_of_its_own_and_merges_back(manager, two):
    """Its versions are never active; the merge is the next version of the main line."""
    begun = manager.branch_resource("datasets", "a", "exp", version="1.0.0", message="try")
    assert (begun.semver, begun.branch, begun.state) == ("1.0.0-exp.1", "exp", State.REGISTERED)
    assert begun.uri == "alluxio://datasets/a@1.0.0-exp.1"
    second = manager.update_resource("datasets", "a", table(9), branch="exp")
    assert (second.semver, second.state) == ("1.0.0-exp.2", State.REGISTERED)
    assert ids(manager, "exp") == [1, 2, 9]
    assert ids(manager, "1.0.0-exp.1") == [1, 2]
    assert ids(manager) == [1, 2, 3]
    assert manager.list_resources()[0].branches == ("exp",)
    assert [v.semver for v in manager.list_versions("datasets", "a")] == [
        "1.1.0",
        "1.0.0",
        "1.0.0-exp.2",
        "1.0.0-exp.1",
    ]
    assert [v.semver for v in manager.list_versions("datasets", "a", branch="exp")] == ["1.0.0-exp.2", "1.0.0-exp.1"]
    assert [v.semver for v in manager.list_versions("datasets", "a", branch="")] == ["1.1.0", "1.0.0"]
    merged = manager.merge_resource("datasets", "a", "exp", bump="major", message="better")
    assert (merged.semver, merged.branch, merged.state) == ("2.0.0", "", State.ACTIVE)
    assert ids(manager) == [1, 2, 9]
    manager.unbranch_resource("datasets", "a", "exp", message="done")
    assert manager.list_resources()[0].branches == ()
    assert [v.semver for v in manager.list_versions("datasets", "a")] == ["2.0.0", "1.1.0", "1.0.0"]
    assert [event.verb for event in manager.history("datasets", "a")][-2:] == [Verb.MERGE, Verb.UNBRANCH]


def test_a_merge_may_leave_the_pointer_where_it_is(manager, two):
    """The new version waits for its activation."""
    manager.branch_resource("datasets", "a", "exp")
    merged = manager.merge_resource("datasets", "a", "exp", activate=False)
    assert merged.state is State.REGISTERED
    assert manager.find_version("datasets", "a").semver == "1.1.0"


def test_a_branch_that_there_is_none_of_is_not_found(manager, two):
    """By any verb; and a name is taken once."""
    for call in (
        lambda: manager.update_resource("datasets", "a", table(1), branch="none"),
        lambda: manager.merge_resource("datasets", "a", "none"),
        lambda: manager.unbranch_resource("datasets", "a", "none"),
    ):
        with pytest.raises(NotFound):
            call()
    manager.branch_resource("datasets", "a", "exp")
    with pytest.raises(AlreadyExists):
        manager.branch_resource("datasets", "a", "exp")
    with pytest.raises(InvalidArgument):
        manager.branch_resource("datasets", "a", "not a branch")
