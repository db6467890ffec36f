"""Finding: what each selector means, what lists show, and what the sentence says when there is nothing."""

from __future__ import annotations

import pytest

from alluxio_lance.errors import NotActive, NotFound
from alluxio_lance.values import State, Verb

WHAT = ("datasets", "cifar10")
SAME = "abcdef0123"


@pytest.fixture
def shelf(desk):
    """Eight versions: 1.10.0 is active, 1.11.0 archived, 2.0.0 deprecated, 3.0.0 deleted."""
    for semver in ("1.0.0", "1.2.0", "1.2.1", "1.9.0", "1.10.0", "1.11.0", "2.0.0", "3.0.0"):
        hash = {"1.2.0": SAME + "1", "1.10.0": SAME + "2", "1.11.0": SAME + "3", "3.0.0": "dead00000"}.get(semver)
        desk.add(semver, activate=semver == "1.10.0", hash=hash)
    desk.archive("1.11.0")
    desk.commit(desk.change(states={"2.0.0": State.DEPRECATED}))
    desk.delete("3.0.0")
    return desk


@pytest.mark.parametrize(
    ("selector", "semver"),
    [
        ("active", "1.10.0"),
        ("1", "1.10.0"),
        ("1.2", "1.2.1"),
        ("1.2.0", "1.2.0"),
        ("1.11.0", "1.11.0"),
        ("2", "2.0.0"),
        ("v1", "1.0.0"),
        ("v6", "1.11.0"),
        (f"sha-{SAME}", "1.10.0"),
        (f"sha-{SAME}1", "1.2.0"),
        (f"sha-{SAME}3", "1.11.0"),
        ("sha-00000001", "1.0.0"),
    ],
)
def test_a_selector_means_one_version(shelf, selector, semver):
    """Numbers compare as numbers, whole versions are found in any state, a hash prefers the active version."""
    assert shelf.find(selector).semver == semver


def test_of_versions_with_one_hash_the_newest_is_meant(catalog, shelf):
    """When the active version does not fit, the highest Lance version wins."""
    shelf.commit(shelf.change(activate="1.0.0"))
    assert shelf.find(f"sha-{SAME}").semver == "1.11.0"


@pytest.mark.parametrize(
    ("selector", "message"),
    [
        ("3.0.0", "has no version 3.0.0: see `alluxio-lance show datasets/cifar10`"),
        ("3", r"has no version 3\.\* that is in use"),
        ("1.11", r"has no version 1.11\.\* that is in use"),
        ("v8", "has no version v8"),
        ("v99", "has no version v99"),
        ("sha-dead00000", "has no version with the content hash sha-dead00000"),
        ("sha-99999999", "has no version with the content hash"),
        ("production", "has no stage, tag or branch named 'production': give a version"),
    ],
)
def test_what_is_not_there_is_said(shelf, selector, message):
    """Deleted, archived where it matters, and never known: NotFound with the next command."""
    with pytest.raises(NotFound, match=message):
        shelf.find(selector)


def test_without_an_active_version_the_sentence_names_the_command(catalog, desk, shelf):
    """NotActive proposes the highest version in use; only where there is none it has to stay vague."""
    shelf.commit(shelf.change(Verb.DEPRECATE, deactivate=True))
    with pytest.raises(NotActive, match=r"with `alluxio-lance activate datasets/cifar10 2\.0\.0`"):
        shelf.find()
    desk.add("1.0.0", "old", activate=False)
    desk.commit(desk.change(name="old", states={"1.0.0": State.ARCHIVED}))
    with pytest.raises(NotActive, match="with `alluxio-lance activate datasets/old VERSION`"):
        desk.find(name="old")


