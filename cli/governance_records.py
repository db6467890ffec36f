"""The JSON records of promotions, rules, people and tokens. Documented in docs/cli.md."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from alluxio_lance.cli.records import moment
from alluxio_lance.governance import GateResult, Identity, Promotion, Rules, Token

__all__ = ["gate_record", "identity_record", "promotion_record", "rules_record", "token_record"]


def _when(at: datetime | None) -> str | None:
    return None if at is None else moment(at)


def gate_record(result: GateResult) -> dict[str, Any]:
    """Return everything about the report of a gate."""
    return {
        "gate": result.gate,
        "kind": result.kind,
        "verdict": result.verdict.value,
        "summary": result.summary,
        "details": dict(result.details),
        "seconds": result.seconds,
    }


def promotion_record(promotion: Promotion) -> dict[str, Any]:
    """Return everything about a promotion."""
    return {
        "id": promotion.id,
        "type": promotion.type,
        "name": promotion.name,
        "semver": promotion.semver,
        "from": promotion.origin,
        "to": promotion.to,
        "reason": promotion.reason,
        "requested_by": promotion.requested_by,
        "state": promotion.state.value,
        "results": [gate_record(result) for result in promotion.results],
        "decisions": [
            {"by": each.by, "at": moment(each.at), "approved": each.approved, "reason": each.reason}
            for each in promotion.decisions
        ],
        "created_at": moment(promotion.created_at),
        "decided_at": _when(promotion.decided_at),
    }


def rules_record(rules: Rules) -> dict[str, Any]:
    """Return the rules with who changed them when."""
    return {
        "revision": rules.revision,
        "changed_at": _when(rules.changed_at),
        "changed_by": rules.changed_by,
        "text": rules.text,
    }


def identity_record(identity: Identity) -> dict[str, Any]:
    """Return who somebody is."""
    return {
        "actor": identity.actor,
        "roles": list(identity.roles),
        "method": identity.method,
        "origin": identity.origin,
    }


def token_record(token: Token) -> dict[str, Any]:
    """Return everything about a token, which has not its secret."""
    return {
        "id": token.id,
        "name": token.name,
        "roles": list(token.roles),
        "created_by": token.created_by,
        "created_at": moment(token.created_at),
        "expires_at": _when(token.expires_at),
        "revoked_at": _when(token.revoked_at),
        "used_at": _when(token.used_at),
    }
