"""Stages: promotions with gates, approvals, what is displaced, and what happens when others move in between."""

import threading
from contextlib import suppress

import pyarrow as pa
import pytest

import alluxio_lance as al
from alluxio_lance.errors import (
    Conflict,
    InvalidArgument,
    NotActive,
    NotFound,
    PermissionDenied,
    PolicyDenied,
    Restoring,
    Unavailable,
)
from alluxio_lance.governance import ACTIVATION, Identity, PromotionState, Verdict
from alluxio_lance.lifecycle import promoting
from alluxio_lance.values import Outcome, State, Verb

APPROVAL = '[[gates]]\nname = "people"\non = ["* -> production"]\nkind = "approval"\n'
ACCURATE = (
    '[[gates]]\nname = "accurate"\non = ["* -> production"]\nkind = "expectation"\n'
    'require = ["metrics.accuracy >= 0.9", "metrics.accuracy >= current.metrics.accuracy - 0.01"]\n'
)
ON_ACTIVATION = (
    '[[gates]]\nname = "big"\non = ["activate"]\nkind = "expectation"\nrequire = ["version.num_rows >= 3"]\n'
)


@pytest.fixture
def manager(tmp_path):
    """Open a manager with a resource of two versions, the second one active."""
    with al.ResourceManager.embedded(tmp_path / "root") as opened:
        opened.register_resource("datasets", "a", pa.table({"x": [1, 2]}))
        opened.update_resource("datasets", "a", pa.table({"x": [3]}))
        yield opened


def person(manager, name, *roles):
    """Act as somebody else."""
    return manager.acting_as(Identity(actor=f"{name}@x", roles=roles, method="peer", origin="unix:pid=1"))


def promote(manager, version, to="production", **options):
    """Promote a version of the resource."""
    return manager.promote_resource("datasets", "a", version, to=to, **options)


def to_validation(manager, *versions):
    """Bring versions to where production is one step away."""
    for version in versions:
        promote(manager, version, "validation")


def stand(manager):
    """Return stage and state of each version."""
    return {v.semver: (v.stage, str(v.state)) for v in manager.list_versions("datasets", "a")}


def denied(manager, version, to="production", **options):
    """Promote, and expect to be refused."""
    with pytest.raises(PolicyDenied) as refused:
        promote(manager, version, to, **options)
    assert refused.value.exit_code == 3
    return refused.value


def test_promotion_moves_stage_and_pointer(manager):
    """A stage with activation takes the pointer along, in one audit row; one with one holder displaces who held it."""
    to_validation(manager, "1.0.0", "1.1.0")
    promote(manager, "1.1.0")
    moved = promote(manager, "1.0.0", reason="better")
    assert (moved.stage, moved.state) == ("production", State.ACTIVE)
    assert stand(manager) == {"1.1.0": ("archived", "registered"), "1.0.0": ("production", "active")}
    last = manager.history("datasets", "a")[-1]
    assert (last.verb, last.semver, last.message) == (Verb.PROMOTE, "1.0.0", "better")
    assert last.before.startswith("1.1.0+")
    assert last.after.startswith("1.0.0+")
    assert manager.find_version("datasets", "a", "production").semver == "1.0.0"


def test_displaced_without_a_place_to_go(manager):
    """Who is displaced has no stage afterwards, when the rules name none; many holders displace nobody."""
    manager.set_rules('[stages.experiment]\nto = ["one", "many"]\n[stages.one]\nholders = "one"\n[stages.many]\n')
    promote(manager, "1.0.0", "one")
    promote(manager, "1.1.0", "one")
    assert stand(manager) == {"1.1.0": ("one", "active"), "1.0.0": (None, "registered")}
    manager.set_rules('[stages.experiment]\nto = ["many"]\n[stages.one]\nto = ["many"]\n[stages.many]\n')
    promote(manager, "1.0.0", "many")
    promote(manager, "1.1.0", "many")
    assert {stage for stage, _ in stand(manager).values()} == {"many"}


def test_no_edge(manager):
    """A stage that does not follow is refused, and so is one that there is not."""
    with pytest.raises(InvalidArgument, match=r"from experiment a version may go to: validation"):
        promote(manager, "1.0.0")
    with pytest.raises(InvalidArgument, match="there is no stage 'nowhere'"):
        promote(manager, "1.0.0", "nowhere")
    with pytest.raises(InvalidArgument, match="timeout"):
        promote(manager, "1.0.0", timeout=-1)
    assert manager.list_promotions() == []


