"""The methods of the cold tier: Archive and Restore."""

from __future__ import annotations

from collections.abc import Iterator

import grpc

from alluxio_lance.manager import OnProgress
from alluxio_lance.sidecar.services.calls.base import Calls
from alluxio_lance.v1 import lifecycle_pb2 as pb
from alluxio_lance.values import Version

__all__ = ["ColdCalls"]


class ColdCalls(Calls):
    """Archive and Restore."""

    def Archive(self, request: pb.ArchiveRequest, context: grpc.ServicerContext) -> Iterator[pb.ArchiveResponse]:
        self._settle()
        manager = self._as(context)

        def work(report: OnProgress) -> Version:
            return manager.archive_resource(
                request.type,
                request.name,
                request.version,
                message=request.message,
                request_id=request.request_id or None,
                on_progress=report,
            )

        return self._streamed(work, pb.ArchiveResponse, context, f"archive {request.type}/{request.name}")

    def Restore(self, request: pb.RestoreRequest, context: grpc.ServicerContext) -> Iterator[pb.RestoreResponse]:
        manager = self._as(context)

        def work(report: OnProgress) -> Version:
            return manager.restore_resource(
                request.type,
                request.name,
                request.version,
                message=request.message,
                wait=request.wait,
                request_id=request.request_id or None,
                on_progress=report,
            )

        # Whoever gives up waiting ends his own wait only: the manager restores in a thread of its own.
        return self._streamed(work, pb.RestoreResponse, context, f"restore {request.type}/{request.name}")