def test_an_unknown_name_proposes_similar_ones(catalog, desk):
    """The message has close names of the same type, and names are case sensitive."""
    desk.add("1.0.0", "cifar10")
    desk.add("1.0.0", "vision/mnist")
    desk.add("1.0.0", "cifar100", type="models")
    for wrong in ("CIFAR10", "cifar1"):
        with pytest.raises(NotFound) as caught:
            desk.find(name=wrong)
        assert caught.value.message.startswith(f"there is no datasets/{wrong}: ")
    assert caught.value.message.endswith("did you mean datasets/cifar10? See `alluxio-lance list`")
    assert caught.value.details == {"similar": ["datasets/cifar10"]}
    with pytest.raises(NotFound, match="there is no datasets/xyz: see `alluxio-lance list`"):
        catalog.versions("datasets", "xyz")


def test_lists_are_sorted(catalog, desk):
    """Resources by type and name in the order of code points, versions by their numbers, highest first."""
    for type, name in (("models", "b"), ("datasets", "b/a"), ("datasets", "b"), ("datasets", "B"), ("datasets", "a")):
        desk.add("1.9.0", name, type=type)
    names = [(resource.type, resource.name) for resource in catalog.resources()]
    assert names == [("datasets", "B"), ("datasets", "a"), ("datasets", "b"), ("datasets", "b/a"), ("models", "b")]
    assert [resource.name for resource in catalog.resources("models")] == ["b"]
    desk.add("1.10.0", "a")
    desk.add("1.2.0", "a", activate=False)
    assert [version.semver for version in catalog.versions("datasets", "a")] == ["1.10.0", "1.9.0", "1.2.0"]


def test_a_list_comes_in_pages(catalog, desk):
    """Pages follow upon each other without a gap, of one type or of all, whatever was deleted meanwhile."""
    for type, name in (("a", "x"), ("datasets", "B"), ("datasets", "a"), ("datasets", "b/a"), ("models", "a")):
        desk.add("1.0.0", name, type=type)
    everything = [(resource.type, resource.name) for resource in catalog.resources()]
    for type, wanted in ((None, everything), ("datasets", everything[1:4]), ("none", [])):
        found, after = [], None
        while page := catalog.resources(type, after=after, limit=2):
            assert len(page) <= 2
            found += [(resource.type, resource.name) for resource in page]
            after = found[-1]
        assert found == wanted
    assert catalog.resources(after=("datasets", "zzz"), limit=9) == catalog.resources("models")
    assert catalog.resources("datasets", after=("a", "zzz")) == catalog.resources("datasets")
    assert catalog.resources("datasets", after=("models", "")) == []


def test_a_list_has_the_active_version_in_full(catalog, desk):
    """resources() and resource() agree, also about a resource without an active version."""
    active = desk.add("1.0.0", "a")
    desk.add("1.0.0", "b", activate=False)
    first, second = catalog.resources()
    assert (first.active, second.active) == (active, None)
    assert [first, second] == [catalog.resource("datasets", "a"), catalog.resource("datasets", "b")]


def test_events_are_pages_of_one_growing_list(catalog, desk):
    """Sequences grow by one; after, type, name and limit choose."""
    assert (catalog.last_event(), catalog.events()) == (0, [])
    for semver in ("1.0.0", "1.1.0"):
        desk.add(semver, "a")
        desk.add(semver, "b")
        desk.add(semver, "a", type="models")
    assert [event.sequence for event in catalog.events()] == [1, 2, 3, 4, 5, 6]
    assert [event.sequence for event in catalog.events(after=2, limit=3)] == [3, 4, 5]
    assert [event.sequence for event in catalog.events(type="datasets", name="a")] == [1, 4]
    assert [event.sequence for event in catalog.events(type="models", after=3)] == [6]
    assert catalog.last_event() == 6


def test_a_deleted_version_is_listed_among_the_deleted_only(catalog, shelf):
    """What is listed is counted, and what is deleted is neither."""
    assert shelf.states(deleted=True) == {"3.0.0": "deleted"}
    assert "3.0.0" not in shelf.states()
    assert catalog.resource(*WHAT).versions == len(shelf.states()) == 7