def test_a_gate_blocks_and_a_metric_opens_it(manager):
    """A gate that fails blocks with its report kept; when what it names is mended the next attempt passes."""
    manager.set_rules(ACCURATE)
    to_validation(manager, "1.0.0")
    error = denied(manager, "1.0.0")
    assert error.details["report"][0]["verdict"] == "error"
    manager.measure_resource("datasets", "a", "1.1.0", {"accuracy": 0.9})
    manager.measure_resource("datasets", "a", "1.0.0", {"accuracy": 0.8})
    error = denied(manager, "1.0.0")
    assert "metrics.accuracy >= 0.9 does not hold: metrics.accuracy = 0.8" in error.message
    kept = manager.list_promotions("datasets", "a", state=PromotionState.DENIED)
    assert kept[0].id == error.details["promotion"]
    assert kept[0].results[0].verdict is Verdict.FAILED
    refused = manager.catalog.events(outcome=Outcome.DENIED, type="datasets", name="a")
    assert (refused[-1].verb, refused[-1].semver) == (Verb.PROMOTE, "1.0.0")
    manager.measure_resource("datasets", "a", "1.0.0", {"accuracy": 1})
    assert promote(manager, "1.0.0").stage == "production"
    assert manager.list_promotions("datasets", "a")[0].state is PromotionState.DONE


def test_relative_to_who_would_be_displaced(manager):
    """`current` is the holder of the stage, else the active version."""
    manager.set_rules(ACCURATE)
    to_validation(manager, "1.0.0", "1.1.0")
    manager.measure_resource("datasets", "a", "1.1.0", {"accuracy": 0.99})
    manager.measure_resource("datasets", "a", "1.0.0", {"accuracy": 0.95})
    assert "current.metrics.accuracy = 0.99" in denied(manager, "1.0.0").message  # 1.1.0 is active
    promote(manager, "1.1.0")
    manager.update_resource("datasets", "a", pa.table({"x": [4]}))
    assert "current.metrics.accuracy = 0.99" in denied(manager, "1.0.0").message  # 1.1.0 holds production


def test_request_id(manager):
    """The same request again returns the first one's result, and moves nothing twice."""
    promote(manager, "1.0.0", "validation", request_id="r1")
    seen = manager.catalog.last_event()
    assert promote(manager, "1.0.0", "validation", request_id="r1").stage == "validation"
    assert manager.catalog.last_event() == seen


def test_promoting_to_where_one_is(manager):
    """Staying is recorded, asks no gate and changes nothing."""
    to_validation(manager, "1.1.0")
    promote(manager, "1.1.0")
    manager.set_rules(APPROVAL)
    before = stand(manager)
    assert promote(manager, "1.1.0").stage == "production"
    assert stand(manager) == before


def test_archived_versions_do_not_move(manager):
    """An archived version has to be restored first."""
    to_validation(manager, "1.0.0")
    manager.archive_resource("datasets", "a", "1.0.0")
    with pytest.raises(InvalidArgument, match="restore it first"):
        promote(manager, "1.0.0")


def test_branch_versions_are_never_active(manager):
    """A version on a branch may go to stages that do not activate."""
    made = manager.branch_resource("datasets", "a", "exp")
    assert promote(manager, made.semver, "validation").stage == "validation"
    with pytest.raises(InvalidArgument, match="merge it first"):
        promote(manager, made.semver)


# -- approvals --------------------------------------------------------------------------------------------------------


def test_approval(manager):
    """A promotion waits for somebody else with the role, and his word completes it."""
    manager.set_rules(APPROVAL)
    to_validation(manager, "1.0.0")
    error = denied(manager, "1.0.0", reason="go")
    id = error.details["promotion"]
    assert error.details["state"] == "waiting"
    with pytest.raises(PermissionDenied, match=r"asked for promotion .* himself"):
        manager.approve_promotion(id)
    with pytest.raises(PermissionDenied):
        person(manager, "vic", "viewer").approve_promotion(id)
    done = person(manager, "bob", "releaser").approve_promotion(id[:8], reason="fine")
    assert done.state is PromotionState.DONE
    assert [(each.by, each.approved, each.reason) for each in done.decisions] == [("bob@x", True, "fine")]
    assert stand(manager)["1.0.0"] == ("production", "active")
    assert [event.verb for event in manager.history("datasets", "a")[-2:]] == [Verb.APPROVE, Verb.PROMOTE]
    with pytest.raises(Conflict, match="does not wait any more: it is done"):
        person(manager, "eve", "releaser").approve_promotion(id)
    assert manager.catalog.open_operations() == []


