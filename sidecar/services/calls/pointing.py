"""The methods that move the pointer: Activate, Deprecate, Rollback."""

from __future__ import annotations

import grpc

from alluxio_lance.sidecar.services import wire
from alluxio_lance.sidecar.services.calls.base import Calls
from alluxio_lance.v1 import lifecycle_pb2 as pb

__all__ = ["PointingCalls"]


class PointingCalls(Calls):
    """Activate, Deprecate, Rollback."""

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
