"""The shared memory of this node, seen through its sidecar: what is hot, who reads it, make hot, drop, watch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from alluxio_lance.address import Address
from alluxio_lance.client import wire
from alluxio_lance.client.channel import Channel
from alluxio_lance.client.statistics import CacheStatistics, read_statistics
from alluxio_lance.errors import Unavailable
from alluxio_lance.v1 import cache_pb2 as pb
from alluxio_lance.values import Progress

__all__ = ["CacheEvent", "RemoteCache"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheEvent:
    """Something happened to a version in shared memory."""

    event: str
    """``loading``, ``hot``, ``evicted`` or ``failed``."""
    type: str
    name: str
    semver: str
    version: int
    message: str
    """Why it failed, when it did."""


class RemoteCache:
    """The cache of a sidecar."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    @classmethod
    def connect(cls, address: str | Address | None = None, *, timeout: float = 10.0) -> RemoteCache:
        """Talk to a sidecar.

        Parameters
        ----------
        address
            ``unix:/path/to/grpc.sock``; by default ``ALLUXIO_LANCE_ADDRESS``, else the socket in the run folder.
        timeout
            Seconds to wait for the sidecar to answer at all.

        Raises
        ------
        Unavailable
            When no sidecar answers.
        """
        found = address if isinstance(address, Address) else Address.find(address)
        return cls(Channel.connect(found, timeout))

    def prefetch(self, uri: str, columns: Sequence[str] = (), *, wait: bool = False) -> Iterator[Progress]:
        """Make a version hot and yield how far it is; the last one has all rows.

        Parameters
        ----------
        wait
            When it is in the cold tier: wait until it is back, and yield how far that is, too.

        Raises
        ------
        Restoring
            When it is in the cold tier and ``wait`` is off: its restore is under way.
        NoSpace
            When it does not fit, with ``budget`` and ``need``.
        NotFound
            When there is no such version or column.
        """
        with self._channel.speaking() as stubs:
            call = stubs.cache.Prefetch(pb.PrefetchRequest(uri=uri, columns=columns, wait=wait))
            try:
                for response in call:
                    yield wire.progress(response.progress)
            finally:
                call.cancel()

    def evict(self, uri: str) -> int:
        """Drop a version from shared memory and return the bytes that are free again.

        Raises
        ------
        Leased
            While somebody reads it; ``details["holders"]`` names them.
        """
        with self._channel.speaking() as stubs:
            return stubs.cache.Evict(pb.EvictRequest(uri=uri)).freed_bytes

    def statistics(self) -> CacheStatistics:
        """Tell what is hot, who reads it and what it costs."""
        with self._channel.speaking() as stubs:
            response = stubs.cache.Statistics(pb.StatisticsRequest())
        return read_statistics(response)

    def watch(self) -> Iterator[CacheEvent]:
        """Yield first what is hot now, then what happens, for ever.

        Raises
        ------
        Unavailable
            From the iterator, when the sidecar stops.
        """
        with self._channel.speaking() as stubs:
            call = stubs.cache.Watch(pb.CacheWatchRequest())
            call.initial_metadata()
        return self._events(call)

    def _events(self, call: Any) -> Iterator[CacheEvent]:
        try:
            with self._channel.speaking():
                for response in call:
                    yield _event(response)
                raise Unavailable("the sidecar ended the watch, since it stops - watch again later", what="sidecar")
        finally:
            call.cancel()

    def close(self) -> None:
        """Close the connection; a second call does nothing."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _event(message: pb.CacheWatchResponse) -> CacheEvent:
    return CacheEvent(
        event=message.event,
        type=message.type,
        name=message.name,
        semver=message.semver,
        version=message.version,
        message=message.message,
    )
