"""The threads in which versions are opened for the door, so that its own thread never waits for the catalog.

What happens here is `Cache.Open` without its loads: whoever would have to wait for one is sent to gRPC.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Protocol, Self

import structlog

from alluxio_lance.errors import AlluxioLanceError, Restoring
from alluxio_lance.governance import Identity
from alluxio_lance.lifecycle.local import LocalManager
from alluxio_lance.lifecycle.rules import RuleSet
from alluxio_lance.sidecar.finding import find_version_for
from alluxio_lance.sidecar.leases import Leases
from alluxio_lance.sidecar.open_packets import layout_text
from alluxio_lance.sidecar.peers import Peer
from alluxio_lance.sidecar.residency import Residency
from alluxio_lance.values import State, Version

__all__ = ["Answer", "OpenCalls", "Opened"]

_log = structlog.get_logger(__name__)

_MOST: Final = 64
"""Opens at once; further ones are sent to gRPC, which has more threads and its own limit."""


class Identifies(Protocol):
    """Who tells who a process of this node is."""

    def user(self, user: str, uid: int, pid: int, *, rules: RuleSet | None = None) -> Identity:
        """Return who it is, by these rules."""
        ...


@dataclass(frozen=True, slots=True)
class Opened:
    """A lease that waits to be attached."""

    token: str
    layout: str
    """As it is sent."""


Answer = Callable[[Opened | BaseException | None], None]


class OpenCalls:
    """Opens what is hot.

    Parameters
    ----------
    manager
        Finds versions, and knows who may.
    opened
        Told which version somebody has just opened, after the answer.
    """

    def __init__(
        self,
        residency: Residency,
        leases: Leases,
        manager: LocalManager,
        authenticator: Identifies,
        opened: Callable[[Version], None],
    ) -> None:
        self._residency = residency
        self._leases = leases
        self._manager = manager
        self._authenticator = authenticator
        self._opened = opened
        self._room = threading.BoundedSemaphore(_MOST)
        self._threads = ThreadPoolExecutor(_MOST, "open")

    def open(self, peer: Peer, uri: str, columns: Sequence[str], answer: Answer) -> bool:
        """Open columns of a version, all without any named, and call ``answer`` from another thread.

        It gets the lease, None when something is not hot or not to be had without waiting, or why there is none.

        Returns
        -------
        bool
            False when there is no room for another call; then nobody is called.
        """
        if not self._room.acquire(blocking=False):
            return False

        def work() -> None:
            try:
                result, version = self._answered(peer, uri, columns)
            finally:
                self._room.release()
            answer(result)
            if version is not None:
                # Who waits for the answer goes first.
                self._opened(version)

        self._threads.submit(work)
        return True

    def _answered(
        self, peer: Peer, uri: str, columns: Sequence[str]
    ) -> tuple[Opened | BaseException | None, Version | None]:
        """Return the answer, and the version if there is a lease on it."""
        try:
            version = self._found(peer, uri)
            opened = self._open(peer, version, columns)
        except AlluxioLanceError as error:
            return error, None
        except Exception as error:  # noqa: BLE001 - whoever waits is told, whatever it was
            _log.exception("an open at the door failed", uri=uri)
            return error, None
        return opened, None if opened is None else version

    def _found(self, peer: Peer, uri: str) -> Version:
        def who(rules: RuleSet) -> Identity:
            return self._authenticator.user(peer.user, peer.uid, peer.pid, rules=rules)

        return find_version_for(self._manager, who, uri)

    def _open(self, peer: Peer, version: Version, columns: Sequence[str]) -> Opened | None:
        # Asked before the catalog hears of a lease: what must be loaded is opened in gRPC, with a lease of its own.
        if version.state is State.ARCHIVED or not self._residency.is_hot(version, columns):
            return None
        try:
            token = self._leases.reserve(peer, version)
        except Restoring:
            return None
        try:
            hold = self._residency.open_hot(version, columns, holder=peer.title)
        except BaseException:
            self._leases.cancel(token)
            raise
        if hold is None:
            # Evicted meanwhile.
            self._leases.cancel(token)
            return None
        self._leases.grant(token, hold)
        return Opened(token, layout_text(hold.layout))

    def close(self) -> None:
        """Wait for what is under way; a second call does nothing."""
        self._threads.shutdown(cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
