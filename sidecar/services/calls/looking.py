"""The methods that only look: Get, Find, lists, History, Storage, Watch."""

from __future__ import annotations

from collections.abc import Iterator

import grpc

from alluxio_lance.codes import STATES
from alluxio_lance.sidecar.services import wire
from alluxio_lance.sidecar.services.calls.base import Calls, paged
from alluxio_lance.sidecar.services.guard import identity
from alluxio_lance.sidecar.services.returning import restoring
from alluxio_lance.upkeep import VersionStorage
from alluxio_lance.v1 import lifecycle_pb2 as pb
from alluxio_lance.values import Verb

__all__ = ["LookingCalls"]


class LookingCalls(Calls):
    """Get, Find, lists, History, Storage, Watch."""

    def Get(self, request: pb.GetRequest, context: grpc.ServicerContext) -> pb.GetResponse:
        with restoring(self._journal, request.waited_for):
            table = self._as(context).get_resource(request.type, request.name, request.selector or None)
        # The caller opens the table by itself, where nobody sees it.
        self._journal.note_read(request.type, request.name, table.semver)
        return pb.GetResponse(version=wire.version(table.info), storage_options=table.storage_options)

    def Find(self, request: pb.FindRequest, context: grpc.ServicerContext) -> pb.FindResponse:
        found = self._as(context).find_version(request.type, request.name, request.selector or None)
        return pb.FindResponse(version=wire.version(found))

    def ListResources(
        self, request: pb.ListResourcesRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.ListResourcesResponse]:
        resources = self._as(context).list_resources(
            request.type or None,
            search=request.search or None,
            labels=dict(request.labels) or None,
            deleted=request.deleted,
        )
        for page in paged(wire.resource(resource) for resource in resources):
            yield pb.ListResourcesResponse(resources=page)

    def ListVersions(
        self, request: pb.ListVersionsRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.ListVersionsResponse]:
        versions = self._as(context).list_versions(
            request.type,
            request.name,
            branch=request.branch if request.HasField("branch") else None,
            deleted=request.deleted,
        )
        for page in paged(wire.version(version) for version in versions):
            yield pb.ListVersionsResponse(versions=page)

    def History(self, request: pb.HistoryRequest, context: grpc.ServicerContext) -> Iterator[pb.HistoryResponse]:
        events = self._as(context).history(request.type, request.name)
        for page in paged(wire.event(event) for event in events):
            yield pb.HistoryResponse(events=page)

    def Storage(self, request: pb.StorageRequest, context: grpc.ServicerContext) -> pb.StorageResponse:
        report = self._as(context).storage(request.type, request.name)
        return pb.StorageResponse(
            type=report.type,
            name=report.name,
            table_bytes=report.table_bytes,
            cold_bytes=report.cold_bytes,
            versions=[_storage(version) for version in report.versions],
        )

    def Watch(self, request: pb.WatchRequest, context: grpc.ServicerContext) -> Iterator[pb.WatchResponse]:
        seen = request.after if request.HasField("after") else self._feed.last
        # The headers say that the watch has begun: what happens from here on is seen.
        context.send_initial_metadata(())
        context.add_callback(self._feed.wake)
        while context.is_active() and not self._feed.closed:
            if not self._feed.wait(seen, until=lambda: not context.is_active()):
                continue
            for event in self._journal.events(after=seen):
                seen = event.sequence
                # Looked up anew each time: who sees must still be allowed to.
                if self._manager.acting_as(identity(context)).may(Verb.READ, event.type, event.name):
                    yield pb.WatchResponse(event=wire.event(event))


def _storage(value: VersionStorage) -> pb.VersionStorage:
    return pb.VersionStorage(
        semver=value.semver,
        branch=value.branch,
        state=STATES.number(value.state),
        hot_bytes=value.hot_bytes,
        unique_bytes=value.unique_bytes,
        shared_bytes=value.shared_bytes,
        cold_bytes=value.cold_bytes,
        cached_bytes=value.cached_bytes,
    )
