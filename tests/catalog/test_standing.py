"""How versions go: to the cold tier and back, deleted and back, and for good."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from alluxio_lance.errors import Conflict, Leased, NotFound, Restoring
from alluxio_lance.lifecycle.ports import Branch, ColdCopy, StoredFile
from alluxio_lance.values import State, Verb

WHAT = ("datasets", "cifar10")


@pytest.fixture
def shelf(desk):
    """Three versions, the last one active."""
    for semver in ("1.0.0", "1.1.0", "1.2.0"):
        desk.add(semver)
    return desk


def test_an_archived_version_says_so_and_comes_back_as_it_was(catalog, clock, shelf):
    """State, time and bytes in the cold tier; afterwards nothing of it is left."""
    shelf.commit(shelf.change(Verb.DEPRECATE, states={"1.0.0": State.DEPRECATED}))
    before = shelf.find("1.0.0")
    shelf.archive("1.0.0")
    archived = shelf.find("1.0.0")
    assert (archived.state, archived.archived_at, archived.cold_bytes) == (State.ARCHIVED, clock.now, 1000)
    assert catalog.cold_copies(*WHAT) == {"1.0.0": ColdCopy(location="cold/cifar10/1.0.0", num_bytes=1000)}
    assert catalog.resource(*WHAT).versions == 3
    shelf.commit(shelf.change(Verb.RESTORE, reinstate=("1.0.0",), cold={"1.0.0": None}))
    assert shelf.find("1.0.0") == before
    assert catalog.cold_copies(*WHAT) == {}


def test_what_is_archived_and_then_deleted_comes_back_step_by_step(catalog, clock, shelf):
    """Undelete leads back to archived, restore to what it was before."""
    shelf.archive("1.0.0")
    shelf.delete("1.0.0", seconds=60)
    assert catalog.cold_copies(*WHAT).keys() == {"1.0.0"}
    (deleted,) = catalog.versions(*WHAT, deleted=True)
    assert (deleted.state, deleted.purge_at) == (State.DELETED, clock.now + timedelta(seconds=60))
    back = []
    for _ in range(2):
        shelf.commit(shelf.change(Verb.UNDELETE, reinstate=("1.0.0",)))
        found = shelf.find("1.0.0")
        back.append((found.state, found.purge_at, found.archived_at is not None))
    assert back == [(State.ARCHIVED, None, True), (State.REGISTERED, None, False)]
    with pytest.raises(Conflict, match=r"1.0.0 is registered by now, neither archived nor deleted"):
        shelf.commit(shelf.change(Verb.UNDELETE, reinstate=("1.0.0",)))


def test_deleting_the_active_version_takes_the_pointer(catalog, shelf):
    """It comes back registered: another one may be active by then."""
    shelf.delete("1.2.0")
    assert catalog.resource(*WHAT).active is None
    shelf.commit(shelf.change(Verb.UNDELETE, reinstate=("1.2.0",)))
    assert shelf.states()["1.2.0"] == "registered"


@pytest.mark.parametrize("gone", [State.ARCHIVED, State.DELETED])
@pytest.mark.parametrize("to", [State.REGISTERED, State.DEPRECATED, State.ARCHIVED])
def test_no_plain_state_leads_back(shelf, gone, to):
    """A deprecation that was planned a moment too long ago would make a version of which the data are gone."""
    if gone is State.ARCHIVED:
        shelf.archive("1.0.0")
    else:
        shelf.delete("1.0.0")
    change = shelf.change(Verb.DEPRECATE, states={"1.0.0": to})
    if to is gone:
        shelf.commit(change)
    else:
        with pytest.raises(Conflict, match=f"is {gone} by now, and cannot become {to}"):
            shelf.commit(change)
    assert (shelf.states() | shelf.states(deleted=True))["1.0.0"] == gone


def test_deleting_again_moves_the_end(catalog, clock, shelf):
    """The count goes down once, the state to come back to stays."""
    shelf.delete("1.0.0", seconds=60)
    shelf.delete("1.1.0", seconds=60)
    shelf.commit(shelf.change(Verb.DELETE, states={"1.0.0": State.DELETED}, purge_at=clock.now))
    assert catalog.resource(*WHAT).versions == 1
    assert catalog.purgeable(clock.now) == [(*WHAT, "1.0.0")]
    shelf.commit(shelf.change(Verb.UNDELETE, reinstate=("1.0.0", "1.1.0")))
    assert (shelf.states()["1.0.0"], catalog.resource(*WHAT).versions) == ("registered", 3)


@pytest.mark.parametrize("state", [State.ARCHIVED, State.DELETED])
def test_what_is_held_neither_goes_nor_changes(catalog, shelf, state):
    """Only the versions that are named have to be free; with force nobody is asked."""
    reader = shelf.holder("1.0.0")
    catalog.hold(reader, 30)
    change = shelf.change(states={"1.0.0": state}, unheld=("1.0.0",))
    with pytest.raises(Leased, match=r"held 1.0.0 for 0 s"):
        shelf.commit(change)
    with pytest.raises(Leased):
        shelf.commit(replace(change, states={"1.1.0": state}, unheld=(), wholly_unheld=True))
    assert shelf.states()["1.0.0"] == "registered"
    shelf.commit(replace(change, states={"1.1.0": state}, unheld=("1.1.0",)))
    shelf.commit(replace(change, unheld=()))
    assert catalog.holders(*WHAT) == [reader]
    error = NotFound if state is State.DELETED else Restoring
    with pytest.raises(error, match=r"1.0.0 is gone or deleted|1.0.0 is in the cold tier"):
        catalog.hold(shelf.holder("1.0.0"), 30)


def test_a_deleted_resource_is_listed_among_the_deleted_and_comes_back(catalog, clock, shelf):
    """With all that it had: pointer, versions, labels."""
    shelf.add("1.0.0", "mnist")
    shelf.commit(shelf.change(Verb.LABEL, labels={"team": "vision"}))
    shelf.delete("1.0.0")
    before = catalog.resource(*WHAT)
    shelf.hide(seconds=60)
    assert catalog.resource(*WHAT) is None
    assert catalog.resource("datasets", "mnist", deleted=True) is None
    hidden = catalog.resource(*WHAT, deleted=True)
    assert (hidden.purge_at, hidden.active.semver) == (clock.now + timedelta(seconds=60), "1.2.0")
    assert [resource.name for resource in catalog.resources(deleted=True)] == ["cifar10"]
    assert [resource.name for resource in catalog.resources()] == ["mnist"]
    assert shelf.states(deleted=True).keys() == {"1.0.0", "1.1.0", "1.2.0"}
    assert shelf.find("1.1", deleted=True).semver == "1.1.0"
    assert shelf.find(deleted=True).semver == "1.2.0"
    shelf.commit(shelf.change(Verb.UNDELETE, unhide=True))
    assert replace(catalog.resource(*WHAT), updated_at=before.updated_at) == before
    assert catalog.resources(deleted=True) == []


def test_looking_among_the_deleted_finds_nothing_else(shelf):
    """A version that is not deleted is not found there, by whatever name."""
    shelf.delete("1.0.0")
    assert shelf.find("1.0", deleted=True).semver == shelf.find("v1", deleted=True).semver == "1.0.0"
    for selector in ("1.1.0", "1.1", "v2", "active", "sha-00000002", "nothing"):
        with pytest.raises(Exception, match="datasets/cifar10 has no "):
            shelf.find(selector, deleted=True)


@pytest.mark.parametrize(
    ("change", "allowed"),
    [
        ({"labels": {"a": "b"}}, False),
        ({"tags": {"a": "1.0.0"}}, False),
        ({"activate": "1.0.0"}, False),
        ({"states": {"1.0.0": State.ARCHIVED}, "cold": {"1.0.0": ColdCopy(location="c", num_bytes=1)}}, True),
        ({"remove_versions": ("1.0.0",)}, True),
        ({"unhide": True}, True),
        ({"remove": True}, True),
    ],
)
def test_a_deleted_resource_takes_only_what_ends_something(shelf, change, allowed):
    """What was past its point of no return when the deletion came goes on; nothing new begins."""
    shelf.hide()
    if allowed:
        shelf.commit(shelf.change(**change))
        return
    with pytest.raises(Conflict, match="undelete or purge it first"):
        shelf.commit(shelf.change(**change))


def test_what_is_due_is_purgeable(catalog, clock, shelf):
    """A resource as a whole, else its versions; nothing before its time, and nothing that came back."""
    shelf.add("1.0.0", "mnist")
    shelf.add("1.0.0", "audio")
    shelf.branch("exp")
    shelf.delete("1.0.0-exp.1", seconds=10)
    shelf.delete("1.0.0", seconds=20)
    shelf.delete("1.0.0", name="mnist", seconds=5)
    shelf.delete("1.0.0", name="audio", seconds=5)
    shelf.hide("mnist", seconds=30)
    shelf.commit(shelf.change(Verb.UNDELETE, "audio", reinstate=("1.0.0",)))
    due = {seconds: catalog.purgeable(clock.now + timedelta(seconds=seconds)) for seconds in (9, 10, 20, 30)}
    one, two, whole = (*WHAT, "1.0.0-exp.1"), (*WHAT, "1.0.0"), ("datasets", "mnist", None)
    assert due == {9: [], 10: [one], 20: [one, two], 30: [whole, one, two]}


def test_a_removed_version_leaves_nothing(catalog, clock, shelf):
    """Its tags, leases and cold copy are gone, the audit row stays; the count follows only what was listed."""
    shelf.commit(shelf.change(Verb.TAG, tags={"golden": "1.0.0"}))
    catalog.hold(shelf.holder("1.0.0"), 30)
    shelf.commit(shelf.change(Verb.DELETE, states={"1.0.0": State.DELETED}, purge_at=clock.now))
    assert shelf.commit(shelf.change(Verb.PURGE, about="1.0.0", remove_versions=("1.0.0",))) is None
    assert (catalog.holders(*WHAT), catalog.resource(*WHAT).versions) == ([], 2)
    assert catalog.events()[-1].semver == "1.0.0"
    with pytest.raises(NotFound, match=r"has no version 1.0.0"):
        shelf.commit(shelf.change(Verb.PURGE, remove_versions=("1.0.0",)))
    shelf.commit(shelf.change(remove_versions=("1.2.0",)))
    assert (catalog.resource(*WHAT).active, catalog.resource(*WHAT).versions) == (None, 1)


LISTED = [
    # What each version lists, by Lance version; then which are removed, and which files are known afterwards.
    ({"1.0.0": "ab", "1.1.0": "abc", "1.2.0": "bc"}, ["1.0.0"], "abc"),
    ({"1.0.0": "ab", "1.1.0": "abc", "1.2.0": "bc"}, ["1.0.0", "1.1.0"], "bc"),
    ({"1.0.0": "ab", "1.1.0": "abc", "1.2.0": "bc"}, ["1.2.0"], "abc"),
    ({"1.0.0": "a", "1.1.0": "b", "1.2.0": "a"}, ["1.1.0"], "a"),
    ({"1.0.0": "a", "1.1.0": "b", "1.2.0": "a"}, ["1.0.0"], "ab"),
    ({"1.0.0": "a", "1.1.0": "b", "1.2.0": "a"}, ["1.0.0", "1.2.0"], "b"),
    ({"1.0.0": "ab", "1.0.0-exp.1": "ab", "1.0.0-exp.2": "bx", "1.1.0": "c"}, ["1.0.0"], "abcx"),
    ({"1.0.0": "ab", "1.0.0-exp.1": "ab", "1.0.0-exp.2": "bx", "1.1.0": "c"}, ["1.0.0", "1.0.0-exp.1"], "bcx"),
    ({"1.0.0": "ab", "1.0.0-exp.1": "ab", "1.0.0-exp.2": "bx", "1.1.0": "c"}, ["1.0.0-exp.1", "1.0.0-exp.2"], "abc"),
    ({"1.0.0": "", "1.1.0": "a"}, ["1.1.0"], ""),
]


@pytest.mark.parametrize("last", ["", "n"])
@pytest.mark.parametrize(("lists", "removed", "left"), LISTED)
def test_files_are_forgotten_with_the_last_version_that_lists_them(catalog, clock, desk, lists, removed, left, last):
    """Lines of versions, with files that come, go and come again; and one more version afterwards changes nothing."""

    def commit(semver: str, names: str) -> None:
        draft = desk.draft(semver)
        files = tuple(StoredFile(path=name, size=1, hash="0" * 64) for name in names)
        draft = replace(draft, snapshot=replace(draft.snapshot, files=files))
        branch = None
        if semver.endswith("-exp.1"):
            branch = Branch(name="exp", base="1.0.0", created_at=clock.now, created_by="a")
        desk.commit(desk.change(location="l", draft=draft, branch=branch))

    for semver, names in lists.items():
        commit(semver, names)
    desk.commit(desk.change(Verb.PURGE, remove_versions=tuple(removed)))
    assert set(catalog.known_files(*WHAT)) == set(left)
    commit("3.0.0", last)
    desk.commit(desk.change(Verb.PURGE, remove_versions=("3.0.0",)))
    assert set(catalog.known_files(*WHAT)) == set(left)


def test_a_version_that_comes_in_late_lists_its_own_files_only(catalog, desk):
    """Lance numbers that do not grow, which nothing of ours makes, forget nothing that is still listed."""
    drafts = [desk.draft(semver) for semver in ("1.0.0", "1.1.0", "1.2.0")]
    for draft, number, names in zip(drafts, (5, 7, 6), ("ab", "bc", "ad"), strict=True):
        files = tuple(StoredFile(path=name, size=1, hash="0" * 64) for name in names)
        snapshot = replace(draft.snapshot, version=number, files=files)
        desk.commit(desk.change(location="l", draft=replace(draft, snapshot=snapshot)))
    desk.commit(desk.change(Verb.PURGE, remove_versions=("1.0.0",)))
    assert set(catalog.known_files(*WHAT)) >= set("abcd")
    desk.commit(desk.change(Verb.PURGE, remove_versions=("1.2.0",)))
    assert set(catalog.known_files(*WHAT)) == set("bc")


def test_reads_are_remembered_once_an_hour(catalog, clock, shelf):
    """A hold and a plain opening count alike; unknown versions are no error."""
    assert shelf.find().read_at is None
    first = clock.now
    catalog.hold(shelf.holder("1.2.0"), 30)
    assert shelf.find().read_at == first
    clock.advance(3599)
    catalog.note_read(*WHAT, "1.2.0")
    catalog.hold(shelf.holder("1.2.0"), 30)
    assert shelf.find().read_at == first
    clock.advance(1)
    catalog.note_read(*WHAT, "1.2.0")
    assert shelf.find().read_at == clock.now
    catalog.note_read(*WHAT, "9.9.9")
    catalog.note_read("datasets", "unknown", "1.0.0")
    assert [version.read_at for version in catalog.versions(*WHAT)][1:] == [None, None]


def test_the_last_change_of_a_kind_is_known(catalog, clock, shelf):
    """By verb and version, of this resource only."""
    shelf.add("1.0.0", "mnist")
    shelf.archive("1.0.0")
    clock.advance(5)
    shelf.commit(shelf.change(Verb.RESTORE, about="1.0.0", reinstate=("1.0.0",), cold={"1.0.0": None}))
    shelf.archive("1.0.0")
    assert catalog.last_change(*WHAT, "1.0.0", Verb.ARCHIVE) == clock.now
    assert catalog.last_change(*WHAT, "1.1.0", Verb.ARCHIVE) is None
    assert catalog.last_change("datasets", "mnist", "1.0.0", Verb.ARCHIVE) is None
