"""Protobuf messages of the service Governance as values."""

from __future__ import annotations

from alluxio_lance.client.wire import moment
from alluxio_lance.codes import ACTIONS, PROMOTION_STATES, VERDICTS, read_verb
from alluxio_lance.governance import Decision, GateResult, Promotion, Rules, Token
from alluxio_lance.structs import from_struct
from alluxio_lance.upkeep import Planned, PolicyPlan
from alluxio_lance.v1 import governance_pb2 as pb
from alluxio_lance.values import Finding

__all__ = ["finding", "plan", "promotion", "rules", "token"]


def promotion(message: pb.Promotion) -> Promotion:
    """Read a promotion."""
    return Promotion(
        id=message.id,
        type=message.type,
        name=message.name,
        semver=message.semver,
        origin=message.origin if message.HasField("origin") else None,
        to=message.to,
        reason=message.reason,
        requested_by=message.requested_by,
        state=PROMOTION_STATES.value(message.state),
        results=tuple(_result(result) for result in message.results),
        decisions=tuple(_decision(decision) for decision in message.decisions),
        created_at=moment(message.created_at),
        decided_at=moment(message.decided_at) if message.HasField("decided_at") else None,
    )


def _result(message: pb.GateResult) -> GateResult:
    return GateResult(
        gate=message.gate,
        kind=message.kind,
        verdict=VERDICTS.value(message.verdict),
        summary=message.summary,
        details=from_struct(message.details),
        seconds=message.seconds,
    )


def _decision(message: pb.Decision) -> Decision:
    return Decision(by=message.by, at=moment(message.at), approved=message.approved, reason=message.reason)


def rules(message: pb.Rules) -> Rules:
    """Read rules."""
    return Rules(
        text=message.text,
        revision=message.revision,
        changed_at=moment(message.changed_at) if message.HasField("changed_at") else None,
        changed_by=message.changed_by,
    )


def token(message: pb.Token) -> Token:
    """Read a token's record."""
    return Token(
        id=message.id,
        name=message.name,
        roles=tuple(message.roles),
        created_by=message.created_by,
        created_at=moment(message.created_at),
        expires_at=moment(message.expires_at) if message.HasField("expires_at") else None,
        revoked_at=moment(message.revoked_at) if message.HasField("revoked_at") else None,
        used_at=moment(message.used_at) if message.HasField("used_at") else None,
    )


def plan(message: pb.PolicyPlan) -> PolicyPlan:
    """Read what the policies would do, or did."""
    return PolicyPlan(
        at=moment(message.at), rows=tuple(_planned(row) for row in message.rows), outcome=dict(message.outcome)
    )


def _planned(message: pb.Planned) -> Planned:
    return Planned(
        action=ACTIONS.value(message.action),
        type=message.type,
        name=message.name,
        semver=message.semver if message.HasField("semver") else None,
        policy=message.policy,
        reason=message.reason,
        frees_hot=message.frees_hot,
        frees_cold=message.frees_cold,
        adds_cold=message.adds_cold,
        blocked=message.blocked if message.HasField("blocked") else None,
        holders=tuple(from_struct(holder) for holder in message.holders),
    )


def finding(message: pb.Finding) -> Finding:
    """Read what was done about an operation."""
    return Finding(
        operation=message.operation,
        verb=read_verb(message.verb),
        type=message.type,
        name=message.name,
        outcome=message.outcome,
        reason=message.reason,
    )
