"""Verbs in flight, and their traces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from alluxio_lance.values import Progress, Verb

__all__ = ["Operation", "OperationState", "Owner"]


class OperationState(StrEnum):
    """How an operation ended, if it did."""

    PENDING = "pending"
    DONE = "done"
    UNDONE = "undone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The process that works on an operation, so that another can tell whether it still lives."""

    node: str
    boot: str
    """The node's boot id and pid namespace: within another one every pid means somebody else."""
    pid: int
    started: int
    """The process' start time in clock ticks since boot (field 22 of /proc/PID/stat): pids are reused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One verb in flight, or its trace."""

    id: str
    """32 hexadecimal digits."""
    verb: Verb
    type: str
    name: str
    actor: str
    owner: Owner
    params: Mapping[str, Any]
    """What the verb was called with, as JSON values: enough to finish it after a crash."""
    origin: str = ""
    """From where the call came; the audit row says so."""
    request_id: str | None = None
    state: OperationState = OperationState.PENDING
    step: str = "begun"
    error: str | None = None
    result: str | None = None
    """The semantic version that it made or was about."""
    created_at: datetime
    heartbeat_at: datetime
    """Renewed by the owner while it works; with a dead owner it stands still."""
    progress: Progress | None = None
    """How far a long step is, for those who wait for it elsewhere."""