def test_several_approvals(manager):
    """As many people as the gate asks for must agree; nobody counts twice."""
    manager.set_rules(APPROVAL + "approvals = 2\n")
    to_validation(manager, "1.0.0")
    id = denied(manager, "1.0.0").details["promotion"]
    bob, eve = person(manager, "bob", "releaser"), person(manager, "eve", "admin")
    for _ in range(2):
        assert bob.approve_promotion(id).state is PromotionState.WAITING
    waiting = manager.list_promotions()[0]
    assert waiting.results[0].details["approved_by"] == ["bob@x"]
    # Asked for again, it is the same one.
    assert denied(manager, "1.0.0").details["promotion"] == id
    assert eve.approve_promotion(id).state is PromotionState.DONE
    assert len(manager.list_promotions(state=PromotionState.WAITING)) == 0


def test_approvals_are_of_what_was_shown(manager):
    """When the metrics change after somebody has approved, he is asked again; what he says then counts."""
    manager.set_rules(APPROVAL + "approvals = 2\n")
    to_validation(manager, "1.0.0")
    manager.measure_resource("datasets", "a", "1.0.0", {"accuracy": 0.9})
    id = denied(manager, "1.0.0").details["promotion"]
    bob, eve = person(manager, "bob", "releaser"), person(manager, "eve", "releaser")
    bob.approve_promotion(id)
    manager.measure_resource("datasets", "a", "1.0.0", {"accuracy": 0.1})
    waiting = eve.approve_promotion(id)
    assert waiting.state is PromotionState.WAITING
    assert waiting.results[0].summary.startswith("0 of 2 approvals (before the metrics changed: bob@x, eve@x)")
    assert eve.approve_promotion(id).state is PromotionState.WAITING
    assert bob.approve_promotion(id).state is PromotionState.DONE
    assert [each.by for each in manager.list_promotions()[0].decisions] == ["bob@x", "eve@x", "eve@x", "bob@x"]


def test_nobody_approves_himself_under_another_name(manager):
    """The same user of another node, and the token that somebody made, are he himself; so he does not count twice."""
    manager.set_rules(APPROVAL + "approvals = 2\n")
    to_validation(manager, "1.0.0")
    maker = person(manager, "bob", "admin")
    maker.issue_token("ci", ["releaser"])

    def someone(actor):
        return manager.acting_as(Identity(actor=actor, roles=("releaser",), method="peer", origin="somewhere"))

    id = denied(maker, "1.0.0").details["promotion"]
    for other in ("bob@x", "bob@y", "token:ci"):
        with pytest.raises(PermissionDenied, match=r"asked for promotion .* himself"):
            someone(other).approve_promotion(id)
    maker.reject_promotion(id)
    id = denied(manager, "1.0.0").details["promotion"]
    for other in ("bob@x", "bob@y", "token:ci"):
        assert someone(other).approve_promotion(id).state is PromotionState.WAITING
    assert manager.list_promotions()[0].results[0].details["approved_by"] == ["bob@x"]
    assert someone("oidc:bob@x").approve_promotion(id).state is PromotionState.DONE


def test_request_ids_of_our_own_are_not_given_away(manager):
    """Who could take the request id of a promotion, a restore or an automation could block it for ever."""
    manager.set_rules(APPROVAL)
    to_validation(manager, "1.0.0")
    id = denied(manager, "1.0.0").details["promotion"]
    for taken in (f"promotion:{id}", "restore:x", "automation:x"):
        with pytest.raises(InvalidArgument, match="begins like those of this program"):
            person(manager, "dev", "developer").tag_resource("datasets", "a", "1.0.0", "t", request_id=taken)
    assert person(manager, "bob", "releaser").approve_promotion(id).state is PromotionState.DONE


def test_roles_of_approvals(manager):
    """Each gate asks for its own role; the requester himself may where the rule says so."""
    rules = "[roles.legal]\ninherits = ['releaser']\n" + APPROVAL.replace("people", "law") + "role = 'legal'\n"
    manager.set_rules(rules + APPROVAL + "allow_self = true\n")
    to_validation(manager, "1.0.0")
    id = denied(person(manager, "bob", "releaser"), "1.0.0").details["promotion"]
    assert person(manager, "bob", "releaser").approve_promotion(id).state is PromotionState.WAITING
    by_gate = {each.gate: each.verdict for each in manager.list_promotions()[0].results}
    assert by_gate == {"law": Verdict.WAITING, "people": Verdict.PASSED}
    assert person(manager, "liz", "legal").approve_promotion(id).state is PromotionState.DONE


