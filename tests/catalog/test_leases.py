"""Leases: who reads what, until when, and what a deletion says to that."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from alluxio_lance.errors import Conflict, Leased, NotFound
from alluxio_lance.values import Verb

WHAT = ("datasets", "cifar10")


def test_holders_are_listed_oldest_first_until_they_release(catalog, clock, desk):
    """Leases of all versions come back as recorded; released and unknown ones do not."""
    desk.add("1.0.0")
    desk.add("1.1.0")
    young = desk.holder("1.1.0")
    old = desk.holder("1.0.0", since=clock.now - timedelta(seconds=9))
    catalog.hold(young, 30)
    catalog.hold(old, 30)
    assert catalog.holders(*WHAT) == [old, young]
    catalog.release([young.id, "unknown"])
    assert catalog.holders(*WHAT) == [old]
    assert catalog.holders("datasets", "unknown") == []


def test_a_lease_lives_as_long_as_it_is_renewed(catalog, clock, desk):
    """Without renewal a lease ends; renewing many at once works, and unknown ids are ignored."""
    desk.add("1.0.0")
    kept, lost = desk.holder(), desk.holder()
    catalog.hold(kept, 30)
    catalog.hold(lost, 30)
    clock.advance(20)
    catalog.renew([kept.id, *(f"{n:032x}" for n in range(1100))], 30)
    clock.advance(10)
    assert catalog.holders(*WHAT) == [kept]
    catalog.renew([], 30)
    clock.advance(20)
    assert catalog.holders(*WHAT) == []


def test_holding_again_prolongs(catalog, clock, desk):
    """The same id twice is one lease with the later end."""
    desk.add("1.0.0")
    holder = desk.holder()
    catalog.hold(holder, 10)
    clock.advance(5)
    catalog.hold(holder, 10)
    clock.advance(9)
    assert catalog.holders(*WHAT) == [holder]


def test_what_cannot_be_kept_of_a_command_is_replaced(catalog, desk):
    """A command line with NUL, bytes that are no UTF-8 and endless arguments does not keep a reader out."""
    desk.add("1.0.0")
    catalog.hold(desk.holder(command="python\0train.py \udcff" + "x" * 5000), 30)
    (found,) = catalog.holders(*WHAT)
    assert found.command.startswith("python\ufffdtrain.py \ufffdxxx")
    assert len(found.command) == 2000


def test_what_is_gone_cannot_be_held(catalog, desk):
    """Unknown resources and versions, and those being deleted, are not found."""
    desk.add("1.0.0")
    with pytest.raises(NotFound, match="did you mean datasets/cifar10"):
        catalog.hold(desk.holder(name="cifar1O"), 30)
    with pytest.raises(NotFound, match=r"datasets/cifar10@9\.9\.9 is gone"):
        catalog.hold(desk.holder("9.9.9"), 30)
    desk.hide()
    with pytest.raises(NotFound, match="gone or deleted"):
        catalog.hold(desk.holder(), 30)


def test_a_held_resource_is_not_hidden(catalog, clock, desk):
    """The refusal names the holders to people and programs; when the last lease has ended the deletion goes on."""
    desk.add("1.0.0")
    desk.add("1.1.0")
    holder = desk.holder("1.0.0")
    catalog.hold(holder, 30)
    clock.advance(12)
    with pytest.raises(Leased) as caught:
        desk.hide()
    assert "process 4711 of grace on node-7 (python train.py), which has held 1.0.0 for 12 s" in caught.value.message
    assert caught.value.details["holders"] == [
        {
            "id": holder.id[:8],
            "semver": "1.0.0",
            "node": "node-7",
            "pid": 4711,
            "user": "grace",
            "command": "python train.py",
            "since": holder.since.isoformat(),
            "age": 12,
        }
    ]
    assert catalog.resource(*WHAT) is not None
    clock.advance(18)
    desk.hide()
    assert catalog.resource(*WHAT) is None


def test_a_refusal_names_a_few_of_many(catalog, desk):
    """The message stays readable with many readers; the details have all."""
    desk.add("1.0.0")
    for pid in range(8):
        catalog.hold(desk.holder(pid=pid, since=desk.clock.now + timedelta(seconds=pid)), 30)
    with pytest.raises(Leased, match=r"process 4 of .* 0 s; 3 more: end these") as caught:
        desk.hide()
    assert len(caught.value.details["holders"]) == 8


def test_a_hidden_resource_is_out_of_sight_but_its_table_is_known(catalog, desk):
    """Nothing that looks finds it, and its location is still there."""
    desk.add("1.0.0")
    desk.add("1.0.0", "mnist")
    desk.hide()
    assert catalog.resource(*WHAT) is None
    assert [resource.name for resource in catalog.resources()] == ["mnist"]
    assert catalog.location(*WHAT) == "datasets/cifar10.lance"
    for look in (desk.find, lambda: catalog.versions(*WHAT)):
        with pytest.raises(
            NotFound, match=r"no datasets/cifar10 any more, .* `alluxio-lance undelete datasets/cifar10`"
        ):
            look()
    with pytest.raises(Conflict, match="is deleted: undelete or purge it first"):
        desk.add("1.1.0")


def test_removing_takes_leases_along(catalog, clock, desk):
    """After a deletion nothing is left of old leases, and the same name begins anew."""
    desk.add("1.0.0")
    catalog.hold(desk.holder(), 30)
    clock.advance(31)
    desk.hide()
    desk.commit(desk.change(Verb.PURGE, remove=True))
    desk.add("1.0.0")
    clock.advance(-31)
    assert catalog.holders(*WHAT) == []
    holder = replace(desk.holder(), since=clock.now)
    catalog.hold(holder, 30)
    assert catalog.holders(*WHAT) == [holder]
