"""The methods of stages: Promote and Measure."""

from __future__ import annotations

from collections.abc import Iterator

import grpc

from alluxio_lance.manager import OnProgress
from alluxio_lance.sidecar.services import wire
from alluxio_lance.sidecar.services.calls.base import Calls
from alluxio_lance.structs import from_struct
from alluxio_lance.v1 import lifecycle_pb2 as pb
from alluxio_lance.values import Version

__all__ = ["StageCalls"]


class StageCalls(Calls):
    """Promote and Measure."""

    def Promote(self, request: pb.PromoteRequest, context: grpc.ServicerContext) -> Iterator[pb.PromoteResponse]:
        manager = self._as(context)

        def work(report: OnProgress) -> Version:
            return manager.promote_resource(
                request.type,
                request.name,
                request.version,
                to=request.to,
                reason=request.reason,
                wait=request.wait,
                timeout=request.timeout_seconds if request.HasField("timeout_seconds") else None,
                request_id=request.request_id or None,
                on_progress=report,
            )

        return self._streamed(work, pb.PromoteResponse, context, f"promote {request.type}/{request.name}")

    def Measure(self, request: pb.MeasureRequest, context: grpc.ServicerContext) -> pb.MeasureResponse:
        version = self._as(context).measure_resource(
            request.type,
            request.name,
            request.version,
            from_struct(request.metrics),
            message=request.message,
            request_id=request.request_id or None,
        )
        return pb.MeasureResponse(version=wire.version(version))
