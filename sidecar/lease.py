"""A lease: what it is made of, what residency gives for it, and where the catalog keeps it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from alluxio_lance.layout import Layout
from alluxio_lance.lifecycle.ports import Holder
from alluxio_lance.sidecar.peers import Peer
from alluxio_lance.values import Version

__all__ = ["Attachment", "Hold", "Lease", "LeaseRecords"]


class Hold(Protocol):
    """What residency gives for a lease: segments that stay until it is released."""

    @property
    def layout(self) -> Layout:
        """Where the bytes lie."""
        ...

    @property
    def descriptors(self) -> Sequence[int]:
        """The open memfds, in the order of the layout."""
        ...

    def release(self) -> None:
        """Let the segments go; called once."""
        ...


class LeaseRecords(Protocol):
    """The part of the catalog that keeps the leases of all nodes."""

    def hold(self, holder: Holder, ttl: float) -> None:
        """Record a lease."""
        ...

    def renew(self, ids: Sequence[str], ttl: float) -> None:
        """Let leases live on."""
        ...

    def release(self, ids: Sequence[str]) -> None:
        """End leases."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """What is known about one lease at one moment."""

    token: str
    version: Version
    peer: Peer
    connections: int
    """Connections of the door that hold it."""
    since: datetime


@dataclass(frozen=True, slots=True)
class Attachment:
    """The segments of an attached lease, kept until the door has sent their descriptors and calls ``sent``."""

    layout: Layout
    descriptors: Sequence[int]
    sent: Callable[[], None]