def test_rejection(manager):
    """One no ends it; the version stays."""
    manager.set_rules(APPROVAL)
    to_validation(manager, "1.0.0")
    id = denied(manager, "1.0.0").details["promotion"]
    ended = person(manager, "bob", "releaser").reject_promotion(id, reason="too early")
    assert ended.state is PromotionState.DENIED
    assert ended.results[0].summary == "bob@x rejected it: too early"
    assert manager.history("datasets", "a")[-1].verb is Verb.REJECT
    assert stand(manager)["1.0.0"] == ("validation", "registered")
    with pytest.raises(Conflict, match="it is denied"):
        person(manager, "bob", "releaser").approve_promotion(id)


def test_only_who_may_approve_may_reject(manager):
    """The role counts for a no as well; who asked may take it back."""
    manager.set_rules("[roles.legal]\ninherits = ['releaser']\n" + APPROVAL + "role = 'legal'\n")
    to_validation(manager, "1.0.0")
    bob, eve = person(manager, "bob", "releaser"), person(manager, "eve", "releaser")
    id = denied(bob, "1.0.0").details["promotion"]
    for refused in (eve.reject_promotion, eve.approve_promotion):
        with pytest.raises(PermissionDenied, match="the role legal may"):
            refused(id)
    assert bob.reject_promotion(id).state is PromotionState.DENIED


def test_gates_are_asked_again_at_the_last_approval(manager):
    """What was in order when somebody asked need not be so when somebody approves."""
    manager.set_rules(ACCURATE + APPROVAL)
    to_validation(manager, "1.0.0")
    manager.measure_resource("datasets", "a", "1.1.0", {"accuracy": 0.9})
    manager.measure_resource("datasets", "a", "1.0.0", {"accuracy": 0.95})
    id = denied(manager, "1.0.0").details["promotion"]
    manager.measure_resource("datasets", "a", "1.0.0", {"accuracy": 0.5})
    ended = person(manager, "bob", "releaser").approve_promotion(id)
    assert ended.state is PromotionState.DENIED
    assert stand(manager)["1.0.0"] == ("validation", "registered")


MEANWHILE = {
    "moved": (lambda m: promote(m, "1.0.0", "experiment"), "holds stage experiment"),
    "archived": (lambda m: m.archive_resource("datasets", "a", "1.0.0"), "is archived and cannot go"),
    "deleted": (lambda m: m.delete_resource("datasets", "a", "1.0.0"), "no version"),
    "no such edge any more": (
        lambda m: m.set_rules(
            APPROVAL
            + '[stages.experiment]\nto=["validation", "production"]\n[stages.validation]\n[stages.production]\n'
        ),
        "no edge leads",
    ),
}


@pytest.mark.parametrize("what", MEANWHILE)
def test_meanwhile(manager, what):
    """A promotion whose version is no longer where it was ends as denied, with the reason."""
    happen, words = MEANWHILE[what]
    manager.set_rules(APPROVAL)
    to_validation(manager, "1.0.0")
    id = denied(manager, "1.0.0").details["promotion"]
    happen(manager)
    ended = person(manager, "bob", "releaser").approve_promotion(id)
    assert ended.state is PromotionState.DENIED
    assert words in ended.results[-1].summary


def test_wait(manager):
    """`wait` returns when somebody approves, and gives up when its time is over: then the promotion still waits."""
    manager.set_rules(APPROVAL)
    to_validation(manager, "1.0.0")
    told = []
    id = denied(manager, "1.0.0", wait=True, timeout=0.05, on_progress=told.append).details["promotion"]
    assert [told[0].step, told[-1].step] == ["asking gates", "waiting for approval"]
    got = []
    waiter = threading.Thread(target=lambda: got.append(promote(manager, "1.0.0", wait=True, timeout=60)))
    waiter.start()
    bob = person(manager, "bob", "releaser")
    while manager.list_promotions()[0].state is PromotionState.WAITING:
        with suppress(Conflict):  # the waiter judges it at this very moment, and asked later
            bob.approve_promotion(id)
    waiter.join()
    assert got[0].stage == "production"


def test_wait_is_told_of_a_no(manager):
    """Who waits hears a no."""
    manager.set_rules(APPROVAL)
    to_validation(manager, "1.0.0")
    id = denied(manager, "1.0.0").details["promotion"]
    heard, waits = [], threading.Event()

    def wait():
        def tell(progress):
            if progress.step == "waiting for approval":
                waits.set()

        try:
            promote(manager, "1.0.0", wait=True, timeout=60, on_progress=tell)
        except PolicyDenied as error:
            heard.append(error)

    waiter = threading.Thread(target=wait)
    waiter.start()
    assert waits.wait(60)
    person(manager, "bob", "releaser").reject_promotion(id)
    waiter.join()
    assert heard[0].details["state"] == "denied"


