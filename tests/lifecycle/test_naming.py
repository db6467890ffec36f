"""Tags, labels and metrics: what may be called what, and what follows a tag."""

import lance
import pyarrow as pa
import pytest

import alluxio_lance as al
from alluxio_lance.errors import AlreadyExists, InvalidArgument, NotFound
from alluxio_lance.lifecycle.naming import check_branch_name, check_labels, check_metrics, check_tag_name
from alluxio_lance.values import Verb

ONE = pa.table({"id": [1]})


@pytest.fixture
def manager(tmp_path):
    """Give an embedded manager with one resource of two versions."""
    with al.ResourceManager.embedded(tmp_path / "root") as manager:
        manager.register_resource("datasets", "a", ONE)
        manager.update_resource("datasets", "a", ONE)
        yield manager


def lance_tags(manager):
    """Read the tags that plain Lance sees."""
    location = manager.find_version("datasets", "a").location
    return {tag: each["version"] for tag, each in lance.dataset(location).tags.list().items()}


@pytest.mark.parametrize("tag", ["golden", "Best.of_all-2026", "x", "v", "v7x", "main", "a" * 100])
def test_a_tag_is_a_word(tag):
    """Letters, digits, dots, dashes, after a letter."""
    check_tag_name(tag)


@pytest.mark.parametrize(
    "tag",
    [
        "",
        "1.0",
        "1.0.0",
        "1.0.0-exp.1",
        "active",
        "v7",
        "v0",
        "sha-",
        "sha-3fa9c1d2",
        "@golden",
        "a b",
        "ä",
        "-a",
        "a..b",
        "a.",
        "a.lock",
        "a" * 101,
    ],
)
def test_what_means_something_else_is_no_tag(tag):
    """Versions, hashes, the active version, and what Lance's tags cannot be called."""
    with pytest.raises(InvalidArgument, match="is no tag"):
        check_tag_name(tag)


@pytest.mark.parametrize("name", ["exp", "Exp-2", "a-", "a" * 63])
def test_a_branch_is_a_plain_word(name):
    """Letters, digits and dashes, after a letter."""
    check_branch_name(name)


@pytest.mark.parametrize("name", ["", "main", "active", "v7", "sha-3fa9c1d2", "a.b", "a_b", "1a", "@exp", "a" * 64])
def test_what_means_something_else_is_no_branch(name):
    """Lance's own main line among them."""
    with pytest.raises(InvalidArgument, match="is no name of a branch"):
        check_branch_name(name)


@pytest.mark.parametrize(
    ("labels", "fault"),
    [
        ({}, "no labels"),
        ({"": "x"}, "is no key"),
        ({"1a": "x"}, "is no key"),
        ({"a-": "x"}, "is no key"),
        ({7: "x"}, "is no key"),
        ({"a": ""}, "has the value"),
        ({"a": " x"}, "has the value"),
        ({"a": "x\ny"}, "has the value"),
        ({"a": 7}, "has the value"),
        ({"a": "x" * 201}, "has the value"),
    ],
)
def test_labels_are_lines_of_text(labels, fault):
    """Said with the grammar."""
    with pytest.raises(InvalidArgument, match=fault):
        check_labels(labels)


@pytest.mark.parametrize(
    ("metrics", "fault"),
    [({}, "no metrics"), ({" a": 1}, "is no name"), ({"a": float("nan")}, "no JSON"), ({"a": {1, 2}}, "no JSON")],
)
def test_metrics_are_json(metrics, fault):
    """The one that is not is named."""
    with pytest.raises(InvalidArgument, match=fault):
        check_metrics(metrics)


def test_metrics_come_back_as_json_would_give_them():
    """A tuple is a list; None, which removes one, stays."""
    assert check_metrics({"val/acc": 0.5, "shape": (1, 2), "old": None}) == {
        "val/acc": 0.5,
        "shape": [1, 2],
        "old": None,
    }


def test_a_tag_names_a_version_everywhere(manager):
    """In a selector, on the version, and for plain Lance; untagging takes it away from all three."""
    tagged = manager.tag_resource("datasets", "a", "1.0.0", "golden", message="the one")
    assert (tagged.semver, tagged.tags) == ("1.0.0", ("golden",))
    assert manager.get_resource("datasets", "a", "golden").semver == "1.0.0"
    assert lance_tags(manager)["golden"] == tagged.version
    assert manager.untag_resource("datasets", "a", "golden").tags == ()
    assert "golden" not in lance_tags(manager)
    with pytest.raises(NotFound):
        manager.get_resource("datasets", "a", "golden")
    told = [(event.verb, event.semver, event.message) for event in manager.history("datasets", "a")[-2:]]
    assert told == [(Verb.TAG, "1.0.0", "the one"), (Verb.UNTAG, "1.0.0", "")]


