"""The manager of a sidecar: every verb of the face, over gRPC."""

from __future__ import annotations

import importlib
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, cast

import grpc
import pyarrow as pa

from alluxio_lance.address import Address
from alluxio_lance.client import wire
from alluxio_lance.client.channel import Channel
from alluxio_lance.client.upload import as_path, as_reader, ipc_chunks
from alluxio_lance.errors import InvalidArgument, Unavailable
from alluxio_lance.manager import Bump, Mode, OnProgress, ResourceManager
from alluxio_lance.structs import to_struct
from alluxio_lance.tables import LanceTable
from alluxio_lance.v1 import lifecycle_pb2 as pb
from alluxio_lance.values import Event, Resource, Version

__all__ = ["RemoteManager"]


class RemoteManager(ResourceManager):
    """A manager whose work is done by the sidecar of this node."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    @classmethod
    def open(cls, address: str | Address | None = None, *, timeout: float = 10.0) -> RemoteManager:
        """Connect to a sidecar; see `ResourceManager.connect`."""
        found = address if isinstance(address, Address) else Address.find(address)
        return cls(Channel.connect(found, timeout))

    # -- verbs -----------------------------------------------------------------------------------------------------

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
            request_id=request_id or uuid.uuid4().hex,
        )
        requests = _Requests(pb.UpdateRequest(header=header), lambda chunk: pb.UpdateRequest(chunk=chunk), reader)
        with self._channel.speaking() as stubs:
            return requests.send(stubs.lifecycle.Update, on_progress)

    def activate_resource(
        self, type: str, name: str, version: str, *, message: str = "", request_id: str | None = None
    ) -> Version:
        request = pb.ActivateRequest(
            type=type, name=name, version=version, message=message, request_id=request_id or ""
        )
        with self._channel.speaking() as stubs:
            return wire.version(stubs.lifecycle.Activate(request).version)

    def deprecate_resource(
        self, type: str, name: str, version: str, *, message: str = "", request_id: str | None = None
    ) -> Version:
        request = pb.DeprecateRequest(
            type=type, name=name, version=version, message=message, request_id=request_id or ""
        )
        with self._channel.speaking() as stubs:
            return wire.version(stubs.lifecycle.Deprecate(request).version)

    def rollback_resource(
        self, type: str, name: str, version: str | None = None, *, message: str = "", request_id: str | None = None
    ) -> Version:
        request = pb.RollbackRequest(
            type=type, name=name, version=version or "", message=message, request_id=request_id or ""
        )
        with self._channel.speaking() as stubs:
            return wire.version(stubs.lifecycle.Rollback(request).version)

    def delete_resource(self, type: str, name: str, *, message: str = "", request_id: str | None = None) -> None:
        request = pb.DeleteRequest(type=type, name=name, message=message, request_id=request_id or "")
        with self._channel.speaking() as stubs:
            stubs.lifecycle.Delete(request)

    # -- looking ---------------------------------------------------------------------------------------------------

    def get_resource(self, type: str, name: str, selector: str | None = None) -> LanceTable:
        request = pb.GetRequest(type=type, name=name, selector=selector or "")
        with self._channel.speaking() as stubs:
            return LanceTable(wire.version(stubs.lifecycle.Get(request).version), _open_lance)

    def list_resources(self, type: str | None = None) -> list[Resource]:
        with self._channel.speaking() as stubs:
            response = stubs.lifecycle.ListResources(pb.ListResourcesRequest(type=type or ""))
        return [wire.resource(resource) for resource in response.resources]

    def list_versions(self, type: str, name: str) -> list[Version]:
        with self._channel.speaking() as stubs:
            response = stubs.lifecycle.ListVersions(pb.ListVersionsRequest(type=type, name=name))
        return [wire.version(version) for version in response.versions]

    def history(self, type: str, name: str) -> list[Event]:
        with self._channel.speaking() as stubs:
            response = stubs.lifecycle.History(pb.HistoryRequest(type=type, name=name))
        return [wire.event(event) for event in response.events]

    def watch(self, after: int | None = None) -> Iterator[Event]:
        """Yield events for ever; closing the generator, or this manager, ends the watch.

        Raises
        ------
        Unavailable
            From the iterator, when the sidecar stops: start again after the last sequence seen.
        """
        with self._channel.speaking() as stubs:
            call = stubs.lifecycle.Watch(pb.WatchRequest(after=after))
            # Waits for the headers: from here on nothing is missed.
            call.initial_metadata()
        return self._events(call)

    def _events(self, call: Any) -> Iterator[Event]:
        try:
            with self._channel.speaking():
                for response in call:
                    yield wire.event(response.event)
                raise Unavailable("the sidecar ended the watch, since it stops - watch again later", what="sidecar")
        finally:
            call.cancel()

    # -- the end ---------------------------------------------------------------------------------------------------

    def close(self) -> None:
        self._channel.close()


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
        version = None
        try:
            for response in self._call:
                if response.WhichOneof("part") == "version":
                    version = wire.version(response.version)
                elif on_progress is not None:
                    on_progress(wire.progress(response.progress))
        except grpc.RpcError:
            if self._failure is not None:
                raise self._failure from None
            raise
        finally:
            self._call.cancel()
        if version is None:
            raise Unavailable(
                "the sidecar ended the call without a result - ask for the resource's history", what="sidecar"
            )
        return version

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


def _open_lance(version: Version) -> Any:
    try:
        lance = importlib.import_module("lance")
    except ModuleNotFoundError as error:
        raise Unavailable(
            f"plain Lance needs {error.name}: pip install 'alluxio-lance[server]'", what="pylance"
        ) from error
    return lance.dataset(version.location, version=version.version)
