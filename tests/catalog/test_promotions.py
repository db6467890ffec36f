"""Stages and promotions: who holds what since when, and that of two decisions about one thing the second is refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from alluxio_lance.errors import Conflict, InvalidArgument, NotFound
from alluxio_lance.governance import ACTIVATION, Decision, GateResult, Promotion, PromotionState, Verdict
from alluxio_lance.values import State, Verb

WHAT = ("datasets", "cifar10")


@pytest.fixture
def shelf(desk):
    """Three versions, the last one active."""
    for semver in ("1.0.0", "1.1.0", "1.2.0"):
        desk.add(semver)
    return desk


def promotion(desk, **more: Any) -> Promotion:
    """Fill in the form."""
    given = {
        "id": "a" * 32,
        "type": "datasets",
        "name": "cifar10",
        "semver": "1.0.0",
        "origin": None,
        "to": "production",
        "reason": "it is good",
        "requested_by": "ada@node-1",
        "state": PromotionState.WAITING,
        "results": (
            GateResult(
                gate="accuracy",
                kind="expectation",
                verdict=Verdict.PASSED,
                summary="0.93 ≥ 0.92",
                details={"values": [0.93, None], "expression": "metrics.accuracy >= 0.92"},
                seconds=0.5,
            ),
        ),
        "created_at": desk.clock.now,
    }
    return Promotion(**{**given, **more})


def ended(found: Promotion, state: PromotionState = PromotionState.DONE) -> Promotion:
    """End a promotion by a person's word."""
    decision = Decision(by="grace@node-2", at=found.created_at, approved=state is PromotionState.DONE, reason="looked")
    return replace(found, state=state, decisions=(decision,), decided_at=found.created_at + timedelta(seconds=1))


def test_a_promotion_comes_back_as_it_was_written(catalog, desk):
    """With its reports and decisions, by its id and by eight of its digits; saved again it is replaced."""
    first = promotion(desk)
    catalog.save_promotion(first)
    assert catalog.promotion(first.id) == catalog.promotion("a" * 8) == first
    done = ended(first)
    catalog.save_promotion(done)
    catalog.save_promotion(done)
    assert catalog.promotion(first.id) == done
    assert catalog.promotions() == [done]


@pytest.mark.parametrize("state", [PromotionState.DONE, PromotionState.DENIED])
def test_a_promotion_that_ended_stays_as_it_is(catalog, desk, state):
    """Of two people who decide at once the second one is told, also within a commit, of which nothing is left."""
    desk.add("1.0.0")
    first = promotion(desk)
    catalog.save_promotion(ended(first, state))
    other = ended(first, PromotionState.DONE if state is PromotionState.DENIED else PromotionState.DENIED)
    with pytest.raises(Conflict, match=f"promotion aaaaaaaa of datasets/cifar10@1.0.0 to production is {state} by now"):
        catalog.save_promotion(other)
    with pytest.raises(Conflict, match="by now"):
        desk.commit(desk.change(Verb.PROMOTE, stages={"1.0.0": "production"}, promotion=replace(first, reason="x")))
    assert desk.find("1.0.0").stage is None
    assert catalog.promotion(first.id) == ended(first, state)


def test_promotions_are_listed_newest_first(catalog, clock, desk):
    """By resource and state, so many at most."""
    made = []
    for number, (name, state) in enumerate((("a", "waiting"), ("b", "waiting"), ("a", "done"))):
        clock.advance(1)
        made.append(promotion(desk, id=f"{number:032x}", name=name, state=PromotionState(state)))
        catalog.save_promotion(made[-1])
    first, second, third = made
    assert catalog.promotions() == [third, second, first]
    assert catalog.promotions("datasets", "a") == [third, first]
    assert catalog.promotions(state=PromotionState.WAITING) == [second, first]
    assert catalog.promotions("datasets", "a", state=PromotionState.WAITING, limit=5) == [first]
    assert catalog.promotions(limit=1) == [third]
    assert catalog.promotions("models") == []