def test_review_of_what_has_ended(manager):
    """Asked for again at the moment at which somebody ends it, a promotion is as it ended."""
    manager.set_rules(APPROVAL)
    to_validation(manager, "1.0.0")
    id = denied(manager, "1.0.0").details["promotion"]
    waiting = manager.list_promotions()[0]
    ended = person(manager, "bob", "releaser").reject_promotion(id)
    assert manager._rooms.promoter.review(manager._identity, waiting) == ended


def test_wait_ends_with_the_manager(manager):
    """A manager that is closed lets nobody wait for ever."""
    manager.set_rules(APPROVAL)
    to_validation(manager, "1.0.0")
    id = denied(manager, "1.0.0").details["promotion"]
    manager._rooms.closed.set()
    with pytest.raises(Unavailable, match="closed"):
        manager._awaited(id, None, None)
    manager._rooms.closed.clear()


def test_waiter_completes_what_a_dead_process_left(manager):
    """The last approval was recorded, and its process died before the move: who waits completes it."""
    manager.set_rules(APPROVAL)
    to_validation(manager, "1.0.0")
    id = denied(manager, "1.0.0").details["promotion"]
    promoter, bob = manager._rooms.promoter, person(manager, "bob", "releaser")
    real, promoter._retry = promoter._retry, lambda *_: None
    assert bob.approve_promotion(id).state is PromotionState.WAITING
    promoter._retry = real
    assert manager._awaited(id, 60, None).stage == "production"


# -- activation -------------------------------------------------------------------------------------------------------


def test_gate_on_activation(manager):
    """A gate on activation guards the verb, updates, and promotions that take the pointer along; a rollback asks none."""
    manager.set_rules(ON_ACTIVATION)
    with pytest.raises(PolicyDenied, match="may not become active") as refused:
        manager.activate_resource("datasets", "a", "1.0.0")
    assert manager.list_promotions()[0].to == ACTIVATION
    assert refused.value.details["promotion"] == manager.list_promotions()[0].id
    to_validation(manager, "1.0.0")
    assert denied(manager, "1.0.0").details["report"][0]["gate"] == "big"
    assert manager.rollback_resource("datasets", "a", "1.0.0").state is State.ACTIVE
    assert manager.activate_resource("datasets", "a", "1.1.0").state is State.ACTIVE
    with pytest.raises(PolicyDenied, match=r"1.2.0"):
        manager.update_resource("datasets", "a", pa.table({"x": [1]}), mode="overwrite")
    assert stand(manager)["1.2.0"] == (None, "registered")
    assert manager.update_resource("datasets", "a", pa.table({"x": [1, 2, 3]})).state is State.ACTIVE


def test_rollback_is_no_way_around_the_gates(manager):
    """It goes only where the pointer was before, in this life of the resource and of the version."""
    manager.set_rules(ON_ACTIVATION.replace(">= 3", ">= 99"))
    manager.update_resource("datasets", "a", pa.table({"x": [7]}), activate=False)
    manager.deprecate_resource("datasets", "a", "1.2.0")
    with pytest.raises(InvalidArgument, match=r"1\.2\.0 was never active, and a rollback asks no gate: activate it"):
        manager.rollback_resource("datasets", "a", "1.2.0")
    assert manager.rollback_resource("datasets", "a", "1.0.0").state is State.ACTIVE
    assert manager.rollback_resource("datasets", "a", "1.1.0").state is State.ACTIVE
    manager.rollback_resource("datasets", "a", "1.0.0")
    for version in ("1.2.0", "1.1.0"):
        manager.delete_resource("datasets", "a", version)
        manager.purge_resource("datasets", "a", version)
    again = manager.update_resource("datasets", "a", pa.table({"x": [3]}), version="1.1.0", activate=False)
    with pytest.raises(InvalidArgument, match=r"1\.1\.0 was never active"):
        manager.rollback_resource("datasets", "a", again.semver)
    with pytest.raises(NotActive):
        manager.rollback_resource("datasets", "a")


def test_activation_is_no_promotion(manager):
    """Who may promote to every stage may not activate."""
    manager.set_rules('[roles.mover]\n[[roles.mover.grants]]\nverbs = ["promote"]\n')
    with pytest.raises(InvalidArgument, match="'active' is no stage"):
        promote(person(manager, "bob", "mover"), "1.0.0", ACTIVATION)
    assert stand(manager)["1.0.0"] == (None, "registered")


