"""The values of what versions cost and of what the policies would do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from alluxio_lance.values import State

__all__ = ["Action", "Planned", "PolicyPlan", "StorageReport", "VersionStorage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionStorage:
    """What one version takes, in bytes."""

    semver: str
    branch: str
    state: State
    hot_bytes: int
    """All files in the hot table that the version needs, its manifest, deletions and blob side files included."""
    unique_bytes: int
    """Of these, those that no other version needs: what archiving it would free."""
    shared_bytes: int
    """The others."""
    cold_bytes: int
    """In the cold tier."""
    cached_bytes: int | None = None
    """Of ``hot_bytes``, what lies in the cache of Alluxio; None where there is none between."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageReport:
    """What a resource takes. The sum over the versions is more than the table, since they share files."""

    type: str
    name: str
    table_bytes: int
    """All files of the hot table, branches included."""
    cold_bytes: int
    versions: tuple[VersionStorage, ...]
    """Newest first."""


class Action(StrEnum):
    """What a policy does to a version."""

    ARCHIVE = "archive"
    DELETE = "delete"
    PURGE = "purge"
    """The second half of a deletion whose grace time is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What a policy would do to one version."""

    action: Action
    type: str
    name: str
    semver: str | None
    """None: the whole resource."""
    policy: str
    """The name of the policy in the rules; ``grace`` for purges."""
    reason: str
    """``not read for 41 days (limit 30)``."""
    frees_hot: int
    """Bytes that the hot tier gets free when everything up to this row is done, in the order of the plan."""
    frees_cold: int
    adds_cold: int
    blocked: str | None = None
    """Why it will not be done now, in words: a reader, a tag, a stage, a branch; None when it will."""
    holders: tuple[Mapping[str, Any], ...] = ()
    """The readers, as in the details of `Leased`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyPlan:
    """What the policies would do now."""

    at: datetime
    rows: tuple[Planned, ...] = ()
    outcome: Mapping[int, str] = field(default_factory=dict)
    """After a run: by row number, ``done`` or why not."""
