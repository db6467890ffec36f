"""What the cache of this node holds and has done, at one moment: the source of metrics, console and tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from alluxio_lance.layout import Pages
from alluxio_lance.ways import DiskStatistics, Way

__all__ = ["CacheStatistics", "ResidentVersion", "Role", "Status"]


class Role(StrEnum):
    """Why a version is in shared memory."""

    ACTIVE = "active"
    """The resource's plain URI means it."""
    PREVIOUS = "previous"
    """It was active before, and a rollback to it needs no load."""
    LEASED = "leased"
    """Somebody reads it."""
    CACHED = "cached"
    """Somebody read it; the first to go."""


class Status(StrEnum):
    """Whether a version can be read without waiting."""

    LOADING = "loading"
    HOT = "hot"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidentVersion:
    """A version in shared memory."""

    type: str
    name: str
    semver: str
    version: int
    """The version number of the Lance table."""
    role: Role
    status: Status
    bytes: int
    segments: int
    columns: tuple[str, ...]
    """Columns that are hot."""
    rows: int
    pages: Pages
    """Of its largest segment."""
    leases: int
    last_opened_at: datetime | None
    load_seconds: float
    """What the last load took."""
    ways: Mapping[Way, int] = field(default_factory=dict)
    """By which ways the last load read, the nearest first: bytes of files, for ``disk`` of segments."""
    cached_percent: int | None = None
    """How much of the version lay in Alluxio's cache at the end of the last load, 0 to 100; None: there is no such cache,
    the load did not need it, or it did not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheStatistics:
    """All that is hot, and counts since the start."""

    budget_bytes: int
    used_bytes: int
    """Claimed of the budget, loads that are under way included."""
    versions: tuple[ResidentVersion, ...]
    opens: int
    hits: int
    """Opens that found all their columns hot."""
    evictions: int
    """Versions dropped, for whatever reason."""
    failed_loads: int
    disk: DiskStatistics
