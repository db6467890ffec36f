"""The verbs that bring data in: register and update."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, cast

import grpc
import pyarrow as pa

from alluxio_lance.client.remote.base import Remote, followed
from alluxio_lance.client.upload import as_path, as_reader, ipc_chunks
from alluxio_lance.errors import InvalidArgument
from alluxio_lance.manager import Bump, Mode, OnProgress
from alluxio_lance.structs import to_struct
from alluxio_lance.v1 import lifecycle_pb2 as pb
from alluxio_lance.values import Version

__all__ = ["DataVerbs"]


class DataVerbs(Remote):
    """Register and update."""

    def register_resource(
        self,
        type: str,
        name: str,
        data: Any,
        *,
        version: str | None = None,
        message: str = "",
        metadata: Mapping[str, Any] | None = None,
        provenance: Mapping[str, Any] | None = None,
        activate: bool = True,
        format: str | None = None,
        options: Mapping[str, Any] | None = None,
        request_id: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> Version:
        source, reader = _source(data, format, options)
        header = pb.RegisterHeader(
            type=type,
            name=name,
            source=source,
            version=version or "",
            message=message,
            metadata=to_struct("metadata", metadata),
            provenance=to_struct("provenance", provenance),
            activate=activate,
            request_id=request_id or uuid.uuid4().hex,
        )
        requests = _Requests(pb.RegisterRequest(header=header), lambda chunk: pb.RegisterRequest(chunk=chunk), reader)
        with self._channel.speaking() as stubs:
            return requests.send(stubs.lifecycle.Register, on_progress)

    def update_resource(
        self,
        type: str,
        name: str,
        data: Any = None,
        *,
        mode: Mode = "append",
        on: str | Sequence[str] | None = None,
        bump: Bump | None = None,
        version: str | None = None,
        message: str = "",
        metadata: Mapping[str, Any] | None = None,
        provenance: Mapping[str, Any] | None = None,
        activate: bool = True,
        branch: str | None = None,
        format: str | None = None,
        options: Mapping[str, Any] | None = None,
        request_id: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> Version:
        source, reader = (None, None) if data is None else _source(data, format, options)
        header = pb.UpdateHeader(
            type=type,
            name=name,
            source=source,
            mode=mode,
            on=[on] if isinstance(on, str) else on or (),
            bump=bump or "",
            version=version or "",
            message=message,
            metadata=None if metadata is None else to_struct("metadata", metadata),
            provenance=to_struct("provenance", provenance),
            activate=activate,
            branch=branch or "",
            request_id=request_id or uuid.uuid4().hex,
        )
        requests = _Requests(pb.UpdateRequest(header=header), lambda chunk: pb.UpdateRequest(chunk=chunk), reader)
        with self._channel.speaking() as stubs:
            return requests.send(stubs.lifecycle.Update, on_progress)


class _Requests:
    """A call with data: its header, then the chunks, taken as fast as the sidecar reads them."""

    def __init__(self, header: Any, wrap: Callable[[bytes], Any], reader: pa.RecordBatchReader | None) -> None:
        self._header = header
        self._wrap = wrap
        self._reader = reader
        self._failure: BaseException | None = None
        self._call: Any = None

    def send(self, method: Any, on_progress: OnProgress | None) -> Version:
        """Make the call and return the version at its end.

        An error of the data's own source is raised as it is; the sidecar then undoes the call.
        """
        self._call = method(self._messages())
        if self._failure is not None:
            self._call.cancel()
        try:
            return followed(self._call, on_progress)
        except grpc.RpcError:
            if self._failure is not None:
                raise self._failure from None
            raise

    def _messages(self) -> Iterator[Any]:
        """Yield the messages, in a thread of gRPC's."""
        yield self._header
        if self._reader is None:
            return
        chunks = cast("Any", ipc_chunks(self._reader))
        with closing(chunks):
            try:
                for chunk in chunks:
                    yield self._wrap(chunk)
            except pa.ArrowException as error:
                self._fail(InvalidArgument(f"the data cannot be read to their end: {error}"))
            except Exception as error:  # noqa: BLE001 - whatever the source raises is the caller's, in his thread
                self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self._failure = error
        if self._call is not None:
            self._call.cancel()


def _source(
    data: Any, format: str | None, options: Mapping[str, Any] | None
) -> tuple[pb.Source, pa.RecordBatchReader | None]:
    path = as_path(data)
    chosen, struct = format or "", to_struct("options", options)
    if path is not None:
        return pb.Source(path=path, format=chosen, options=struct), None
    if chosen or options:
        raise InvalidArgument(
            f"format and options are for paths, and a {type(data).__qualname__} is none - leave them out"
        )
    return pb.Source(stream=True), as_reader(data)
