"""Stages and gates, on both managers: promote, approve, reject, measure, alert."""

import threading

import pyarrow as pa
import pytest

from alluxio_lance.errors import InvalidArgument, NotFound, PolicyDenied
from alluxio_lance.governance import PromotionState, Verdict
from alluxio_lance.values import State, Verb

ACCURATE = """
[[gates]]
name = "accurate"
kind = "expectation"
on = ["* -> validation"]
require = ["metrics.accuracy >= 0.9"]
"""
APPROVED = """
[[gates]]
name = "four-eyes"
kind = "approval"
on = ["* -> validation"]
role = "admin"
allow_self = true
"""
AUTOMATIC = """
[[automations]]
name = "back"
on = "alert"
do = "rollback"
"""


@pytest.fixture
def two(manager):
    """A resource with two versions, the second one active."""
    manager.register_resource("datasets", "a", pa.table({"id": [1]}))
    return manager.update_resource("datasets", "a", pa.table({"id": [2]}))


def test_a_version_moves_along_the_edges_of_the_graph(manager, two):
    """It then holds the stage, which is a selector; production takes the pointer with it."""
    version = manager.promote_resource("datasets", "a", "1.0.0", to="validation", reason="looks good")
    assert (version.stage, version.state) == ("validation", State.REGISTERED)
    assert manager.find_version("datasets", "a", "validation") == version
    live = manager.promote_resource("datasets", "a", "1.0.0", to="production")
    assert (live.stage, live.state) == ("production", State.ACTIVE)
    assert manager.find_version("datasets", "a").semver == "1.0.0"
    (second, first) = manager.list_promotions("datasets", "a")
    assert (first.origin, first.to, first.reason, first.state) == (
        None,
        "validation",
        "looks good",
        PromotionState.DONE,
    )
    assert (second.origin, second.to, second.semver) == ("validation", "production", "1.0.0")
    assert [event.verb for event in manager.history("datasets", "a")][-2:] == [Verb.PROMOTE, Verb.PROMOTE]


@pytest.mark.parametrize("stage", ["production", "nowhere"])
def test_there_is_no_way_but_the_edges(manager, two, stage):
    """The sentence says which there are."""
    with pytest.raises(InvalidArgument, match="validation"):
        manager.promote_resource("datasets", "a", "1.0.0", to=stage)


def test_a_gate_blocks_with_its_report_until_what_it_asks_for_is_so(manager, two):
    """The report is in the error and is kept."""
    manager.set_rules(ACCURATE)
    manager.measure_resource("datasets", "a", "1.0.0", {"accuracy": 0.8, "loss": 1})
    with pytest.raises(PolicyDenied) as refusal:
        manager.promote_resource("datasets", "a", "1.0.0", to="validation")
    (result,) = refusal.value.details["report"]
    assert (result["gate"], result["verdict"]) == ("accurate", "failed")
    (denied,) = manager.list_promotions(state=PromotionState.DENIED)
    assert denied.id == refusal.value.details["promotion"]
    assert [(r.gate, r.kind, r.verdict) for r in denied.results] == [("accurate", "expectation", Verdict.FAILED)]
    assert manager.find_version("datasets", "a", "1.0.0").stage is None
    better = manager.measure_resource("datasets", "a", "1.0.0", {"accuracy": 0.95, "loss": None})
    assert better.metrics == {"accuracy": 0.95}
    assert manager.promote_resource("datasets", "a", "1.0.0", to="validation").stage == "validation"


def test_an_approval_completes_what_waits_for_it(manager, two):
    """Who does not wait is told that it waits; a rejection ends it."""
    manager.set_rules(APPROVED)
    with pytest.raises(PolicyDenied) as refusal:
        manager.promote_resource("datasets", "a", "1.0.0", to="validation")
    id = refusal.value.details["promotion"]
    assert [promotion.id for promotion in manager.list_promotions(state=PromotionState.WAITING)] == [id]
    assert manager.find_version("datasets", "a", "1.0.0").stage is None
    approved = manager.approve_promotion(id[:8], reason="fine")
    assert (approved.id, approved.state, approved.decisions[0].reason) == (id, PromotionState.DONE, "fine")
    assert approved.decisions[0].approved
    assert manager.find_version("datasets", "a", "1.0.0").stage == "validation"
    with pytest.raises(PolicyDenied) as refusal:
        manager.promote_resource("datasets", "a", "1.1.0", to="validation")
    rejected = manager.reject_promotion(refusal.value.details["promotion"], reason="no")
    assert rejected.state is PromotionState.DENIED
    assert manager.list_promotions(state=PromotionState.WAITING) == []


def test_who_waits_is_told_and_gets_the_version_when_it_is_approved(manager, two):
    """From another thread, as from another desk; time runs out for who waits for nobody."""
    manager.set_rules(APPROVED)
    with pytest.raises(PolicyDenied):
        manager.promote_resource("datasets", "a", "1.1.0", to="validation", wait=True, timeout=0.05)
    for promotion in manager.list_promotions(state=PromotionState.WAITING):
        manager.reject_promotion(promotion.id)
    waiting = threading.Event()
    results = []

    def told(progress):
        if progress.step == "waiting for approval":
            waiting.set()

    def ask():
        results.append(manager.promote_resource("datasets", "a", "1.0.0", to="validation", wait=True, on_progress=told))

    thread = threading.Thread(target=ask)
    thread.start()
    assert waiting.wait(20)
    (promotion,) = manager.list_promotions(state=PromotionState.WAITING)
    manager.approve_promotion(promotion.id)
    thread.join(20)
    assert [version.stage for version in results] == ["validation"]


def test_an_alert_does_what_the_rules_say(manager, two):
    """And nothing without a rule, or when it is over."""
    alert = {"status": "firing", "alerts": [{"status": "firing", "labels": {"resource": "datasets/a"}}]}
    assert manager.alert(alert) == []
    manager.set_rules(AUTOMATIC)
    (event,) = manager.alert(alert)
    assert (event.verb, event.type, event.name, event.semver) == (Verb.ROLLBACK, "datasets", "a", "1.0.0")
    assert manager.find_version("datasets", "a").semver == "1.0.0"


def test_a_promotion_that_there_is_none_of_is_not_found(manager):
    """By either verb."""
    for verb in (manager.approve_promotion, manager.reject_promotion):
        with pytest.raises(NotFound):
            verb("0123456789abcdef")