def test_gates_that_come_while_others_are_asked(manager, monkeypatch):
    """A gate that an admin puts up while a slow one is asked is asked too."""
    manager.set_rules(ON_ACTIVATION.replace(">= 3", ">= 1"))
    keeper = manager._rooms.promoter._gates
    judge = keeper.judge

    def slow(gates, case):
        results = judge(gates, case)
        if len(gates) == 1:
            manager.set_rules(ON_ACTIVATION.replace(">= 3", ">= 1") + ON_ACTIVATION.replace("big", "bigger"))
        return results

    monkeypatch.setattr(keeper, "judge", slow)
    with pytest.raises(PolicyDenied, match="gate bigger"):
        manager.activate_resource("datasets", "a", "1.0.0")


def test_labels_that_decide_are_for_those_who_decide(manager):
    """By a label nobody gets a grant or sheds a gate; other labels are free."""
    manager.set_rules(
        '[roles.vision]\n[[roles.vision.grants]]\nverbs = ["activate"]\nlabels = { team = "vision" }\n'
        + ON_ACTIVATION
        + 'labels = { tier = "gold" }\n'
    )
    manager.label_resource("datasets", "a", {"tier": "gold"})
    dev = person(manager, "dev", "developer", "vision")
    for labels in ({"team": "vision"}, {"tier": None, "free": "x"}):
        with pytest.raises(PermissionDenied, match="grants, gates or automations go by it"):
            dev.label_resource("datasets", "a", labels)
    refused = manager.catalog.events(outcome=Outcome.DENIED, type="datasets", name="a")
    assert [each.verb for each in refused] == [Verb.LABEL, Verb.LABEL]
    assert dict(dev.label_resource("datasets", "a", {"free": "x"}).labels) == {"tier": "gold", "free": "x"}
    with pytest.raises(PermissionDenied):
        dev.activate_resource("datasets", "a", "1.0.0")


def test_activation_by_approval(manager):
    """A version that waits for an approval becomes active with it; what is active already asks nobody."""
    manager.set_rules(APPROVAL.replace("* -> production", "activate"))
    with pytest.raises(PolicyDenied, match="must wait before it may become active") as refused:
        manager.activate_resource("datasets", "a", "1.0.0")
    done = person(manager, "bob", "releaser").approve_promotion(refused.value.details["promotion"])
    assert done.state is PromotionState.DONE
    assert stand(manager)["1.0.0"] == (None, "active")
    assert manager.history("datasets", "a")[-1].verb is Verb.ACTIVATE
    assert manager.activate_resource("datasets", "a", "1.0.0").state is State.ACTIVE


def test_activate_of_another_life(manager):
    """A version that was purged meanwhile is not taken for one that came later under its number."""
    found = manager.catalog.versions("datasets", "a")[0]
    from dataclasses import replace

    with pytest.raises(NotFound, match="deleted since"):
        manager._rooms.promoter.activate(manager._identity, replace(found, operation="0" * 32), "")


# -- rollback ---------------------------------------------------------------------------------------------------------


def test_rollback_takes_the_stage(manager):
    """After a bad promotion one command leads back, stage and pointer, and the history shows both."""
    to_validation(manager, "1.0.0", "1.1.0")
    promote(manager, "1.0.0")
    promote(manager, "1.1.0")
    back = manager.rollback_resource("datasets", "a")
    assert (back.semver, back.stage) == ("1.0.0", "production")
    assert stand(manager) == {"1.1.0": ("archived", "registered"), "1.0.0": ("production", "active")}
    assert [event.verb for event in manager.history("datasets", "a")[-2:]] == [Verb.PROMOTE, Verb.ROLLBACK]


def test_rollback_without_a_stage(manager):
    """Where the active version holds no such stage only the pointer moves; a branch is no way back."""
    assert manager.rollback_resource("datasets", "a").stage is None
    made = manager.branch_resource("datasets", "a", "exp")
    with pytest.raises(InvalidArgument, match="merge it first"):
        manager.rollback_resource("datasets", "a", made.semver)


# -- at once ----------------------------------------------------------------------------------------------------------


