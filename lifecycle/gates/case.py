"""What the gates judge: one version that is about to move along one edge."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from alluxio_lance.governance import Verdict
from alluxio_lance.values import Version

__all__ = ["Case", "Judgement", "described", "metrics_mark"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a gate says; its name, kind and time are added by the keeper."""

    verdict: Verdict
    summary: str
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One move, as the gates see it."""

    promotion: str
    """Its id."""
    version: Version
    """The version that is to move; its location is relative to the store."""
    current: Version | None
    """The version that it would displace: the holder of the stage, else the active one."""
    labels: Mapping[str, str]
    """Of the resource."""
    origin: str
    """The stage that it comes from."""
    to: str
    """The stage that it goes to, or `ACTIVATION`."""
    reason: str
    requested_by: str
    approvals: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By approval gate: who said yes, with the role that it asks for."""
    outdated: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By approval gate: who said yes to other metrics than the version has now."""
    rejected_by: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Describe the move to a program outside."""
        return {
            "promotion": self.promotion,
            "type": self.version.type,
            "name": self.version.name,
            "labels": dict(self.labels),
            "from": self.origin,
            "to": self.to,
            "reason": self.reason,
            "requested_by": self.requested_by,
            "version": _outside(self.version),
            "current": _outside(self.current) if self.current else None,
        }


def described(version: Version) -> dict[str, Any]:
    """Describe a version to an expression: what ``version`` is in it; ``age`` counts seconds since it was made."""
    return {
        "semver": version.semver,
        "num_rows": version.num_rows,
        "num_bytes": version.num_bytes,
        "age": (datetime.now(UTC) - version.created_at).total_seconds(),
        "state": str(version.state),
        "stage": version.stage,
        "tags": list(version.tags),
        "branch": version.branch,
        "created_by": version.created_by,
        "message": version.message,
    }


def metrics_mark(version: Version) -> str:
    """Return 16 hexadecimal digits that stand for the metrics of a version: the only thing of it that may change."""
    text = json.dumps(dict(version.metrics), sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _outside(version: Version) -> dict[str, Any]:
    return {
        **described(version),
        "uri": version.uri,
        "content_hash": version.content_hash,
        "created_at": version.created_at.isoformat(),
        "metadata": dict(version.metadata),
        "provenance": dict(version.provenance),
        "metrics": dict(version.metrics),
    }
