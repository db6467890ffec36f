"""The audit trail: what was refused, and whether all rows are as they were written."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from alluxio_lance.values import Verb

__all__ = ["AuditFault", "AuditReport", "Denial", "Fault", "Note"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Who changed something that belongs to no resource, for the audit row."""

    actor: str
    origin: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """A call that was refused, for the audit trail."""

    verb: Verb
    type: str
    name: str
    actor: str
    message: str
    """Why it was refused."""
    origin: str = ""
    request_id: str | None = None
    semver: str | None = None


class Fault(StrEnum):
    """What was done to the audit trail behind the catalog's back."""

    CHANGED = "changed"
    REMOVED = "removed"
    REORDERED = "reordered"
    INSERTED = "inserted"
    TRUNCATED = "truncated"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFault:
    """The first place where the audit trail is not what was written."""

    kind: Fault
    sequence: int
    """The row where it begins."""
    expected: str
    """What would stand there in an intact trail, in words."""
    found: str
    """What stands there, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """What a check of the audit trail found."""

    rows: int
    """How many rows were checked and found intact."""
    head: int
    """The sequence of the last row, as the catalog's own counter has it."""
    head_hash: str
    """Its hash. Who keeps it elsewhere can tell later that nothing up to this row was rewritten."""
    fault: AuditFault | None