@pytest.mark.parametrize(
    ("id", "error", "message"),
    [
        ("c" * 8, NotFound, "there is no promotion cccccccc"),
        ("a" * 8, InvalidArgument, "several promotions begin with aaaaaaaa: give more digits"),
        ("a" * 7, InvalidArgument, "at least its first eight hexadecimal digits"),
        ("a" * 33, InvalidArgument, "no id"),
        ("A" * 8, InvalidArgument, "no id"),
        ("", InvalidArgument, "no id"),
    ],
)
def test_an_id_that_names_no_promotion_or_several(catalog, desk, id, error, message):
    """What is wrong with it is said."""
    catalog.save_promotion(promotion(desk))
    catalog.save_promotion(promotion(desk, id="a" * 31 + "b"))
    with pytest.raises(error, match=message):
        catalog.promotion(id)


def test_a_report_of_anything_is_kept(catalog, desk):
    """A gate's details come from programs of other people: what is no JSON becomes text, and keeps nothing out."""
    details = {"nan": float("nan"), "bytes": b"x", "nul": "a\0b", 1: (True, None, 1.5, {"deep": {"set"}})}
    result = GateResult(gate="g", kind="command", verdict=Verdict.ERROR, summary="odd\udc80", details=details)
    catalog.save_promotion(promotion(desk, results=(result,)))
    (found,) = catalog.promotion("a" * 32).results
    assert found.details == {
        "nan": "nan",
        "bytes": "b'x'",
        "nul": "a\ufffdb",
        "1": [True, None, 1.5, {"deep": "{'set'}"}],
    }
    assert (found.summary, found.verdict) == ("odd\ufffd", Verdict.ERROR)


def test_a_promotion_and_its_move_are_one(catalog, shelf):
    """Stage, the stage of the one before, the pointer and the promotion change together."""
    shelf.commit(shelf.change(Verb.PROMOTE, stages={"1.2.0": "production"}))
    done = ended(promotion(shelf))
    made = shelf.commit(
        shelf.change(
            Verb.PROMOTE,
            about="1.0.0",
            stages={"1.0.0": "production", "1.2.0": "archived"},
            stage_holders={"production": ("1.2.0",)},
            activate="1.0.0",
            base="1.2.0",
            promotion=done,
        )
    )
    assert (made.stage, made.state) == ("production", State.ACTIVE)
    assert shelf.find("1.2.0").stage == "archived"
    assert shelf.find("production").semver == "1.0.0"
    assert catalog.promotion(done.id) == done


def test_of_two_promotions_to_one_place_the_second_has_to_look_again(catalog, shelf):
    """Both saw the same holder; whoever comes second would make two of them."""
    first, second = ended(promotion(shelf)), ended(promotion(shelf, id="b" * 32, semver="1.1.0"))
    given = {"stage_holders": {"production": ()}}
    shelf.commit(shelf.change(Verb.PROMOTE, stages={"1.0.0": "production"}, promotion=first, **given))
    with pytest.raises(Conflict, match=r"production of datasets/cifar10 is held by 1\.0\.0 by now"):
        shelf.commit(shelf.change(Verb.PROMOTE, stages={"1.1.0": "production"}, promotion=second, **given))
    assert catalog.promotions() == [first]


