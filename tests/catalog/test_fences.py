"""Fences: from then on no reader begins, and nobody moves the pointer or a stage to the version."""

from __future__ import annotations

import pytest

from alluxio_lance.errors import Conflict, Leased, NotFound, Restoring
from alluxio_lance.values import State, Verb

WHAT = ("datasets", "cifar10")


@pytest.fixture
def shelf(desk):
    """Three versions, the last one active."""
    for semver in ("1.0.0", "1.1.0", "1.2.0"):
        desk.add(semver)
    return desk


def test_a_fenced_version_is_not_held(catalog, shelf):
    """Others of the same resource are; fencing again changes nothing, and more can be fenced."""
    archive = shelf.begun(Verb.ARCHIVE)
    catalog.fence(archive, *WHAT, ["1.0.0"])
    catalog.fence(archive, *WHAT, ["1.0.0", "1.1.0"])
    for semver in ("1.0.0", "1.1.0"):
        with pytest.raises(Restoring, match=f"{semver} is about to go to the cold tier") as caught:
            catalog.hold(shelf.holder(semver), 30)
        assert caught.value.details == {"progress": 0.0}
    assert catalog.holders(*WHAT) == []
    catalog.hold(shelf.holder("1.2.0"), 30)


def test_a_held_version_is_not_fenced(catalog, clock, shelf):
    """The refusal names the holder; of several versions none is fenced; when the lease has ended it works."""
    catalog.hold(shelf.holder("1.0.0"), 30)
    archive = shelf.begun(Verb.ARCHIVE)
    with pytest.raises(Leased, match=r"has held 1.0.0 for 0 s") as caught:
        catalog.fence(archive, *WHAT, ["1.1.0", "1.0.0"])
    assert [holder["semver"] for holder in caught.value.details["holders"]] == ["1.0.0"]
    catalog.hold(shelf.holder("1.1.0"), 30)
    catalog.fence(archive, *WHAT, [])
    clock.advance(30)
    catalog.fence(archive, *WHAT, ["1.0.0"])


@pytest.mark.parametrize("end", ["commit", "abandon", "unfence"])
def test_a_fence_ends_with_its_operation(catalog, shelf, end):
    """However it ends; the fences of others stay."""
    first, second = shelf.begun(Verb.ARCHIVE), shelf.begun(Verb.ARCHIVE)
    catalog.fence(first, *WHAT, ["1.0.0"])
    catalog.fence(second, *WHAT, ["1.1.0"])
    if end == "commit":
        catalog.commit(first, shelf.change(Verb.ARCHIVE), locked=False)
    elif end == "abandon":
        catalog.abandon(first, "the cold tier is full")
    else:
        catalog.unfence(first)
    catalog.hold(shelf.holder("1.0.0"), 30)
    with pytest.raises(Restoring):
        catalog.hold(shelf.holder("1.1.0"), 30)


def test_a_version_has_one_fence(catalog, shelf):
    """Another operation, one that has ended, and versions and resources that are not there are refused."""
    first, second = shelf.begun(Verb.ARCHIVE), shelf.begun(Verb.ARCHIVE)
    catalog.fence(first, *WHAT, ["1.0.0"])
    with pytest.raises(Conflict, match=f"1.0.0 is about to go, operation {first[:8]} works on it"):
        catalog.fence(second, *WHAT, ["1.1.0", "1.0.0"])
    catalog.hold(shelf.holder("1.1.0"), 30)
    with pytest.raises(NotFound, match=r"has no version 9.9.9"):
        catalog.fence(second, *WHAT, ["9.9.9"])
    with pytest.raises(NotFound, match="there is no datasets/zzz"):
        catalog.fence(second, "datasets", "zzz", ["1.0.0"])
    catalog.abandon(second, "gone")
    with pytest.raises(Conflict, match="is undone already"):
        catalog.fence(second, *WHAT, ["1.0.0"])


@pytest.mark.parametrize("change", [{"activate": "1.0.0"}, {"stages": {"1.0.0": "production"}}])
def test_nothing_is_moved_to_a_fenced_version(catalog, shelf, change):
    """It will be in the cold tier in a moment. Its own operation may, and a stage may be taken away from it."""
    archive = shelf.begun(Verb.ARCHIVE)
    catalog.fence(archive, *WHAT, ["1.0.0"])
    with pytest.raises(Conflict, match=f"1.0.0 is about to go, operation {archive[:8]}"):
        shelf.commit(shelf.change(**change))
    shelf.commit(shelf.change(stages={"1.0.0": None}))
    catalog.commit(archive, shelf.change(**change), locked=False)
    assert shelf.find().semver == change.get("activate", "1.2.0")


def test_a_fenced_version_is_not_deleted(catalog, shelf):
    """Whoever works on it has its rows half here, half there. Its own operation may, and others when that has ended."""
    archive = shelf.begun(Verb.ARCHIVE)
    catalog.fence(archive, *WHAT, ["1.0.0"])
    gone = shelf.change(Verb.DELETE, states={"1.0.0": State.DELETED})
    with pytest.raises(Conflict, match=f"1.0.0 is about to go, operation {archive[:8]}"):
        shelf.commit(gone)
    catalog.abandon(archive, "the cold tier is full")
    shelf.commit(gone)
    assert "1.0.0" not in shelf.states()


def test_a_fenced_version_that_is_removed_takes_its_fence_along(catalog, shelf):
    """The number may come again, without it."""
    purge = shelf.begun(Verb.PURGE)
    catalog.fence(purge, *WHAT, ["1.0.0"])
    catalog.commit(purge, shelf.change(Verb.PURGE, remove_versions=("1.0.0",)), locked=False)
    shelf.add("1.0.0")
    catalog.hold(shelf.holder("1.0.0"), 30)


def test_a_state_may_change_behind_a_fence(catalog, shelf):
    """A deprecation in the middle of an archive is what the version comes back to."""
    archive = shelf.begun(Verb.ARCHIVE)
    catalog.fence(archive, *WHAT, ["1.0.0"])
    shelf.commit(shelf.change(Verb.DEPRECATE, states={"1.0.0": State.DEPRECATED}))
    catalog.commit(archive, shelf.change(Verb.ARCHIVE, states={"1.0.0": State.ARCHIVED}), locked=False)
    shelf.commit(shelf.change(Verb.RESTORE, reinstate=("1.0.0",)))
    assert shelf.states()["1.0.0"] == "deprecated"
