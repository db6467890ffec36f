"""The service Lifecycle: every verb of the manager, on behalf of the process that calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import grpc

from alluxio_lance.errors import InvalidArgument, PermissionDenied
from alluxio_lance.manager import OnProgress, ResourceManager
from alluxio_lance.sidecar.feed import Feed
from alluxio_lance.sidecar.peers import Peer, Peers
from alluxio_lance.sidecar.services import wire
from alluxio_lance.sidecar.services.guard import caller
from alluxio_lance.sidecar.services.progress import worked
from alluxio_lance.sidecar.services.upload import Upload
from alluxio_lance.structs import from_struct
from alluxio_lance.v1 import lifecycle_pb2 as pb
from alluxio_lance.v1.lifecycle_pb2_grpc import LifecycleServicer
from alluxio_lance.values import Event, Progress, Version

__all__ = ["EventLog", "Lifecycle", "Manager"]


class Manager(Protocol):
    """A manager that can act for others."""

    def acting_as(self, actor: str) -> ResourceManager:
        """Return a view that acts for somebody else."""
        ...


class EventLog(Protocol):
    """The part of the catalog that keeps the events."""

    def events(
        self, *, after: int = 0, type: str | None = None, name: str | None = None, limit: int = 1000
    ) -> list[Event]:
        """List the events after one."""
        ...


class Lifecycle(LifecycleServicer):
    """The service.

    Parameters
    ----------
    settle
        Waits until leases that ended just now are known to the catalog, before a deletion looks for holders.
    """

    def __init__(
        self,
        manager: Manager,
        *,
        peers: Peers,
        feed: Feed,
        events: EventLog,
        node: str,
        settle: Callable[[], None],
    ) -> None:
        self._manager = manager
        self._peers = peers
        self._feed = feed
        self._events = events
        self._node = node
        self._settle = settle

    # -- verbs with data -------------------------------------------------------------------------------------------

    def Register(
        self, request_iterator: Iterator[pb.RegisterRequest], context: grpc.ServicerContext
    ) -> Iterator[pb.RegisterResponse]:
        header = _header(request_iterator)
        data = _Data(header.source, request_iterator, caller(context, self._peers))

        def work(report: OnProgress) -> Version:
            with data:
                return self._as(context).register_resource(
                    header.type,
                    header.name,
                    data.open(),
                    version=header.version or None,
                    message=header.message,
                    metadata=from_struct(header.metadata),
                    provenance=from_struct(header.provenance),
                    activate=header.activate,
                    format=header.source.format or None,
                    options=from_struct(header.source.options),
                    request_id=header.request_id or None,
                    on_progress=report,
                )

        for item in worked(work, context, f"register {header.type}/{header.name}"):
            if isinstance(item, Progress):
                yield pb.RegisterResponse(progress=wire.progress(item))
            else:
                yield pb.RegisterResponse(version=wire.version(item))

    def Update(
        self, request_iterator: Iterator[pb.UpdateRequest], context: grpc.ServicerContext
    ) -> Iterator[pb.UpdateResponse]:
        header = _header(request_iterator)
        source = header.source if header.HasField("source") else None
        data = _Data(source, request_iterator, caller(context, self._peers))

        def work(report: OnProgress) -> Version:
            with data:
                return self._as(context).update_resource(
                    header.type,
                    header.name,
                    data.open(),
                    mode=header.mode or "append",
                    on=list(header.on) or None,
                    bump=header.bump or None,
                    version=header.version or None,
                    message=header.message,
                    metadata=from_struct(header.metadata) if header.HasField("metadata") else None,
                    provenance=from_struct(header.provenance),
                    activate=header.activate,
                    format=header.source.format or None,
                    options=from_struct(header.source.options),
                    request_id=header.request_id or None,
                    on_progress=report,
                )

        for item in worked(work, context, f"update {header.type}/{header.name}"):
            if isinstance(item, Progress):
                yield pb.UpdateResponse(progress=wire.progress(item))
            else:
                yield pb.UpdateResponse(version=wire.version(item))

    # -- verbs that move the pointer -------------------------------------------------------------------------------

    def Activate(self, request: pb.ActivateRequest, context: grpc.ServicerContext) -> pb.ActivateResponse:
        version = self._as(context).activate_resource(
            request.type,
            request.name,
            request.version,
            message=request.message,
            request_id=request.request_id or None,
        )
        return pb.ActivateResponse(version=wire.version(version))

    def Deprecate(self, request: pb.DeprecateRequest, context: grpc.ServicerContext) -> pb.DeprecateResponse:
        version = self._as(context).deprecate_resource(
            request.type,
            request.name,
            request.version,
            message=request.message,
            request_id=request.request_id or None,
        )
        return pb.DeprecateResponse(version=wire.version(version))

    def Rollback(self, request: pb.RollbackRequest, context: grpc.ServicerContext) -> pb.RollbackResponse:
        version = self._as(context).rollback_resource(
            request.type,
            request.name,
            request.version or None,
            message=request.message,
            request_id=request.request_id or None,
        )
        return pb.RollbackResponse(version=wire.version(version))

    def Delete(self, request: pb.DeleteRequest, context: grpc.ServicerContext) -> pb.DeleteResponse:
        self._settle()
        self._as(context).delete_resource(
            request.type, request.name, message=request.message, request_id=request.request_id or None
        )
        return pb.DeleteResponse()

    # -- looking ---------------------------------------------------------------------------------------------------

    def Get(self, request: pb.GetRequest, context: grpc.ServicerContext) -> pb.GetResponse:
        table = self._as(context).get_resource(request.type, request.name, request.selector or None)
        return pb.GetResponse(version=wire.version(table.info))

    def ListResources(
        self, request: pb.ListResourcesRequest, context: grpc.ServicerContext
    ) -> pb.ListResourcesResponse:
        resources = self._as(context).list_resources(request.type or None)
        return pb.ListResourcesResponse(resources=[wire.resource(resource) for resource in resources])

    def ListVersions(self, request: pb.ListVersionsRequest, context: grpc.ServicerContext) -> pb.ListVersionsResponse:
        versions = self._as(context).list_versions(request.type, request.name)
        return pb.ListVersionsResponse(versions=[wire.version(version) for version in versions])

    def History(self, request: pb.HistoryRequest, context: grpc.ServicerContext) -> pb.HistoryResponse:
        events = self._as(context).history(request.type, request.name)
        return pb.HistoryResponse(events=[wire.event(event) for event in events])

    def Watch(self, request: pb.WatchRequest, context: grpc.ServicerContext) -> Iterator[pb.WatchResponse]:
        seen = request.after if request.HasField("after") else self._feed.last
        # The headers say that the watch has begun: what happens from here on is seen.
        context.send_initial_metadata(())
        context.add_callback(self._feed.wake)
        while context.is_active() and not self._feed.closed:
            if not self._feed.wait(seen, until=lambda: not context.is_active()):
                continue
            for event in self._events.events(after=seen):
                seen = event.sequence
                yield pb.WatchResponse(event=wire.event(event))

    def _as(self, context: grpc.ServicerContext) -> ResourceManager:
        return self._manager.acting_as(f"{caller(context, self._peers).user}@{self._node}")


def _header(requests: Iterator[Any]) -> Any:
    """Read the first message of a call with data."""
    first = next(requests, None)
    if first is None or first.WhichOneof("part") != "header":
        raise InvalidArgument("the first message of the call must be its header")
    return first.header


class _Data:
    """The data of a call: a path that the caller may have the sidecar read, or the chunks that follow the header."""

    def __init__(self, source: pb.Source | None, requests: Iterator[Any], peer: Peer) -> None:
        self._source = source
        self._upload = Upload(requests)
        if source is not None and source.WhichOneof("data") == "path" and not peer.trusted_with_paths:
            raise PermissionDenied(
                f"the sidecar runs as another user than {peer.user} and opens no paths for others - send the data "
                "as a stream: read them here, and give a pyarrow.RecordBatchReader instead of the path"
            )

    def open(self) -> Any:
        """Return what the manager takes as data."""
        kind = None if self._source is None else self._source.WhichOneof("data")
        if self._source is None:
            return None
        if kind == "path":
            return self._source.path
        if kind == "stream":
            return self._upload.batches()
        raise InvalidArgument("the header names no source: set its path, or stream and send chunks")

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._upload.close()
        if error is not None and self._upload.failure is not None and error is not self._upload.failure:
            raise self._upload.failure from error