def test_a_version_that_left_its_stage_is_not_promoted_from_there(catalog, shelf):
    """Gates were asked about another edge; a promotion of the pointer is about none."""
    shelf.commit(shelf.change(Verb.PROMOTE, stages={"1.0.0": "validation"}))
    done = ended(promotion(shelf, origin="experiment"))
    change = shelf.change(Verb.PROMOTE, stages={"1.0.0": "production"}, promotion=done)
    with pytest.raises(Conflict, match="is in validation by now, and no longer in experiment"):
        shelf.commit(change)
    shelf.commit(replace(change, promotion=replace(done, origin="validation")))
    shelf.commit(shelf.change(activate="1.0.0", promotion=ended(promotion(shelf, id="c" * 32, to=ACTIVATION))))
    assert (shelf.find().semver, shelf.find().stage) == ("1.0.0", "production")


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ({"standing": {"1.0.0": (State.REGISTERED, None)}}, "1.0.0 has another state or stage by now"),
        ({"standing": {"1.0.0": (State.DEPRECATED, "validation")}}, "1.0.0 has another state or stage by now"),
        ({"standing": {"9.9.9": (State.ACTIVE, None)}}, "has no version 9.9.9"),
        ({"still_active": ("1.1.0",)}, "1.2.0 of datasets/cifar10 is active by now"),
        ({"still_active": ()}, "1.2.0 of datasets/cifar10 is active by now"),
        ({"stage_holders": {"validation": ()}}, "validation of datasets/cifar10 is held by 1.0.0 by now"),
        ({"stage_holders": {"production": ("1.0.0",)}}, "production of datasets/cifar10 is held by no version by now"),
    ],
)
def test_a_change_whose_premises_are_gone_changes_nothing(catalog, shelf, expected, message):
    """What gates judged must still be so; when it is, the change goes through."""
    shelf.commit(shelf.change(stages={"1.0.0": "validation"}))
    before = catalog.last_event()
    change = shelf.change(Verb.PROMOTE, tags={"golden": "1.0.0"}, **expected)
    with pytest.raises((Conflict, NotFound), match=message):
        shelf.commit(change)
    assert (catalog.last_event(), shelf.find("1.0.0").tags) == (before, ())
    so = {"standing": {"1.0.0": (State.REGISTERED, "validation"), "1.2.0": (State.ACTIVE, None)}}
    so |= {"still_active": ("1.2.0",), "stage_holders": {"validation": ("1.0.0",), "production": ()}}
    shelf.commit(shelf.change(Verb.PROMOTE, tags={"golden": "1.0.0"}, **so))
    shelf.commit(shelf.change(Verb.DEPRECATE, deactivate=True))
    shelf.commit(shelf.change(tags={"golden": None}, still_active=()))
    assert shelf.find("1.0.0").tags == ()


def test_of_several_holders_the_last_one_is_meant(catalog, clock, shelf):
    """By the order in which they took it, also when a clock stands or goes back; a deleted one does not count."""
    for semver in ("1.1.0", "1.0.0", "1.2.0"):
        shelf.commit(shelf.change(stages={semver: "validation"}))
    assert shelf.find("validation").semver == "1.2.0"
    clock.advance(-3600)
    shelf.commit(shelf.change(stages={"1.0.0": "validation"}))
    assert shelf.find("validation").semver == "1.0.0"
    shelf.delete("1.0.0")
    assert shelf.find("validation").semver == "1.2.0"
    shelf.archive("1.2.0")
    assert shelf.find("validation").state is State.ARCHIVED
    shelf.commit(shelf.change(stages={"1.2.0": None, "1.1.0": None}))
    with pytest.raises(NotFound, match="no stage, tag or branch named 'validation'"):
        shelf.find("validation")


def test_a_deleted_version_takes_no_stage(shelf):
    """But it may lose the one it has."""
    shelf.commit(shelf.change(stages={"1.0.0": "validation"}))
    shelf.delete("1.0.0")
    with pytest.raises(NotFound, match=r"1.0.0 is deleted: take that back with"):
        shelf.commit(shelf.change(stages={"1.0.0": "production"}))
    shelf.commit(shelf.change(stages={"1.0.0": None}))
    assert shelf.find("1.0.0", deleted=True).stage is None


def test_promotions_go_with_what_they_are_about(catalog, shelf):
    """A purge leaves the audit rows only: of a version its own, of a resource all."""
    about = {"a": ("cifar10", "1.0.0"), "b": ("cifar10", "1.1.0"), "c": ("mnist", "1.0.0")}
    for digit, (name, semver) in about.items():
        catalog.save_promotion(promotion(shelf, id=digit * 32, name=name, semver=semver))
    shelf.commit(shelf.change(Verb.PURGE, remove_versions=("1.0.0",)))
    assert {found.id[0] for found in catalog.promotions()} == {"b", "c"}
    shelf.commit(shelf.change(Verb.PURGE, remove=True))
    assert {found.id[0] for found in catalog.promotions()} == {"c"}
