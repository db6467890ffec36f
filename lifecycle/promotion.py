"""The record of a promotion: how it begins, what decisions and reports add to it, and how it ends."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Final

from alluxio_lance.errors import Conflict, PolicyDenied
from alluxio_lance.governance import ACTIVATION, Decision, GateResult, Identity, Promotion, PromotionState, Verdict
from alluxio_lance.lifecycle.gates import Case
from alluxio_lance.lifecycle.gates.case import metrics_mark
from alluxio_lance.lifecycle.gates.keeper import ending, sentence
from alluxio_lance.lifecycle.moving import Move
from alluxio_lance.lifecycle.rules.document import ApprovalGate
from alluxio_lance.values import Version

__all__ = ["asked", "case_of", "denied", "ended_already", "judged_by", "refusal", "with_decision"]

_STANDING: Final = "standing"
"""What stands for a gate in the report when a version is no longer where it was."""


def asked(version: Version, to: str, reason: str, requested_by: str, id: str | None = None) -> Promotion:
    """Begin one."""
    return Promotion(
        id=id or uuid.uuid4().hex,
        type=version.type,
        name=version.name,
        semver=version.semver,
        origin=version.stage,
        to=to,
        reason=reason,
        requested_by=requested_by,
        state=PromotionState.WAITING,
        results=(),
        created_at=datetime.now(UTC),
    )


def case_of(move: Move, promotion: Promotion) -> Case:
    """Describe the move to the gates, with the approvals that were given."""
    rejected = next((each.by for each in promotion.decisions if not each.approved), None)
    metrics = metrics_mark(move.version)
    counting = {each.gate for each in promotion.results if each.details.get("metrics", metrics) == metrics}
    given = _approvals(promotion)
    return Case(
        promotion=promotion.id,
        version=move.version,
        current=move.current,
        labels=move.labels,
        origin=move.origin,
        to=move.to,
        reason=promotion.reason,
        requested_by=promotion.requested_by,
        approvals={gate: by for gate, by in given.items() if gate in counting},
        outdated={gate: by for gate, by in given.items() if gate not in counting},
        rejected_by=rejected,
    )


def _approvals(promotion: Promotion) -> dict[str, tuple[str, ...]]:
    """Read who approved from the reports: there it stands for which gate somebody spoke."""
    return {each.gate: tuple(each.details.get("approved_by", ())) for each in promotion.results}


def judged_by(promotion: Promotion, results: tuple[GateResult, ...]) -> Promotion:
    """Add the reports of the gates, which say how it stands."""
    state = ending(results)
    decided = None if state is PromotionState.WAITING else datetime.now(UTC)
    return replace(promotion, results=results, state=state, decided_at=decided)


def denied(promotion: Promotion, reason: str) -> Promotion:
    """End a promotion without asking any gate."""
    moved = GateResult(gate=_STANDING, kind=_STANDING, verdict=Verdict.FAILED, summary=reason)
    results = (*promotion.results, moved)
    return replace(promotion, results=results, state=PromotionState.DENIED, decided_at=datetime.now(UTC))


def with_decision(
    promotion: Promotion,
    identity: Identity,
    gates: Mapping[str, ApprovalGate],
    reason: str,
    *,
    approved: bool,
    same: Callable[[str, str], bool],
) -> Promotion:
    """Add a decision, and to the reports of the gates that somebody speaks for, that he did.

    Whose yes counts at all of them already says it again in vain; where it does not any more, it counts anew.
    """
    by, now = identity.actor, datetime.now(UTC)
    known = _approvals(promotion)
    new = {name for name in gates if name in known and not any(same(by, each) for each in known[name])}
    if approved and not new:
        return promotion
    spoken = replace(
        promotion, decisions=(*promotion.decisions, Decision(by=by, at=now, approved=approved, reason=reason))
    )
    if not approved:
        words = f"{by} rejected it" + (f": {reason}" if reason else "")
        results = tuple(_rejected(each, words) for each in promotion.results)
        return replace(spoken, results=results, state=PromotionState.DENIED, decided_at=now)
    results = tuple(
        replace(each, details={**each.details, "approved_by": [*known[each.gate], by]}) if each.gate in new else each
        for each in promotion.results
    )
    return replace(spoken, results=results)


def _rejected(result: GateResult, words: str) -> GateResult:
    if result.verdict is not Verdict.WAITING:
        return result
    return replace(result, verdict=Verdict.FAILED, summary=words)


def ended_already(promotion: Promotion) -> Conflict:
    """Make the error of a decision that comes too late."""
    return Conflict(
        f"promotion {promotion.id[:8]} of {promotion.type}/{promotion.name} {promotion.semver} to {promotion.to} does not wait any more: it is {promotion.state}",
        promotion=promotion.id,
        state=str(promotion.state),
    )


def refusal(promotion: Promotion) -> PolicyDenied:
    """Make the error of a promotion that was denied, or waits, with the whole report."""
    goal = "become active" if promotion.to == ACTIVATION else f"move to {promotion.to}"
    word = "must wait before it may" if promotion.state is PromotionState.WAITING else "may not"
    return PolicyDenied(
        f"{promotion.type}/{promotion.name} {promotion.semver} {word} {goal}: {sentence(promotion.results)} "
        f"(promotion {promotion.id[:8]}; nothing was moved)",
        promotion=promotion.id,
        state=str(promotion.state),
        version=promotion.semver,
        report=[{**asdict(each), "verdict": str(each.verdict)} for each in promotion.results],
    )