class Interfering:
    """The real catalog, with something done by somebody else right before a commit."""

    def __init__(self, catalog, happen, times=1):
        self._catalog = catalog
        self._happen = happen
        self._times = times

    def __getattr__(self, name):
        return getattr(self._catalog, name)

    def commit(self, operation, change, *, locked):
        if self._times and change.verb in (Verb.PROMOTE, Verb.ROLLBACK):
            self._times -= 1
            self._happen(self._times)
        return self._catalog.commit(operation, change, locked=locked)


def test_another_takes_the_stage_in_between(manager):
    """The one who comes second is judged anew, against the one who came first: never two in a stage for one."""
    manager.set_rules(ACCURATE)
    to_validation(manager, "1.0.0", "1.1.0")
    manager.measure_resource("datasets", "a", "1.0.0", {"accuracy": 0.92})
    manager.measure_resource("datasets", "a", "1.1.0", {"accuracy": 0.99})
    promoter = manager._rooms.promoter
    real = promoter._catalog
    manager.rollback_resource("datasets", "a", "1.0.0")

    def first(_):
        promoter._catalog = real
        promote(manager, "1.1.0")

    promoter._catalog = Interfering(real, first)
    error = denied(manager, "1.0.0")
    assert "current.metrics.accuracy = 0.99" in error.message
    assert stand(manager) == {"1.1.0": ("production", "active"), "1.0.0": ("validation", "registered")}


def test_the_version_itself_moves_in_between(manager):
    """Moved by somebody else while it was judged: denied, with the reason."""
    to_validation(manager, "1.0.0")
    promoter = manager._rooms.promoter
    real = promoter._catalog

    def first(_):
        promoter._catalog = real
        promote(manager, "1.0.0", "experiment")
        promoter._catalog = interfering

    interfering = promoter._catalog = Interfering(real, first)
    assert "1.0.0 holds stage experiment, and was to move from validation" in denied(manager, "1.0.0").message
    promoter._catalog = real
    assert stand(manager)["1.0.0"] == ("experiment", "registered")


def test_archived_in_between(manager):
    """Archived while it was judged: it does not move."""
    to_validation(manager, "1.0.0")
    promoter = manager._rooms.promoter
    real = promoter._catalog
    promoter._catalog = Interfering(real, lambda _: manager.archive_resource("datasets", "a", "1.0.0"))
    assert "restore it first" in denied(manager, "1.0.0", "experiment").message
    assert stand(manager)["1.0.0"] == ("validation", "archived")


def test_the_pointer_never_rests(manager):
    """When others move again and again it gives up with a conflict."""
    to_validation(manager, "1.0.0")
    promoter, pointer = manager._rooms.promoter, manager._rooms.pointer
    real = promoter._catalog
    flip = lambda left: manager.activate_resource("datasets", "a", f"1.{left % 2}.0")  # noqa: E731 - one line says it

    class Flipping(Interfering):
        def commit(self, operation, change, *, locked):
            promoter._catalog = pointer._catalog = real
            try:
                return super().commit(operation, change, locked=locked)
            finally:
                promoter._catalog = pointer._catalog = self

    promoter._catalog = pointer._catalog = Flipping(real, flip, times=99)
    with pytest.raises(Conflict, match=r"moved while 1.0.0 was judged"):
        promote(manager, "1.0.0")
    manager.catalog  # noqa: B018 - the resource still answers
    promoter._catalog = pointer._catalog = real


