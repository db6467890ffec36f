"""What only looks: get, find, list, history, watch, storage."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from alluxio_lance.client import wire
from alluxio_lance.client.remote.base import Remote
from alluxio_lance.client.waiting import when_back
from alluxio_lance.codes import STATES
from alluxio_lance.errors import Unavailable
from alluxio_lance.manager import OnProgress
from alluxio_lance.tables import LanceTable
from alluxio_lance.upkeep import StorageReport, VersionStorage
from alluxio_lance.v1 import lifecycle_pb2 as pb
from alluxio_lance.values import Event, Resource, Version

__all__ = ["Looking"]


class Looking(Remote):
    """Get, find, list, history, watch, storage."""

    def get_resource(
        self,
        type: str,
        name: str,
        selector: str | None = None,
        *,
        wait: bool = False,
        on_progress: OnProgress | None = None,
    ) -> LanceTable:
        options: dict[str, str] = {}

        def ask(waited_for: str = "") -> Version:
            request = pb.GetRequest(type=type, name=name, selector=selector or "", waited_for=waited_for)
            with self._channel.speaking() as stubs:
                answer = stubs.lifecycle.Get(request)
            options.update(answer.storage_options)
            return wire.version(answer.version)

        def find() -> Version:
            return when_back(ask, on_progress) if wait else ask()

        return LanceTable(find(), lambda version: _open_lance(version, options, find), options)

    def find_version(self, type: str, name: str, selector: str | None = None) -> Version:
        request = pb.FindRequest(type=type, name=name, selector=selector or "")
        with self._channel.speaking() as stubs:
            return wire.version(stubs.lifecycle.Find(request).version)

    def list_resources(
        self,
        type: str | None = None,
        *,
        search: str | None = None,
        labels: Mapping[str, str] | None = None,
        deleted: bool = False,
    ) -> list[Resource]:
        request = pb.ListResourcesRequest(type=type or "", search=search or "", labels=labels, deleted=deleted)
        with self._channel.speaking() as stubs:
            pages = stubs.lifecycle.ListResources(request)
            return [wire.resource(resource) for page in pages for resource in page.resources]

    def list_versions(self, type: str, name: str, *, branch: str | None = None, deleted: bool = False) -> list[Version]:
        request = pb.ListVersionsRequest(type=type, name=name, branch=branch, deleted=deleted)
        with self._channel.speaking() as stubs:
            pages = stubs.lifecycle.ListVersions(request)
            return [wire.version(version) for page in pages for version in page.versions]

    def history(self, type: str, name: str) -> list[Event]:
        with self._channel.speaking() as stubs:
            pages = stubs.lifecycle.History(pb.HistoryRequest(type=type, name=name))
            return [wire.event(event) for page in pages for event in page.events]

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

    def storage(self, type: str, name: str) -> StorageReport:
        with self._channel.speaking() as stubs:
            response = stubs.lifecycle.Storage(pb.StorageRequest(type=type, name=name))
        return StorageReport(
            type=response.type,
            name=response.name,
            table_bytes=response.table_bytes,
            cold_bytes=response.cold_bytes,
            versions=tuple(_storage(version) for version in response.versions),
        )


def _storage(message: pb.VersionStorage) -> VersionStorage:
    return VersionStorage(
        semver=message.semver,
        branch=message.branch,
        state=STATES.value(message.state),
        hot_bytes=message.hot_bytes,
        unique_bytes=message.unique_bytes,
        shared_bytes=message.shared_bytes,
        cold_bytes=message.cold_bytes,
        cached_bytes=message.cached_bytes if message.HasField("cached_bytes") else None,
    )


def _open_lance(version: Version, options: Mapping[str, str], find: Callable[[], Version]) -> Any:
    try:
        lance = importlib.import_module("lance")
    except ModuleNotFoundError as error:
        raise Unavailable(
            f"plain Lance needs {error.name}: pip install 'alluxio-lance[server]'", what="pylance"
        ) from error
    try:
        return lance.dataset(version.location, version=version.version, storage_options=dict(options) or None)
    except (ValueError, OSError):
        # It may have gone to the cold tier, or for good, since the handle was made: the sidecar knows.
        find()
    try:
        return lance.dataset(version.location, version=version.version, storage_options=dict(options) or None)
    except (ValueError, OSError) as error:
        raise Unavailable(
            f"{version.uri} cannot be opened at {version.location} from this process ({error}) - read it through the "
            "sidecar",
            what="store",
        ) from error
