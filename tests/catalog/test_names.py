"""Names: tags, labels and branches, what they mean as selectors, and who may have them."""

from __future__ import annotations

import pytest

from alluxio_lance.errors import AlreadyExists, Conflict, InvalidArgument, NotFound
from alluxio_lance.lifecycle.ports import Branch
from alluxio_lance.values import Verb

WHAT = ("datasets", "cifar10")


@pytest.fixture
def shelf(desk):
    """Two versions of the main line, and the branch ``exp`` with two of its own."""
    desk.add("1.0.0", hash="aaaaaaaa")
    desk.add("1.1.0")
    desk.branch("exp", hash="aaaaaaaa")
    desk.commit(desk.change(draft=desk.draft("1.0.0-exp.2")))
    return desk


def tag(desk, semver: str | None, name: str = "golden", **more) -> None:
    """Give a version a tag, or take it away."""
    desk.commit(desk.change(Verb.TAG, tags={name: semver}, **more))


def test_a_tag_names_one_version_and_goes_where_it_is_told(catalog, shelf):
    """It is listed with its version and found by it; moving is said; the same once more is fine; it can go away."""
    tag(shelf, "1.0.0")
    tag(shelf, "1.0.0", "a-first")
    tag(shelf, "1.0.0")
    assert shelf.find("golden").semver == "1.0.0"
    assert shelf.find("1.0.0").tags == ("a-first", "golden")
    with pytest.raises(AlreadyExists, match=r"datasets/cifar10@1.0.0 has the tag 'golden'"):
        tag(shelf, "1.1.0")
    tag(shelf, "1.1.0", move_tags=True)
    assert catalog.resource(*WHAT).active.tags == ("golden",)
    assert {version.semver: version.tags for version in catalog.versions(*WHAT) if version.tags} == {
        "1.0.0": ("a-first",),
        "1.1.0": ("golden",),
    }
    tag(shelf, None)
    with pytest.raises(NotFound, match="no stage, tag or branch named 'golden'"):
        shelf.find("golden")
    with pytest.raises(NotFound, match="has no tag 'golden'"):
        tag(shelf, None)


def test_a_tag_belongs_to_one_resource(catalog, shelf):
    """Another resource has its own; in a list each version has those that are its own."""
    shelf.add("1.0.0", "mnist")
    tag(shelf, "1.1.0")
    shelf.commit(shelf.change(Verb.TAG, "mnist", tags={"golden": "1.0.0", "other": "1.0.0"}))
    assert shelf.find("golden", "mnist").name == "mnist"
    assert [resource.active.tags for resource in catalog.resources()] == [("golden",), ("golden", "other")]


def test_a_tag_of_a_deleted_version_is_hidden_and_free_to_take(catalog, shelf):
    """It comes back with the version, unless somebody took it meanwhile."""
    tag(shelf, "1.0.0")
    tag(shelf, "1.0.0", "kept")
    shelf.delete("1.0.0")
    with pytest.raises(NotFound, match="no stage, tag or branch"):
        shelf.find("golden")
    assert shelf.find("golden", deleted=True).semver == "1.0.0"
    tag(shelf, "1.1.0")
    shelf.commit(shelf.change(Verb.UNDELETE, reinstate=("1.0.0",)))
    assert (shelf.find("golden").semver, shelf.find("kept").semver) == ("1.1.0", "1.0.0")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"tags": {"x": "9.9.9"}}, NotFound, "has no version 9.9.9"),
        ({"tags": {"a,b": "1.0.0"}}, InvalidArgument, "has a comma in it"),
        ({"tags": {"x" * 101: "1.0.0"}}, InvalidArgument, "the tag has 101 characters"),
        ({"labels": {"x" * 101: "y"}}, InvalidArgument, "the label has 101 characters"),
        ({"labels": {"team": "\0"}}, InvalidArgument, "the label's value has a character"),
        ({"branch": "exp"}, AlreadyExists, "has a branch 'exp' already"),
        ({"remove_branch": "nope"}, NotFound, "has no branch 'nope'"),
        ({"metrics": {"1.0.0": {"loss": float("nan")}}}, InvalidArgument, "metrics is no JSON"),
        ({"metrics": {"9.9.9": {"loss": 1}}}, NotFound, "has no version 9.9.9"),
        ({"about": "1.0.0-exp.0"}, InvalidArgument, "no semantic version: give MAJOR"),
    ],
)
def test_a_name_that_cannot_be_given_changes_nothing(catalog, clock, shelf, change, error, message):
    """Whatever else is in the change."""
    before, events = catalog.versions(*WHAT), catalog.last_event()
    if isinstance(change.get("branch"), str):
        change = {"branch": Branch(name=change["branch"], base="1.0.0", created_at=clock.now, created_by="a")}
    with pytest.raises(error, match=message):
        shelf.commit(shelf.change(**{"tags": {"fine": "1.0.0"}, "labels": {"fine": "x"}, **change}))
    assert (catalog.versions(*WHAT), catalog.last_event()) == (before, events)
    assert catalog.resource(*WHAT).labels == {}


