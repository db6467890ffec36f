"""The methods with which a resource or version goes: Delete, Undelete, Purge."""

from __future__ import annotations

import grpc

from alluxio_lance.sidecar.services.calls.base import Calls
from alluxio_lance.v1 import lifecycle_pb2 as pb

__all__ = ["RemovalCalls"]


class RemovalCalls(Calls):
    """Delete, Undelete, Purge."""

    def Delete(self, request: pb.DeleteRequest, context: grpc.ServicerContext) -> pb.DeleteResponse:
        self._settle()
        self._as(context).delete_resource(
            request.type,
            request.name,
            request.version or None,
            force=request.force,
            message=request.message,
            request_id=request.request_id or None,
        )
        return pb.DeleteResponse()

    def Undelete(self, request: pb.UndeleteRequest, context: grpc.ServicerContext) -> pb.UndeleteResponse:
        self._as(context).undelete_resource(
            request.type,
            request.name,
            request.version or None,
            message=request.message,
            request_id=request.request_id or None,
        )
        return pb.UndeleteResponse()

    def Purge(self, request: pb.PurgeRequest, context: grpc.ServicerContext) -> pb.PurgeResponse:
        self._settle()
        self._as(context).purge_resource(
            request.type,
            request.name,
            request.version or None,
            message=request.message,
            request_id=request.request_id or None,
        )
        return pb.PurgeResponse()
