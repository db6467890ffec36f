"""Values of governing as protobuf messages."""

from __future__ import annotations

from alluxio_lance.codes import ACTIONS, PROMOTION_STATES, VERDICTS
from alluxio_lance.governance import Decision, GateResult, Promotion, Rules, Token
from alluxio_lance.sidecar.services.wire import moment, timestamp
from alluxio_lance.structs import to_struct
from alluxio_lance.upkeep import Planned, PolicyPlan
from alluxio_lance.v1 import governance_pb2 as pb
from alluxio_lance.values import Finding

__all__ = ["finding", "plan", "promotion", "rules", "token"]


def promotion(value: Promotion) -> pb.Promotion:
    """Write a promotion."""
    return pb.Promotion(
        id=value.id,
        type=value.type,
        name=value.name,
        semver=value.semver,
        origin=value.origin,
        to=value.to,
        reason=value.reason,
        requested_by=value.requested_by,
        state=PROMOTION_STATES.number(value.state),
        results=[_result(result) for result in value.results],
        decisions=[_decision(decision) for decision in value.decisions],
        created_at=timestamp(value.created_at),
        decided_at=moment(value.decided_at),
    )


def _result(value: GateResult) -> pb.GateResult:
    return pb.GateResult(
        gate=value.gate,
        kind=value.kind,
        verdict=VERDICTS.number(value.verdict),
        summary=value.summary,
        details=to_struct("details", value.details),
        seconds=value.seconds,
    )


def _decision(value: Decision) -> pb.Decision:
    return pb.Decision(by=value.by, at=timestamp(value.at), approved=value.approved, reason=value.reason)


def rules(value: Rules) -> pb.Rules:
    """Write rules."""
    return pb.Rules(
        text=value.text, revision=value.revision, changed_at=moment(value.changed_at), changed_by=value.changed_by
    )


def token(value: Token) -> pb.Token:
    """Write a token's record."""
    return pb.Token(
        id=value.id,
        name=value.name,
        roles=value.roles,
        created_by=value.created_by,
        created_at=timestamp(value.created_at),
        expires_at=moment(value.expires_at),
        revoked_at=moment(value.revoked_at),
        used_at=moment(value.used_at),
    )


def plan(value: PolicyPlan) -> pb.PolicyPlan:
    """Write what the policies would do, or did."""
    return pb.PolicyPlan(at=timestamp(value.at), rows=[_planned(row) for row in value.rows], outcome=value.outcome)


def _planned(value: Planned) -> pb.Planned:
    return pb.Planned(
        action=ACTIONS.number(value.action),
        type=value.type,
        name=value.name,
        semver=value.semver,
        policy=value.policy,
        reason=value.reason,
        frees_hot=value.frees_hot,
        frees_cold=value.frees_cold,
        adds_cold=value.adds_cold,
        blocked=value.blocked,
        holders=[to_struct("holder", holder) for holder in value.holders],
    )


def finding(value: Finding) -> pb.Finding:
    """Write what was done about an operation."""
    return pb.Finding(
        operation=value.operation,
        verb=value.verb,
        type=value.type,
        name=value.name,
        outcome=value.outcome,
        reason=value.reason,
    )