def test_labels_are_kept_and_searched_for(catalog, shelf):
    """All that are asked for must be there, with their values; None removes one."""
    shelf.add("1.0.0", "mnist")
    shelf.commit(shelf.change(Verb.LABEL, labels={"team": "vision", "tier": "gold"}))
    shelf.commit(shelf.change(Verb.LABEL, "mnist", labels={"team": "vision"}))

    def named(**wanted: str) -> list[str]:
        return [resource.name for resource in catalog.resources(labels=wanted)]

    assert (named(), named(team="vision"), named(team="vision", tier="gold")) == (
        ["cifar10", "mnist"],
        ["cifar10", "mnist"],
        ["cifar10"],
    )
    assert named(team="Vision") == []
    shelf.commit(shelf.change(Verb.LABEL, labels={"tier": None, "team": "audio", "never": None}))
    assert catalog.resource(*WHAT).labels == {"team": "audio"}
    assert [resource.labels for resource in catalog.resources()] == [{"team": "audio"}, {"team": "vision"}]
    with pytest.raises(InvalidArgument, match="a label has a character"):
        catalog.resources(labels={"a\0": "b"})


def test_a_branch_is_a_line_of_its_own(catalog, clock, shelf):
    """Its versions have long names, stand behind the main line, count, and share no numbers with it."""
    assert catalog.branches(*WHAT) == [Branch(name="exp", base="1.0.0", created_at=clock.now, created_by="ada@node-1")]
    assert (catalog.resource(*WHAT).branches, catalog.resource(*WHAT).versions) == (("exp",), 4)
    assert list(shelf.states()) == ["1.1.0", "1.0.0", "1.0.0-exp.2", "1.0.0-exp.1"]
    assert [v.semver for v in catalog.versions(*WHAT, branch="exp")] == ["1.0.0-exp.2", "1.0.0-exp.1"]
    assert [v.semver for v in catalog.versions(*WHAT, branch="")] == ["1.1.0", "1.0.0"]
    assert [resource.branches for resource in catalog.resources()] == [("exp",)]
    newest = shelf.find("exp")
    assert (newest.semver, newest.branch, newest.state) == ("1.0.0-exp.2", "exp", "registered")
    assert shelf.find("1.0.0-exp.1").version == 3
    assert catalog.events()[-1].semver == "1.0.0-exp.2"


@pytest.mark.parametrize(
    ("selector", "semver"),
    [("1.0", "1.0.0"), ("1", "1.1.0"), ("1.0.0", "1.0.0"), ("sha-aaaaaaaa", "1.0.0"), ("v1", "1.0.0")],
)
def test_a_selector_without_a_branch_means_the_main_line(shelf, selector, semver):
    """Numbers, Lance versions and the content that a branch began with."""
    assert shelf.find(selector).semver == semver


def test_lance_versions_of_a_branch_are_its_own(catalog, desk):
    """A branch may have the number that the main line has; ``@v2`` means that of the main line."""
    desk.add("1.0.0")
    desk.numbers = iter([2, 2, 2])
    desk.branch("exp")
    desk.add("1.1.0")
    assert [(v.semver, v.version) for v in catalog.versions(*WHAT)] == [
        ("1.1.0", 2),
        ("1.0.0", 1),
        ("1.0.0-exp.1", 2),
    ]
    assert desk.find("v2").semver == "1.1.0"
    with pytest.raises(AlreadyExists, match=r"1.1.0 \(Lance version 2\) has its number"):
        desk.add("1.2.0")


def test_a_version_needs_its_branch(shelf):
    """A branch that was removed meanwhile gets no new version."""
    with pytest.raises(NotFound, match="there is no branch 'nope' any more"):
        shelf.commit(shelf.change(draft=shelf.draft("1.0.0-nope.1")))


