"""The methods that give names: Tag, Untag, Label, Branch, Unbranch, Merge."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import grpc

from alluxio_lance.manager import Bump, OnProgress
from alluxio_lance.sidecar.services import wire
from alluxio_lance.sidecar.services.calls.base import Calls
from alluxio_lance.v1 import lifecycle_pb2 as pb
from alluxio_lance.values import Version

__all__ = ["NameCalls"]


class NameCalls(Calls):
    """Tag, Untag, Label, Branch, Unbranch, Merge."""

    def Tag(self, request: pb.TagRequest, context: grpc.ServicerContext) -> pb.TagResponse:
        version = self._as(context).tag_resource(
            request.type,
            request.name,
            request.version,
            request.tag,
            move=request.move,
            message=request.message,
            request_id=request.request_id or None,
        )
        return pb.TagResponse(version=wire.version(version))

    def Untag(self, request: pb.UntagRequest, context: grpc.ServicerContext) -> pb.UntagResponse:
        version = self._as(context).untag_resource(
            request.type, request.name, request.tag, message=request.message, request_id=request.request_id or None
        )
        return pb.UntagResponse(version=wire.version(version))

    def Label(self, request: pb.LabelRequest, context: grpc.ServicerContext) -> pb.LabelResponse:
        labels = {change.key: change.value if change.HasField("value") else None for change in request.labels}
        resource = self._as(context).label_resource(
            request.type, request.name, labels, message=request.message, request_id=request.request_id or None
        )
        return pb.LabelResponse(resource=wire.resource(resource))

    def Branch(self, request: pb.BranchRequest, context: grpc.ServicerContext) -> pb.BranchResponse:
        version = self._as(context).branch_resource(
            request.type,
            request.name,
            request.branch,
            version=request.version or None,
            message=request.message,
            request_id=request.request_id or None,
        )
        return pb.BranchResponse(version=wire.version(version))

    def Unbranch(self, request: pb.UnbranchRequest, context: grpc.ServicerContext) -> pb.UnbranchResponse:
        self._settle()
        self._as(context).unbranch_resource(
            request.type, request.name, request.branch, message=request.message, request_id=request.request_id or None
        )
        return pb.UnbranchResponse()

    def Merge(self, request: pb.MergeRequest, context: grpc.ServicerContext) -> Iterator[pb.MergeResponse]:
        manager = self._as(context)

        def work(report: OnProgress) -> Version:
            return manager.merge_resource(
                request.type,
                request.name,
                request.branch,
                bump=cast("Bump | None", request.bump or None),
                activate=request.activate,
                message=request.message,
                request_id=request.request_id or None,
                on_progress=report,
            )

        return self._streamed(work, pb.MergeResponse, context, f"merge {request.type}/{request.name}")
