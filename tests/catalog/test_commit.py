"""Commits: all that one verb changes, at once or not at all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from alluxio_lance.errors import AlreadyExists, Conflict, InvalidArgument, NotFound
from alluxio_lance.lifecycle.ports import OperationState, StoredFile
from alluxio_lance.values import Kind, State, Verb

WHAT = ("datasets", "cifar10")


def test_a_first_version_makes_the_resource(catalog, clock, desk):
    """Register: resource, version, files, pointer, audit row, and the operation is done with its result."""
    draft = desk.draft("1.0.0")
    id = desk.begun(Verb.REGISTER)
    catalog.try_lock(*WHAT, id, 30)
    change = desk.change(Verb.REGISTER, location="datasets/cifar10.lance", draft=draft, activate="1.0.0")
    made = catalog.commit(id, change, locked=True)
    assert made == desk.find() == desk.find("1.0.0")
    assert (made.semver, made.version, made.state, made.location) == (
        "1.0.0",
        1,
        State.ACTIVE,
        "datasets/cifar10.lance",
    )
    assert (made.schema, made.num_rows, made.num_bytes) == (draft.snapshot.schema, 10, 1000)
    assert (made.metadata, made.provenance, made.message) == ({"k": [1, None]}, {"from": "test"}, "makes 1.0.0")
    assert (made.created_at, made.created_by, made.operation) == (clock.now, "ada@node-1", id)
    resource = catalog.resource(*WHAT)
    assert (resource.kind, resource.active, resource.versions) == (Kind.DATASET, made, 1)
    assert resource.created_at == resource.updated_at == clock.now
    (event,) = catalog.events()
    assert (event.sequence, event.at, event.verb, event.operation) == (1, clock.now, Verb.REGISTER, id)
    assert (event.before, event.after, event.semver, event.message) == (None, str(made), "1.0.0", "because")
    done = catalog.operation(id)
    assert (done.state, done.result, done.step) == (OperationState.DONE, "1.0.0", "begun")
    assert catalog.try_lock(*WHAT, "b" * 32, 30) is None


def test_models_are_models(catalog, desk):
    """The kind follows from the type."""
    desk.add("1.0.0", "resnet50", type="models")
    assert catalog.resource("models", "resnet50").kind is Kind.MODEL


def test_an_update_moves_the_pointer(catalog, clock, desk):
    """The new version is active, the old one registered again, and the audit row names both."""
    first = desk.add("1.0.0")
    clock.advance(5)
    second = desk.add("1.1.0")
    assert desk.states() == {"1.1.0": "active", "1.0.0": "registered"}
    assert catalog.events(after=1)[0].before == str(first)
    assert catalog.events(after=1)[0].after == str(second)
    resource = catalog.resource(*WHAT)
    assert (resource.versions, resource.updated_at) == (2, clock.now)


def test_a_version_that_is_not_activated_waits(catalog, desk):
    """Without activate the draft is registered and the pointer stays."""
    desk.add("1.0.0")
    assert desk.add("1.1.0", activate=False).state is State.REGISTERED
    assert desk.find().semver == "1.0.0"


def test_a_pointer_that_moved_meanwhile_stays(catalog, desk):
    """With a base that is no longer active the draft is committed as registered; with the right one it gets active."""
    desk.add("1.0.0")
    desk.add("1.1.0")
    desk.commit(desk.change(Verb.ROLLBACK, about="1.0.0", activate="1.0.0"))
    late = desk.commit(desk.change(draft=desk.draft("1.2.0"), activate="1.2.0", base="1.1.0"))
    assert (late.state, desk.find().semver) == (State.REGISTERED, "1.0.0")
    right = desk.commit(desk.change(draft=desk.draft("1.3.0"), activate="1.3.0", base="1.0.0"))
    assert (right.state, desk.find().semver) == (State.ACTIVE, "1.3.0")
    assert [event.after[:5] for event in catalog.events()] == ["1.0.0", "1.1.0", "1.0.0", "1.0.0", "1.3.0"]


def test_activating_the_active_version_changes_nothing(catalog, desk):
    """It is recorded, and that is all."""
    desk.add("1.0.0")
    again = desk.commit(desk.change(Verb.ACTIVATE, about="1.0.0", activate="1.0.0"))
    assert again == desk.find()
    assert [event.verb for event in catalog.events()] == [Verb.UPDATE, Verb.ACTIVATE]


def test_states_of_the_change_win_over_the_rule(catalog, desk):
    """The version active before gets the state that the change gives it."""
    desk.add("1.0.0")
    desk.commit(desk.change(draft=desk.draft("2.0.0"), activate="2.0.0", states={"1.0.0": State.DEPRECATED}))
    assert desk.states() == {"2.0.0": "active", "1.0.0": "deprecated"}


def test_the_pointer_goes_away(catalog, desk):
    """Deprecating the active version leaves the resource without one; a bare deactivate makes it registered."""
    desk.add("1.0.0")
    gone = desk.commit(desk.change(Verb.DEPRECATE, about="1.0.0", states={"1.0.0": State.DEPRECATED}, deactivate=True))
    assert (gone.state, catalog.resource(*WHAT).active) == (State.DEPRECATED, None)
    assert catalog.events()[-1].after is None
    desk.add("1.1.0")
    assert desk.commit(desk.change(Verb.DEPRECATE, deactivate=True)) is None
    assert desk.states() == {"1.1.0": "registered", "1.0.0": "deprecated"}
    desk.commit(desk.change(Verb.DEPRECATE, deactivate=True))
    assert catalog.resource(*WHAT).active is None


def test_a_pointer_never_stands_on_a_version_that_is_not_active(catalog, desk):
    """Deprecate, planned for a registered version that was activated a moment ago, takes the pointer along."""
    desk.add("1.0.0")
    desk.commit(desk.change(Verb.DEPRECATE, about="1.0.0", states={"1.0.0": State.DEPRECATED}))
    assert catalog.resource(*WHAT).active is None


def test_a_taken_version_changes_nothing(catalog, desk):
    """A semantic version or Lance version that exists: AlreadyExists, nothing written, the lock still held."""
    desk.add("1.0.0")
    id = desk.begun()
    catalog.try_lock(*WHAT, id, 30)
    with pytest.raises(AlreadyExists, match=r"version 1.0.0 \(Lance version 2\) cannot be added"):
        catalog.commit(id, desk.change(draft=desk.draft("1.0.0", files=9)), locked=True)
    draft = desk.draft("1.1.0")
    same_number = replace(draft, snapshot=replace(draft.snapshot, version=1))
    with pytest.raises(AlreadyExists, match=r"1.0.0 \(Lance version 1\) has its number"):
        catalog.commit(id, desk.change(draft=same_number), locked=True)
    assert desk.states() == {"1.0.0": "active"}
    assert len(catalog.known_files(*WHAT)) == 2
    assert catalog.last_event() == 1
    assert catalog.try_lock(*WHAT, "b" * 32, 30) == id


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"states": {"9.0.0": State.DEPRECATED}}, "no version 9.0.0: see `alluxio-lance show datasets/cifar10`"),
        ({"activate": "9.0.0"}, "no version 9.0.0 to activate"),
        ({"about": "9.0.0"}, "no version 9.0.0"),
    ],
)
def test_a_change_of_a_version_that_is_not_there_changes_nothing(catalog, desk, change, message):
    """A wrong name anywhere in a change undoes all of it."""
    desk.add("1.0.0")
    before = catalog.resource(*WHAT)
    with pytest.raises(NotFound, match=message):
        desk.commit(desk.change(**{"draft": None, **change}))
    assert catalog.resource(*WHAT) == before
    assert catalog.last_event() == 1


def test_only_a_version_of_the_main_line_in_the_hot_tier_can_be_active(catalog, desk):
    """A move of the pointer that was planned a moment too long ago is refused: nothing is changed."""
    for semver in ("1.0.0", "1.1.0", "1.2.0"):
        desk.add(semver)
    desk.branch("exp", "1.2.0")
    desk.delete("1.0.0")
    desk.archive("1.1.0")
    before = catalog.last_event()
    for semver, why in (("1.0.0", "is deleted"), ("1.1.0", "is archived"), ("1.2.0-exp.1", "lies on a branch")):
        with pytest.raises(Conflict, match=why):
            desk.commit(desk.change(activate=semver))
    assert (desk.find().semver, catalog.last_event()) == ("1.2.0", before)


def test_a_change_needs_its_resource(catalog, desk):
    """Without a location an unknown resource is not made."""
    with pytest.raises(NotFound, match="there is no datasets/cifar10"):
        desk.commit(desk.change(draft=desk.draft("1.0.0")))
    assert catalog.resources() == []


@pytest.mark.parametrize(
    ("change", "draft", "message"),
    [
        ({"message": "a\0b"}, {}, "the message has a character"),
        ({"actor": "x" * 501}, {}, "the actor has 501 characters"),
        ({"location": "x" * 501}, {}, "the location has 501"),
        ({}, {"metadata": {"loss": float("inf")}}, "metadata is no JSON"),
        ({}, {"provenance": {"when": object()}}, "provenance is no JSON"),
        ({"about": "1.0", "draft": None}, {}, "'1.0' is no semantic version"),
    ],
)
def test_what_cannot_be_kept_is_refused(catalog, desk, change, draft, message):
    """Texts and values that some database would lose are wrong arguments on all, and nothing is written."""
    given = {"location": "datasets/cifar10.lance", "draft": desk.draft("1.0.0", **draft), **change}
    with pytest.raises(InvalidArgument, match=message):
        desk.commit(desk.change(**given))
    assert catalog.resources() == []


def test_an_operation_commits_once(catalog, desk):
    """The second commit, by a process that was believed to be dead, is refused, and so is one of an undone operation."""
    id = desk.begun()
    change = desk.change(location="datasets/cifar10.lance", draft=desk.draft("1.0.0"), activate="1.0.0")
    catalog.commit(id, change, locked=False)
    with pytest.raises(Conflict, match="is done already"):
        catalog.commit(id, desk.change(draft=desk.draft("1.1.0")), locked=False)
    assert desk.states() == {"1.0.0": "active"}


def test_files_are_remembered(catalog, desk):
    """Known files stay, new ones are added, one whose hash was computed anew is replaced; in any number."""
    desk.add("1.0.0", files=3)
    draft = desk.draft("1.1.0", files=1200)
    changed = StoredFile(path="data/1.lance", size=99, hash="f" * 64)
    files = tuple(changed if file.path == changed.path else file for file in draft.snapshot.files)
    desk.commit(desk.change(draft=replace(draft, snapshot=replace(draft.snapshot, files=files))))
    known = catalog.known_files(*WHAT)
    assert len(known) == 1200
    assert known["data/1.lance"] == changed
    assert known["data/2.lance"] == StoredFile(path="data/2.lance", size=2, hash=f"{2:064x}")
    assert catalog.known_files("datasets", "unknown") == {}


def test_removing_leaves_the_audit_rows_only(catalog, desk):
    """Resource, versions, files and pointer are gone; history stays, and the name is free."""
    first = desk.add("1.0.0")
    desk.add("1.0.0", "mnist")
    assert desk.commit(desk.change(Verb.DELETE, remove=True)) is None
    assert catalog.resource(*WHAT) is None
    assert catalog.location(*WHAT) is None
    assert catalog.known_files(*WHAT) == {}
    assert len(catalog.known_files("datasets", "mnist")) == 2
    last = catalog.events(name="cifar10")[-1]
    assert (last.verb, last.before, last.after, last.semver) == (Verb.DELETE, str(first), None, None)
    again = desk.add("1.0.0")
    assert (again.state, catalog.resource(*WHAT).versions) == (State.ACTIVE, 1)


def test_a_hidden_resource_can_still_be_removed(catalog, desk):
    """The second half of a deletion finds what the first half hid."""
    desk.add("1.0.0")
    desk.hide()
    desk.commit(desk.change(Verb.DELETE, remove=True))
    assert catalog.location(*WHAT) is None
