"""The values of who may do what, and of what has to hold before it is done: promotions, gates, rules, tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

__all__ = [
    "ACTIVATION",
    "Decision",
    "GateResult",
    "Identity",
    "Promotion",
    "PromotionState",
    "Rules",
    "Token",
    "Verdict",
]

ACTIVATION = "active"
"""What stands for the stage in a `Promotion` that is about the pointer: gates may guard activation too."""


class Verdict(StrEnum):
    """What a gate said."""

    PASSED = "passed"
    FAILED = "failed"
    """It looked, and the answer is no."""
    ERROR = "error"
    """It could not be asked: that blocks as well."""
    WAITING = "waiting"
    """It needs an approval that nobody has given yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """The report of one gate."""

    gate: str
    """Its name in the rules."""
    kind: str
    """``expectation``, ``python``, ``command``, ``webhook``, ``approval``, ``compliance``."""
    verdict: Verdict
    summary: str
    """One sentence for a person: what was expected, what was found."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """JSON values for a program: each expression with its values, the end of a command's output, …"""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a person said about a promotion that waits."""

    by: str
    at: datetime
    approved: bool
    reason: str = ""


class PromotionState(StrEnum):
    """How a promotion stands."""

    WAITING = "waiting"
    DONE = "done"
    DENIED = "denied"


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """One attempt to move a version along an edge of the stage graph, with the reports of its gates. It is kept."""

    id: str
    """32 hexadecimal digits; commands take the first eight."""
    type: str
    name: str
    semver: str
    origin: str | None
    """The stage that it came from; None when it had none."""
    to: str
    """The stage, or `ACTIVATION`."""
    reason: str
    requested_by: str
    state: PromotionState
    results: tuple[GateResult, ...]
    """The newest report of each gate that guards the edge, in the order of the rules."""
    decisions: tuple[Decision, ...] = ()
    created_at: datetime
    decided_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The rules of the whole system, as the admin wrote them: one TOML document, docs/rules.md."""

    text: str
    revision: int
    """Grows by one with each change; 0: the built-in rules, nothing was configured."""
    changed_at: datetime | None
    changed_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who somebody is to the system."""

    actor: str
    """As the audit trail names him: ``user@node``, ``token:ci``, ``oidc:alice@example.org``."""
    roles: tuple[str, ...]
    method: str
    """``embedded``, ``peer``, ``token`` or ``oidc``."""
    origin: str = ""
    """From where: ``unix:pid=123``, ``ipv4:10.0.0.7:4711``, ``embedded``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A bearer token, without its secret, which nobody can read again."""

    id: str
    """12 characters; the part of the token that may be shown."""
    name: str
    roles: tuple[str, ...]
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None = None
    used_at: datetime | None = None
    """When it last opened a session, to within a minute."""
