"""The methods that bring data in: Register and Update."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc

from alluxio_lance.errors import InvalidArgument, PermissionDenied
from alluxio_lance.manager import OnProgress
from alluxio_lance.sidecar.peers import Peer
from alluxio_lance.sidecar.services.calls.base import Calls
from alluxio_lance.sidecar.services.guard import local_peer
from alluxio_lance.sidecar.services.upload import Upload
from alluxio_lance.structs import from_struct
from alluxio_lance.v1 import lifecycle_pb2 as pb
from alluxio_lance.values import Version

__all__ = ["DataCalls"]


class DataCalls(Calls):
    """Register and Update."""

    def Register(
        self, request_iterator: Iterator[pb.RegisterRequest], context: grpc.ServicerContext
    ) -> Iterator[pb.RegisterResponse]:
        header = _header(request_iterator)
        manager = self._as(context)
        data = _Data(header.source, request_iterator, local_peer(context))

        def work(report: OnProgress) -> Version:
            with data:
                return manager.register_resource(
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

        return self._streamed(work, pb.RegisterResponse, context, f"register {header.type}/{header.name}")

    def Update(
        self, request_iterator: Iterator[pb.UpdateRequest], context: grpc.ServicerContext
    ) -> Iterator[pb.UpdateResponse]:
        header = _header(request_iterator)
        source = header.source if header.HasField("source") else None
        manager = self._as(context)
        data = _Data(source, request_iterator, local_peer(context))

        def work(report: OnProgress) -> Version:
            with data:
                return manager.update_resource(
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
                    branch=header.branch or None,
                    format=header.source.format or None,
                    options=from_struct(header.source.options),
                    request_id=header.request_id or None,
                    on_progress=report,
                )

        return self._streamed(work, pb.UpdateResponse, context, f"update {header.type}/{header.name}")


def _header(requests: Iterator[Any]) -> Any:
    """Read the first message of a call with data."""
    first = next(requests, None)
    if first is None or first.WhichOneof("part") != "header":
        raise InvalidArgument("the first message of the call must be its header")
    return first.header


class _Data:
    """The data of a call: a path that the caller may have the sidecar read, or the chunks that follow the header."""

    def __init__(self, source: pb.Source | None, requests: Iterator[Any], peer: Peer | None) -> None:
        self._source = source
        self._upload = Upload(requests)
        if source is not None and source.WhichOneof("data") == "path":
            _check_path(peer)

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


def _check_path(peer: Peer | None) -> None:
    advice = "send the data as a stream: read them here, and give a pyarrow.RecordBatchReader instead of the path"
    if peer is None:
        raise PermissionDenied(f"the sidecar opens paths only for processes of its own node that it knows - {advice}")
    if not peer.trusted_with_paths:
        raise PermissionDenied(
            f"the sidecar runs as another user than {peer.user} and opens no paths for others - {advice}"
        )