def test_a_tag_moves_only_when_asked(manager):
    """Else the version that has it keeps it, and the call says which that is."""
    manager.tag_resource("datasets", "a", "1.0.0", "golden")
    assert manager.tag_resource("datasets", "a", "1.0.0", "golden").tags == ("golden",)
    with pytest.raises(AlreadyExists, match=r"1\.0\.0"):
        manager.tag_resource("datasets", "a", "1.1.0", "golden")
    moved = manager.tag_resource("datasets", "a", "active", "golden", move=True)
    assert (moved.semver, moved.tags) == ("1.1.0", ("golden",))
    assert manager.find_version("datasets", "a", "1.0.0").tags == ()
    assert lance_tags(manager)["golden"] == moved.version


def test_a_tag_is_called_neither_like_a_stage_nor_like_a_branch(manager):
    """And a branch not like a stage, a tag or another branch: a selector means one thing."""
    manager.branch_resource("datasets", "a", "exp")
    manager.tag_resource("datasets", "a", "1.0.0", "golden")
    for tag, why in (("production", "is a stage"), ("exp", "is a branch")):
        with pytest.raises(InvalidArgument, match=why):
            manager.tag_resource("datasets", "a", "1.0.0", tag)
    with pytest.raises(InvalidArgument, match="is a stage"):
        manager.branch_resource("datasets", "a", "validation")
    for branch, why in (("golden", "is a tag"), ("exp", "has a branch 'exp' already")):
        with pytest.raises(AlreadyExists, match=why):
            manager.branch_resource("datasets", "a", branch)


def test_what_is_not_there_cannot_be_tagged_or_untagged(manager):
    """The tags that are there are named."""
    manager.tag_resource("datasets", "a", "1.0.0", "golden")
    with pytest.raises(NotFound, match="are: golden"):
        manager.untag_resource("datasets", "a", "silver")
    with pytest.raises(NotFound, match="9"):
        manager.tag_resource("datasets", "a", "9.0.0", "silver")
    with pytest.raises(NotFound):
        manager.tag_resource("datasets", "b", "1.0.0", "silver")
    with pytest.raises(NotFound, match="to label"):
        manager.label_resource("datasets", "b", {"team": "x"})


def test_a_repeated_request_names_once(manager):
    """The second call returns the first one's result, and the history has one row."""
    before = len(manager.history("datasets", "a"))
    for _ in range(2):
        assert manager.tag_resource("datasets", "a", "1.0.0", "golden", request_id="t").semver == "1.0.0"
        assert manager.label_resource("datasets", "a", {"team": "x"}, request_id="l").labels == {"team": "x"}
    assert len(manager.history("datasets", "a")) == before + 2


def test_labels_are_set_and_removed_one_by_one(manager):
    """None removes one; the others stay; a resource is found by them."""
    manager.label_resource("datasets", "a", {"team": "vision", "tier": "gold"})
    labelled = manager.label_resource("datasets", "a", {"tier": None, "cost/centre": "7"})
    assert labelled.labels == {"team": "vision", "cost/centre": "7"}
    assert [each.name for each in manager.list_resources(labels={"team": "vision"})] == ["a"]
    assert manager.list_resources(labels={"team": "vision", "tier": "gold"}) == []


def test_a_tag_of_an_archived_version_comes_back_to_lance_with_it(manager):
    """While it is archived only the catalog knows the tag: there is nothing to open."""
    manager.tag_resource("datasets", "a", "1.0.0", "golden")
    manager.archive_resource("datasets", "a", "1.0.0")
    assert "golden" not in lance_tags(manager)
    manager.tag_resource("datasets", "a", "1.0.0", "silver")
    assert manager.find_version("datasets", "a", "silver").semver == "1.0.0"
    assert set(lance_tags(manager)) == {"active", "1.1.0"}
    restored = manager.restore_resource("datasets", "a", "1.0.0")
    assert restored.tags == ("golden", "silver")
    assert {tag for tag, number in lance_tags(manager).items() if number == restored.version} == {
        "1.0.0",
        "golden",
        "silver",
    }
