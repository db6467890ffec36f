"""What the shared memory of a node holds and has done, as its sidecar tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from alluxio_lance.client import wire
from alluxio_lance.codes import PAGES, WAYS
from alluxio_lance.layout import Pages
from alluxio_lance.v1 import cache_pb2 as pb
from alluxio_lance.ways import DiskStatistics, Way

__all__ = ["CacheStatistics", "LeaseInfo", "ResidentVersion", "read_statistics"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidentVersion:
    """A version in shared memory."""

    type: str
    name: str
    semver: str
    version: int
    role: str
    """Why it is there: ``active``, ``previous``, ``leased`` or ``cached``."""
    status: str
    """``loading`` or ``hot``."""
    bytes: int
    segments: int
    columns: tuple[str, ...]
    """The columns that are hot."""
    rows: int
    pages: Pages | None
    """The pages of its largest segment; None when there is none yet."""
    leases: int
    last_opened_at: datetime | None
    load_seconds: float
    ways: Mapping[Way, int]
    """By which ways the last load read, the nearest first: bytes of files, for ``disk`` of segments."""
    cached_percent: int | None
    """How much of it lay in Alluxio's cache after that load, 0 to 100; None: there is none, or it was not asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseInfo:
    """A reader."""

    id: str
    """The first eight digits of the token."""
    type: str
    name: str
    semver: str
    pid: int
    user: str
    command: str
    connections: int
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheStatistics:
    """The shared memory of a node at one moment; sizes in bytes, counters since the start."""

    budget_bytes: int
    used_bytes: int
    versions: tuple[ResidentVersion, ...]
    leases: tuple[LeaseInfo, ...]
    opens: int
    hits: int
    evictions: int
    failed_loads: int
    node: str
    pid: int
    started_at: datetime
    disk: DiskStatistics


def read_statistics(response: pb.StatisticsResponse) -> CacheStatistics:
    """Read what a sidecar answered."""
    return CacheStatistics(
        budget_bytes=response.budget_bytes,
        used_bytes=response.used_bytes,
        versions=tuple(_resident(version) for version in response.versions),
        leases=tuple(_lease(lease) for lease in response.leases),
        opens=response.opens,
        hits=response.hits,
        evictions=response.evictions,
        failed_loads=response.failed_loads,
        node=response.node,
        pid=response.pid,
        started_at=wire.moment(response.started_at),
        disk=_disk(response.disk),
    )


def _resident(message: pb.ResidentVersion) -> ResidentVersion:
    return ResidentVersion(
        type=message.type,
        name=message.name,
        semver=message.semver,
        version=message.version,
        role=message.role,
        status=message.status,
        bytes=message.bytes,
        segments=message.segments,
        columns=tuple(message.columns),
        rows=message.rows,
        pages=PAGES.value_if_any(message.pages),
        leases=message.leases,
        last_opened_at=wire.moment(message.last_opened_at) if message.HasField("last_opened_at") else None,
        load_seconds=message.load_seconds,
        ways={WAYS.value(each.way): each.bytes for each in message.ways},
        cached_percent=message.cached_percent if message.HasField("cached_percent") else None,
    )


def _lease(message: pb.LeaseInfo) -> LeaseInfo:
    return LeaseInfo(
        id=message.id,
        type=message.type,
        name=message.name,
        semver=message.semver,
        pid=message.pid,
        user=message.user,
        command=message.command,
        connections=message.connections,
        since=wire.moment(message.since),
    )


def _disk(message: pb.DiskStatistics) -> DiskStatistics:
    return DiskStatistics(
        budget_bytes=message.budget_bytes,
        used_bytes=message.used_bytes,
        columns=message.columns,
        hits=message.hits,
        misses=message.misses,
        dropped_writes=message.dropped_writes,
        corrupt=message.corrupt,
        mapped_bytes=message.mapped_bytes,
    )
