"""The service Cache: opens versions for readers, makes them hot, drops them, tells what is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial

import grpc

from alluxio_lance.codes import PAGES, WAYS
from alluxio_lance.errors import NoSpace, Restoring
from alluxio_lance.lifecycle.local import LocalManager
from alluxio_lance.manager import OnProgress
from alluxio_lance.sidecar.finding import find_version
from alluxio_lance.sidecar.lease import Lease
from alluxio_lance.sidecar.leases import Leases
from alluxio_lance.sidecar.peers import Peer, Peers
from alluxio_lance.sidecar.residency import Residency
from alluxio_lance.sidecar.resident import Hold
from alluxio_lance.sidecar.services import wire
from alluxio_lance.sidecar.services.guard import caller, identity
from alluxio_lance.sidecar.services.happenings import Happenings
from alluxio_lance.sidecar.services.ports import Journal, Managers
from alluxio_lance.sidecar.services.progress import worked
from alluxio_lance.sidecar.services.returning import restoring
from alluxio_lance.sidecar.statistics import ResidentVersion
from alluxio_lance.sidecar.windows import Asker, Stream
from alluxio_lance.v1 import cache_pb2 as pb
from alluxio_lance.v1.cache_pb2_grpc import CacheServicer
from alluxio_lance.values import Progress, State, Verb, Version
from alluxio_lance.ways import DiskStatistics

__all__ = ["Cache"]


class Cache(CacheServicer):
    """The service.

    Parameters
    ----------
    manager
        Finds versions, brings them back, and knows who may.
    journal
        Where operations are looked up.
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
        manager: Managers,
        journal: Journal,
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
        self._manager = manager
        self._journal = journal
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
        with restoring(self._journal, request.waited_for):
            version, token = self._reserved(self._as(context), request.uri, peer)
        try:
            hold = self._hold(version, request, Asker(token, peer.title, context.is_active))
        except BaseException:
            self._leases.cancel(token)
            raise
        self._leases.grant(token, hold)
        if not isinstance(hold, Stream):
            self._opened(version)
        if not context.is_active():
            # The caller gave up while the version was loaded, and will never hear of its lease.
            self._leases.cancel(token)
        layout = wire.layout(hold.layout)
        if isinstance(hold, Stream):
            rows, most = hold.units.rows, hold.window_units
            return pb.OpenResponse(lease=token, layout=layout, unit_rows=rows, window_units=most)
        return pb.OpenResponse(lease=token, layout=layout)

    def _hold(self, version: Version, request: pb.OpenRequest, asker: Asker) -> Hold:
        columns = list(request.columns) or None
        windows = self._residency.windows
        if request.stream:
            return windows.open(version, columns, asker)
        try:
            return self._residency.open(version, columns, holder=asker.holder)
        except NoSpace as error:
            if not windows.could_stream(version, columns):
                raise
            raise NoSpace(
                f"{error.message}, or read it window by window: alluxio.torch.IterableDataset, alluxio.tf.Dataset",
                **error.details,
            ) from error

    def _reserved(self, manager: LocalManager, uri: str, peer: Peer) -> tuple[Version, str]:
        """Find a version and begin a lease on it; one that is in the cold tier, or on its way there, is sent for."""
        version = find_version(manager, uri)
        if version.state is State.ARCHIVED:
            manager.bring_back(version)
        try:
            return version, self._leases.reserve(peer, version)
        except Restoring:
            manager.bring_back(version)
        # It is back already.
        return version, self._leases.reserve(peer, version)

    def Renew(self, request: pb.RenewRequest, context: grpc.ServicerContext) -> pb.RenewResponse:
        self._leases.renew(request.lease, caller(context, self._peers))
        return pb.RenewResponse()

    def Close(self, request: pb.CloseRequest, context: grpc.ServicerContext) -> pb.CloseResponse:
        self._leases.end(request.lease, caller(context, self._peers))
        return pb.CloseResponse()

    # -- what is hot -----------------------------------------------------------------------------------------------

    def Prefetch(self, request: pb.PrefetchRequest, context: grpc.ServicerContext) -> Iterator[pb.PrefetchResponse]:
        manager = self._as(context)
        version = find_version(manager, request.uri)
        manager.allow(Verb.PREFETCH, version.type, version.name)

        def work(report: OnProgress) -> Progress:
            if version.state is State.ARCHIVED:
                with restoring(self._journal, ""):
                    manager.bring_back(version, wait=request.wait, on_progress=report)
            self._residency.prefetch(version, list(request.columns) or None, on_progress=report)
            self._opened(version)
            return Progress(step="hot", rows=version.num_rows, total_rows=version.num_rows)

        for progress in worked(work, context, f"prefetch {version.type}/{version.name}", abandon=False):
            yield pb.PrefetchResponse(progress=wire.progress(progress))

    def Evict(self, request: pb.EvictRequest, context: grpc.ServicerContext) -> pb.EvictResponse:
        manager = self._as(context)
        version = find_version(manager, request.uri)
        manager.allow(Verb.EVICT, version.type, version.name)
        self._settle()
        return pb.EvictResponse(freed_bytes=self._residency.evict(version))

    def Statistics(self, request: pb.StatisticsRequest, context: grpc.ServicerContext) -> pb.StatisticsResponse:
        self._settle()
        found = self._residency.statistics()
        may_read = self._seeing(context)
        return pb.StatisticsResponse(
            budget_bytes=found.budget_bytes,
            used_bytes=found.used_bytes,
            versions=[_resident(version) for version in found.versions if may_read(version.type, version.name)],
            leases=[
                _lease(lease) for lease in self._leases.current() if may_read(lease.version.type, lease.version.name)
            ],
            opens=found.opens,
            hits=found.hits,
            evictions=found.evictions,
            failed_loads=found.failed_loads,
            node=self._node,
            pid=self._pid,
            started_at=wire.timestamp(self._started_at),
            disk=_disk(found.disk),
        )

    def Watch(self, request: pb.CacheWatchRequest, context: grpc.ServicerContext) -> Iterator[pb.CacheWatchResponse]:
        with self._happenings.listening() as listener:
            context.send_initial_metadata(())
            context.add_callback(listener.stop)
            for version in self._residency.statistics().versions:
                if version.columns and self._seeing(context)(version.type, version.name):
                    yield pb.CacheWatchResponse(
                        event="hot",
                        type=version.type,
                        name=version.name,
                        semver=version.semver,
                        version=version.version,
                    )
            for event in listener:
                # Asked anew each time: who sees must still be allowed to.
                if self._seeing(context)(event.version.type, event.version.name):
                    yield pb.CacheWatchResponse(
                        event=event.event,
                        type=event.version.type,
                        name=event.version.name,
                        semver=event.version.semver,
                        version=event.version.version,
                        message=event.message,
                    )

    def _as(self, context: grpc.ServicerContext) -> LocalManager:
        return self._manager.acting_as(identity(context))

    def _seeing(self, context: grpc.ServicerContext) -> Callable[[str, str], bool]:
        """Return what tells whether the caller may see a resource."""
        return partial(self._as(context).may, Verb.READ)


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
        pages=PAGES.number(version.pages),
        leases=version.leases,
        last_opened_at=None if version.last_opened_at is None else wire.timestamp(version.last_opened_at),
        load_seconds=version.load_seconds,
        ways=[pb.WayBytes(way=WAYS.number(way), bytes=total) for way, total in version.ways.items()],
        cached_percent=version.cached_percent,
    )


def _disk(disk: DiskStatistics) -> pb.DiskStatistics:
    return pb.DiskStatistics(
        budget_bytes=disk.budget_bytes,
        used_bytes=disk.used_bytes,
        columns=disk.columns,
        hits=disk.hits,
        misses=disk.misses,
        dropped_writes=disk.dropped_writes,
        corrupt=disk.corrupt,
        mapped_bytes=disk.mapped_bytes,
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
