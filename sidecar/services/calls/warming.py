"""The methods of the cache below: Warm, Cool, Explain."""

from __future__ import annotations

from collections.abc import Iterator

import grpc

from alluxio_lance.manager import OnProgress
from alluxio_lance.sidecar.services import wire
from alluxio_lance.sidecar.services.calls.base import Calls, paged
from alluxio_lance.sidecar.services.progress import worked
from alluxio_lance.v1 import lifecycle_pb2 as pb
from alluxio_lance.values import Progress
from alluxio_lance.ways import CacheShare

__all__ = ["WarmingCalls"]


class WarmingCalls(Calls):
    """Warm, Cool, Explain."""

    def Warm(self, request: pb.WarmRequest, context: grpc.ServicerContext) -> Iterator[pb.WarmResponse]:
        manager = self._as(context)

        def work(report: OnProgress) -> CacheShare:
            return manager.warm_resource(request.type, request.name, request.selector or None, on_progress=report)

        # A caller that goes away ends it: what is cached by then stays, and nobody else waits for the rest.
        for item in worked(work, context, f"warm {request.type}/{request.name}"):
            if isinstance(item, Progress):
                yield pb.WarmResponse(progress=wire.progress(item))
            else:
                yield pb.WarmResponse(share=wire.share(item))

    def Cool(self, request: pb.CoolRequest, context: grpc.ServicerContext) -> pb.CoolResponse:
        freed = self._as(context).cool_resource(request.type, request.name, request.version)
        return pb.CoolResponse(freed_bytes=freed)

    def Explain(self, request: pb.ExplainRequest, context: grpc.ServicerContext) -> Iterator[pb.ExplainResponse]:
        found = self._as(context).explain_resource(request.type, request.name, request.selector or None)
        for page in paged(wire.file_way(file) for file in found.files):
            yield pb.ExplainResponse(files=page)
        yield pb.ExplainResponse(share=None if found.share is None else wire.share(found.share))
