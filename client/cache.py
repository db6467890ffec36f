"""The shared memory of this node, seen through its sidecar: what is hot, who reads it, make hot, drop, watch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from alluxio_lance.address import Address
from alluxio_lance.client import wire
from alluxio_lance.client.channel import Channel
from alluxio_lance.codes import PAGES
from alluxio_lance.errors import Unavailable
from alluxio_lance.layout import Pages
from alluxio_lance.v1 import cache_pb2 as pb
from alluxio_lance.values import Progress

__all__ = ["CacheEvent", "CacheStatistics", "LeaseInfo", "RemoteCache", "ResidentVersion"]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheEvent:
    """Something happened to a version in shared memory."""

    event: str
    """``loading``, ``hot``, ``evicted`` or ``failed``."""
    type: str
    name: str
    semver: str
    version: int
    message: str
    """Why it failed, when it did."""


class RemoteCache:
    """The cache of a sidecar."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    @classmethod
    def connect(cls, address: str | Address | None = None, *, timeout: float = 10.0) -> RemoteCache:
        """Talk to a sidecar.

        Parameters
        ----------
        address
            ``unix:/path/to/grpc.sock``; by default ``ALLUXIO_LANCE_ADDRESS``, else the socket in the run folder.
        timeout
            Seconds to wait for the sidecar to answer at all.

        Raises
        ------
        Unavailable
            When no sidecar answers.
        """
        found = address if isinstance(address, Address) else Address.find(address)
        return cls(Channel.connect(found, timeout))

    def prefetch(self, uri: str, columns: Sequence[str] = (), *, wait: bool = False) -> Iterator[Progress]:
        """Make a version hot and yield how far it is; the last one has all rows.

        Parameters
        ----------
        wait
            When it is in the cold tier: wait until it is back, and yield how far that is, too.

        Raises
        ------
        Restoring
            When it is in the cold tier and ``wait`` is off: its restore is under way.
        NoSpace
            When it does not fit, with ``budget`` and ``need``.
        NotFound
            When there is no such version or column.
        """
        with self._channel.speaking() as stubs:
            call = stubs.cache.Prefetch(pb.PrefetchRequest(uri=uri, columns=columns, wait=wait))
            try:
                for response in call:
                    yield wire.progress(response.progress)
            finally:
                call.cancel()

    def evict(self, uri: str) -> int:
        """Drop a version from shared memory and return the bytes that are free again.

        Raises
        ------
        Leased
            While somebody reads it; ``details["holders"]`` names them.
        """
        with self._channel.speaking() as stubs:
            return stubs.cache.Evict(pb.EvictRequest(uri=uri)).freed_bytes

    def statistics(self) -> CacheStatistics:
        """Tell what is hot, who reads it and what it costs."""
        with self._channel.speaking() as stubs:
            response = stubs.cache.Statistics(pb.StatisticsRequest())
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
        )

    def watch(self) -> Iterator[CacheEvent]:
        """Yield first what is hot now, then what happens, for ever.

        Raises
        ------
        Unavailable
            From the iterator, when the sidecar stops.
        """
        with self._channel.speaking() as stubs:
            call = stubs.cache.Watch(pb.CacheWatchRequest())
            call.initial_metadata()
        return self._events(call)

    def _events(self, call: Any) -> Iterator[CacheEvent]:
        try:
            with self._channel.speaking():
                for response in call:
                    yield _event(response)
                raise Unavailable("the sidecar ended the watch, since it stops - watch again later", what="sidecar")
        finally:
            call.cancel()

    def close(self) -> None:
        """Close the connection; a second call does nothing."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


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


def _event(message: pb.CacheWatchResponse) -> CacheEvent:
    return CacheEvent(
        event=message.event,
        type=message.type,
        name=message.name,
        semver=message.semver,
        version=message.version,
        message=message.message,
    )