def test_a_branch_goes_with_its_versions(catalog, shelf):
    """One change removes both; the name is free again."""
    gone = ("1.0.0-exp.1", "1.0.0-exp.2")
    assert shelf.commit(shelf.change(Verb.UNBRANCH, remove_branch="exp", remove_versions=gone)) is None
    assert (catalog.branches(*WHAT), catalog.resource(*WHAT).versions) == ([], 2)
    with pytest.raises(NotFound):
        shelf.find("exp")
    shelf.branch("exp", "1.1.0")
    assert shelf.find("exp").semver == "1.1.0-exp.1"


def test_of_names_that_are_alike_the_tag_is_meant_then_the_stage(shelf):
    """A tag hides a stage, and a stage a branch."""
    assert shelf.find("exp").semver == "1.0.0-exp.2"
    shelf.commit(shelf.change(stages={"1.1.0": "exp"}))
    assert shelf.find("exp").semver == "1.1.0"
    tag(shelf, "1.0.0", "exp")
    assert shelf.find("exp").semver == "1.0.0"


def test_metrics_are_added_and_removed(catalog, shelf):
    """Each measurement adds to those before; None removes one."""
    shelf.commit(shelf.change(Verb.MEASURE, about="1.0.0", metrics={"1.0.0": {"accuracy": 0.9, "by": {"cat": [1]}}}))
    made = shelf.commit(shelf.change(Verb.MEASURE, about="1.0.0", metrics={"1.0.0": {"accuracy": 0.92, "loss": 0}}))
    assert made.metrics == {"accuracy": 0.92, "by": {"cat": [1]}, "loss": 0}
    shelf.commit(shelf.change(Verb.MEASURE, metrics={"1.0.0": {"by": None, "never": None}}))
    assert shelf.find("1.0.0").metrics == {"accuracy": 0.92, "loss": 0}
    assert shelf.find("1.1.0").metrics == {}


def test_one_change_may_do_all_of_it(catalog, shelf):
    """A draft is measured, tagged and staged in the transaction that brings it in."""
    draft = shelf.draft("2.0.0")
    made = shelf.commit(
        shelf.change(
            draft=draft,
            activate="2.0.0",
            tags={"golden": "2.0.0"},
            stages={"2.0.0": "production"},
            metrics={"2.0.0": {"accuracy": 1}},
            labels={"team": "vision"},
        )
    )
    assert (made.stage, made.tags, made.metrics, made.state) == ("production", ("golden",), {"accuracy": 1}, "active")
    assert catalog.resource(*WHAT).active == made == shelf.find("golden") == shelf.find("production")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("CIFAR", ["cifar10"]),
        ("makes 3.0.0", ["mnist"]),
        ("MAKES", ["cifar10", "mnist"]),
        ("äpfel", ["mnist"]),
        ("ÄPFEL", ["mnist"]),
        ("100%", ["mnist"]),
        ("10_", []),
        ("makes 9.9.9", []),
        ("", ["cifar10", "mnist"]),
    ],
)
def test_a_search_looks_into_names_and_messages(catalog, shelf, text, names):
    """In whichever case, of whichever script, as plain text; messages of deleted versions are not looked into."""
    shelf.add("3.0.0", "mnist")
    shelf.add("3.1.0", "mnist", message="Äpfel, 100% fresh")
    shelf.add("9.9.9", "mnist")
    shelf.delete("9.9.9", name="mnist")
    assert [resource.name for resource in catalog.resources(search=text)] == names
    assert [resource.name for resource in catalog.resources("datasets", search=text, limit=1)] == names[:1]


def test_what_can_be_nowhere_is_not_searched_for(catalog):
    """A text that no database keeps is a wrong argument."""
    with pytest.raises(InvalidArgument, match="the text to search for has a character"):
        catalog.resources(search="a\0b")


def test_an_archived_version_is_found_by_search_and_name(catalog, shelf):
    """The cold tier hides nothing."""
    tag(shelf, "1.0.0")
    shelf.archive("1.0.0")
    assert shelf.find("golden").state == "archived"
    assert [resource.name for resource in catalog.resources(search="makes 1.0.0")] == ["cifar10"]


def test_a_branch_version_is_never_active(shelf):
    """Also not at once with its draft."""
    with pytest.raises(Conflict, match="lies on a branch"):
        shelf.commit(shelf.change(draft=shelf.draft("1.0.0-exp.3"), activate="1.0.0-exp.3"))
    assert "1.0.0-exp.3" not in shelf.states()
