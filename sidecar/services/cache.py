"""The service Cache: opens versions for readers, makes them hot, drops them, tells what is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Protocol

import grpc

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.lifecycle.uri import FilePath, ResourceName, parse_uri
from alluxio_lance.manager import OnProgress
from alluxio_lance.sidecar.lease import Lease
from alluxio_lance.sidecar.leases import Leases
from alluxio_lance.sidecar.peers import Peers
from alluxio_lance.sidecar.residency import Residency
from alluxio_lance.sidecar.services import wire
from alluxio_lance.sidecar.services.guard import caller
from alluxio_lance.sidecar.services.happenings import Happenings
from alluxio_lance.sidecar.services.progress import worked
from alluxio_lance.sidecar.statistics import ResidentVersion
from alluxio_lance.v1 import cache_pb2 as pb
from alluxio_lance.v1.cache_pb2_grpc import CacheServicer
from alluxio_lance.values import Progress, Version

__all__ = ["Cache", "Finder"]


class Finder(Protocol):
    """The part of the catalog that finds versions."""

    def find(self, name: ResourceName) -> Version:
        """Find the version that a name means."""
        ...


class Cache(CacheServicer):
    """The service.

    Parameters
    ----------
    opened
        Told which version somebody has just opened: it is hot now.
    settle
        Waits until the door knows of all connections that have ended.
    started_at
        When the sidecar started.
    """

    def __init__(
        self,
        residency: Residency,
        finder: Finder,
        leases: Leases,
        happenings: Happenings,
        *,
        peers: Peers,
        opened: Callable[[Version], None],
        settle: Callable[[], None],
        node: str,
        pid: int,
        started_at: datetime,
    ) -> None:
        self._residency = residency
        self._finder = finder
        self._leases = leases
        self._happenings = happenings
        self._peers = peers
        self._opened = opened
        self._settle = settle
        self._node = node
        self._pid = pid
        self._started_at = started_at

    # -- leases ----------------------------------------------------------------------------------------------------

    def Open(self, request: pb.OpenRequest, context: grpc.ServicerContext) -> pb.OpenResponse:
        peer = caller(context, self._peers)
        version = self._find(request.uri)
        token = self._leases.reserve(peer, version)
        try:
            holder = f"process {peer.pid} of {peer.user} ({peer.command or 'unknown command'})"
            hold = self._residency.open(version, list(request.columns) or None, holder=holder)
        except BaseException:
            self._leases.cancel(token)
            raise
        self._leases.grant(token, hold)
        self._opened(version)
        if not context.is_active():
            # The caller gave up while the version was loaded, and will never hear of its lease.
            self._leases.cancel(token)
        return pb.OpenResponse(lease=token, layout=wire.layout(hold.layout))

    def Renew(self, request: pb.RenewRequest, context: grpc.ServicerContext) -> pb.RenewResponse:
        self._leases.renew(request.lease, caller(context, self._peers))
        return pb.RenewResponse()

    def Close(self, request: pb.CloseRequest, context: grpc.ServicerContext) -> pb.CloseResponse:
        self._leases.end(request.lease, caller(context, self._peers))
        return pb.CloseResponse()

    # -- what is hot -----------------------------------------------------------------------------------------------

    def Prefetch(self, request: pb.PrefetchRequest, context: grpc.ServicerContext) -> Iterator[pb.PrefetchResponse]:
        version = self._find(request.uri)

        def work(report: OnProgress) -> Progress:
            self._residency.prefetch(version, list(request.columns) or None, on_progress=report)
            self._opened(version)
            return Progress(step="hot", rows=version.num_rows, total_rows=version.num_rows)

        for progress in worked(work, context, f"prefetch {version.type}/{version.name}", abandon=False):
            yield pb.PrefetchResponse(progress=wire.progress(progress))

    def Evict(self, request: pb.EvictRequest, context: grpc.ServicerContext) -> pb.EvictResponse:
        self._settle()
        version = self._find(request.uri)
        return pb.EvictResponse(freed_bytes=self._residency.evict(version))

    def Statistics(self, request: pb.StatisticsRequest, context: grpc.ServicerContext) -> pb.StatisticsResponse:
        self._settle()
        found = self._residency.statistics()
        return pb.StatisticsResponse(
            budget_bytes=found.budget_bytes,
            used_bytes=found.used_bytes,
            versions=[_resident(version) for version in found.versions],
            leases=[_lease(lease) for lease in self._leases.current()],
            opens=found.opens,
            hits=found.hits,
            evictions=found.evictions,
            failed_loads=found.failed_loads,
            node=self._node,
            pid=self._pid,
            started_at=wire.timestamp(self._started_at),
        )

    def Watch(self, request: pb.CacheWatchRequest, context: grpc.ServicerContext) -> Iterator[pb.CacheWatchResponse]:
        with self._happenings.listening() as listener:
            context.send_initial_metadata(())
            context.add_callback(listener.stop)
            for version in self._residency.statistics().versions:
                if version.columns:
                    yield pb.CacheWatchResponse(
                        event="hot",
                        type=version.type,
                        name=version.name,
                        semver=version.semver,
                        version=version.version,
                    )
            for event in listener:
                yield pb.CacheWatchResponse(
                    event=event.event,
                    type=event.version.type,
                    name=event.version.name,
                    semver=event.version.semver,
                    version=event.version.version,
                    message=event.message,
                )

    def _find(self, uri: str) -> Version:
        parsed = parse_uri(uri)
        if isinstance(parsed, FilePath):
            raise InvalidArgument(
                f"{uri} is a plain file; the cache serves versions of resources: alluxio://TYPE/NAME, with two slashes"
            )
        return self._finder.find(parsed)


def _resident(version: ResidentVersion) -> pb.ResidentVersion:
    return pb.ResidentVersion(
        type=version.type,
        name=version.name,
        semver=version.semver,
        version=version.version,
        role=version.role,
        status=version.status,
        bytes=version.bytes,
        segments=version.segments,
        columns=version.columns,
        rows=version.rows,
        pages=wire.PAGES[version.pages],
        leases=version.leases,
        last_opened_at=None if version.last_opened_at is None else wire.timestamp(version.last_opened_at),
        load_seconds=version.load_seconds,
    )


def _lease(lease: Lease) -> pb.LeaseInfo:
    return pb.LeaseInfo(
        id=lease.token[:8],
        type=lease.version.type,
        name=lease.version.name,
        semver=lease.version.semver,
        pid=lease.peer.pid,
        user=lease.peer.user,
        command=lease.peer.command,
        connections=lease.connections,
        since=wire.timestamp(lease.since),
    )
