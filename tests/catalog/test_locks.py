"""The commit lock: one holder, that expires, is renewed, stolen from the dead, and checked by every commit."""

from __future__ import annotations

import pytest

from alluxio_lance.errors import Conflict

A, B, C = "a" * 32, "b" * 32, "c" * 32
WHAT = ("datasets", "cifar10")


def test_one_operation_holds_the_lock(catalog):
    """The holder takes it again; others are told who holds it; other resources are free."""
    assert catalog.try_lock(*WHAT, A, 30) is None
    assert catalog.try_lock(*WHAT, A, 30) is None
    assert catalog.try_lock(*WHAT, B, 30) == A
    assert catalog.try_lock("datasets", "CIFAR10", B, 30) is None
    assert catalog.try_lock("models", "cifar10", B, 30) is None


def test_only_the_holder_gives_the_lock_free(catalog):
    """Unlocking somebody else's lock, or none, does nothing."""
    catalog.unlock(*WHAT, A)
    catalog.try_lock(*WHAT, A, 30)
    catalog.unlock(*WHAT, B)
    assert catalog.try_lock(*WHAT, B, 30) == A
    catalog.unlock(*WHAT, A)
    assert catalog.try_lock(*WHAT, B, 30) is None


def test_a_lock_expires(catalog, clock):
    """After its time it is free, and then the old holder has lost it."""
    catalog.try_lock(*WHAT, A, 30)
    clock.advance(29.9)
    assert catalog.try_lock(*WHAT, B, 30) == A
    clock.advance(0.1)
    assert catalog.try_lock(*WHAT, B, 30) is None
    assert catalog.try_lock(*WHAT, A, 30) == B


def test_a_heartbeat_renews_the_lock(catalog, clock, desk):
    """A lock lives as long as the heart beats, and only that of this operation."""
    mine, other = desk.begun(), desk.begun(name="other")
    catalog.try_lock(*WHAT, mine, 30)
    for _ in range(3):
        clock.advance(20)
        catalog.heartbeat(mine, 30)
        catalog.heartbeat(other, 30)
    assert catalog.try_lock(*WHAT, B, 30) == mine
    clock.advance(30)
    catalog.heartbeat(other, 30)
    assert catalog.try_lock(*WHAT, B, 30) is None


def test_a_lock_is_stolen_from_a_named_holder_only(catalog):
    """The dead holder's lock is taken over, but not when another one holds it by now."""
    catalog.try_lock(*WHAT, A, 30)
    assert catalog.try_lock(*WHAT, B, 30, steal_from=C) == A
    assert catalog.try_lock(*WHAT, B, 30, steal_from=A) is None
    assert catalog.try_lock(*WHAT, C, 30, steal_from=A) == B


def test_a_commit_without_its_lock_changes_nothing(catalog, clock, desk):
    """Stolen or never taken: Conflict, no version, no event, and the operation is still pending."""
    id = desk.begun()
    change = desk.change(location="datasets/cifar10.lance", draft=desk.draft("1.0.0"))
    with pytest.raises(Conflict, match=r"lost \(nobody holds it\)"):
        catalog.commit(id, change, locked=True)
    catalog.try_lock(*WHAT, id, 30)
    clock.advance(31)
    catalog.try_lock(*WHAT, B, 30)
    with pytest.raises(Conflict, match=r"lost \(operation bbbbbbbb holds it\)"):
        catalog.commit(id, change, locked=True)
    assert catalog.resource(*WHAT) is None
    assert catalog.location(*WHAT) is None
    assert catalog.last_event() == 0
    assert [operation.id for operation in catalog.open_operations()] == [id]


def test_an_expired_lock_that_nobody_took_still_counts(catalog, clock, desk):
    """A commit that comes late, but before anybody else, goes through and leaves no lock behind."""
    id = desk.begun()
    catalog.try_lock(*WHAT, id, 30)
    clock.advance(3600)
    change = desk.change(location="datasets/cifar10.lance", draft=desk.draft("1.0.0"))
    assert catalog.commit(id, change, locked=True).semver == "1.0.0"
    assert catalog.try_lock(*WHAT, B, 30) is None