def test_many_at_once(manager):
    """Promotions of many threads to a stage for one leave exactly one holder, which is the active version."""
    for number in range(3):
        manager.update_resource("datasets", "a", pa.table({"x": [number]}))
    versions = [version.semver for version in manager.list_versions("datasets", "a")]
    to_validation(manager, *versions)
    faults = []

    def run(version):
        try:
            promote(manager, version)
        except Conflict as error:
            faults.append(error)

    threads = [threading.Thread(target=run, args=(version,)) for version in versions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    holders = [semver for semver, (stage, _) in stand(manager).items() if stage == "production"]
    active = [semver for semver, (_, state) in stand(manager).items() if state == "active"]
    assert len(holders) == 1
    assert holders == active
    assert faults == []


def test_approvals_at_once(manager):
    """Approvals of many people at the same moment are all counted, and the move takes place once."""
    manager.set_rules(APPROVAL + "approvals = 4\n")
    to_validation(manager, "1.0.0")
    id = denied(manager, "1.0.0").details["promotion"]
    threads = [
        threading.Thread(target=person(manager, name, "releaser").approve_promotion, args=(id,)) for name in "bcde"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done = manager.list_promotions()[0]
    assert done.state is PromotionState.DONE
    assert {each.by for each in done.decisions} == {"b@x", "c@x", "d@x", "e@x"}
    assert [event.verb for event in manager.history("datasets", "a")].count(Verb.PROMOTE) == 2


def test_another_process_judges_it_for_too_long(manager, monkeypatch):
    """Who cannot have a promotion for himself gives up after a while; it still waits."""
    manager.set_rules(APPROVAL)
    to_validation(manager, "1.0.0")
    id = denied(manager, "1.0.0").details["promotion"]
    waiting = manager.list_promotions()[0]
    monkeypatch.setattr(promoting, "_PATIENCE", 0.2)
    promoter = manager._rooms.promoter
    with promoter._alone(manager._identity, waiting):
        for attempt in (
            lambda: person(manager, "bob", "releaser").approve_promotion(id),
            lambda: promote(manager, "1.0.0"),
        ):
            with pytest.raises(Conflict, match="is being judged by process"):
                attempt()
    assert manager.catalog.open_operations() == []
    assert person(manager, "bob", "releaser").approve_promotion(id).state is PromotionState.DONE


def test_what_a_dead_process_works_on_is_taken_over(manager):
    """An operation that nobody works on any more keeps no promotion."""
    manager.set_rules(APPROVAL)
    to_validation(manager, "1.0.0")
    id = denied(manager, "1.0.0").details["promotion"]
    journal = manager._rooms.journal
    operation, _ = journal.begin(
        Verb.PROMOTE, "datasets", "a", identity=manager._identity, params={}, request_id=f"promotion:{id}"
    )
    journal._stop(operation.id)
    assert person(manager, "bob", "releaser").approve_promotion(id).state is PromotionState.DONE


def test_rollback_where_the_rules_changed(manager):
    """A stage that left the rules stays where it is; many holders of one that goes with the pointer displace nobody."""
    to_validation(manager, "1.0.0", "1.1.0")
    promote(manager, "1.1.0")
    manager.set_rules('[stages.experiment]\nto = ["validation"]\n[stages.validation]\n')
    manager.rollback_resource("datasets", "a")
    assert stand(manager) == {"1.1.0": ("production", "registered"), "1.0.0": ("validation", "active")}
    manager.activate_resource("datasets", "a", "1.1.0")
    manager.set_rules("[stages.experiment]\n[stages.production]\nactivate = true\n")
    manager.rollback_resource("datasets", "a")
    assert stand(manager) == {"1.1.0": (None, "registered"), "1.0.0": ("production", "active")}


def test_rollback_against_others(manager):
    """A rollback beside which others move looks again, and gives up when they never rest."""
    pointer = manager._rooms.pointer
    real = pointer._catalog

    class Flipping(Interfering):
        def commit(self, operation, change, *, locked):
            pointer._catalog = manager._rooms.promoter._catalog = real
            try:
                return super().commit(operation, change, locked=locked)
            finally:
                pointer._catalog = self

    def flip(left):
        manager.activate_resource("datasets", "a", f"1.{(left + 1) % 2}.0")

    pointer._catalog = Flipping(real, lambda _: flip(1), times=1)
    assert manager.rollback_resource("datasets", "a", "1.0.0").state is State.ACTIVE
    pointer._catalog = Flipping(real, flip, times=99)
    with pytest.raises(Conflict, match="move all the time"):
        manager.rollback_resource("datasets", "a", "1.0.0")
    pointer._catalog = real


def test_deprecating_the_active_version(manager):
    """The pointer goes away, and can be given back."""
    assert manager.deprecate_resource("datasets", "a", "1.1.0").state is State.DEPRECATED
    assert manager.activate_resource("datasets", "a", "1.1.0").state is State.ACTIVE


def test_activating_an_archived_version_brings_it_back(manager):
    """It is restored first, in the background; with the right to activate, and without the right nothing is begun."""
    manager.archive_resource("datasets", "a", "1.0.0")
    with pytest.raises(PermissionDenied):
        person(manager, "vic", "viewer").activate_resource("datasets", "a", "1.0.0")
    assert manager.find_version("datasets", "a", "1.0.0").state is State.ARCHIVED
    with pytest.raises(Restoring):
        manager.activate_resource("datasets", "a", "1.0.0")
    manager.restore_resource("datasets", "a", "1.0.0")
    assert manager.activate_resource("datasets", "a", "1.0.0").state is State.ACTIVE


def test_viewer_sees_only_what_he_may(manager):
    """Promotions are listed to who may read their resource."""
    to_validation(manager, "1.0.0")
    assert person(manager, "nobody").list_promotions() == []
    assert len(person(manager, "vic", "viewer").list_promotions()) == 1
