"""The leases of a node: who reads which version, from `Cache.Open` until the last connection of the reader closes.

A lease lives in three places: here, in residency (which keeps the segments), and in the catalog (which keeps every node
from deleting the version). The catalog hears of it first and forgets it last.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, Self

import structlog

from alluxio_lance.errors import AlluxioLanceError, NotFound, PermissionDenied, Restoring, Unavailable
from alluxio_lance.lifecycle.ports import Holder
from alluxio_lance.sidecar.lease import Attachment, Hold, Lease, LeaseRecords
from alluxio_lance.sidecar.peers import Peer
from alluxio_lance.values import Version

__all__ = ["Leases", "mark"]

_log = structlog.get_logger(__name__)

_MARK: Final = 8
_TICK: Final = 0.5
"""Seconds between two looks at leases that nobody has attached."""


@dataclass(slots=True, eq=False)
class _Entry:
    token: str
    peer: Peer
    version: Version
    since: datetime
    hold: Hold | None = None
    deadline: float | None = None
    """When it ends unless somebody attaches it; None while its version is loaded, and while it is attached."""
    connections: set[int] = field(default_factory=set)
    pins: int = 0
    """Packets with its descriptors that are still under way."""
    ended: bool = False


class Leases:
    """All leases that this instance of the sidecar has given.

    Parameters
    ----------
    records
        The catalog.
    node
        The name that the catalog knows this node by.
    instance
        32 hexadecimal digits, another one at each start of a sidecar.
    ttl
        Seconds that the catalog keeps a lease of a sidecar that has died; renewed every third of it.
    pending
        Seconds that a lease waits for a connection to attach it.
    clock
        Monotonic seconds.
    """

    def __init__(
        self,
        records: LeaseRecords,
        *,
        node: str,
        instance: str,
        ttl: float = 15.0,
        pending: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._records = records
        self._node = node
        self._mark = mark(instance)
        self._ttl = ttl
        self._pending = pending
        self._clock = clock
        self._entries: dict[str, _Entry] = {}
        self._unrecorded: list[str] = []
        """Ended here, and the catalog does not know yet."""
        self._busy = False
        self._closed = False
        self._changed = threading.Condition()
        self._keeper = threading.Thread(target=self._keep, name="leases", daemon=True)
        self._keeper.start()

    # -- the life of one lease -------------------------------------------------------------------------------------

    def reserve(self, peer: Peer, version: Version) -> str:
        """Begin a lease and tell the catalog, before any data are loaded or handed out.

        Returns
        -------
        str
            The token, 32 hexadecimal digits.

        Raises
        ------
        NotFound
            When the version is gone or deleted.
        Restoring
            When it is in the cold tier, or on its way there.
        Unavailable
            When the sidecar is shutting down.
        """
        self._check_open()
        token = secrets.token_hex(16)[: -len(self._mark)] + self._mark
        entry = _Entry(token, peer, version, datetime.now(UTC))
        self._records.hold(_holder(entry, self._node), self._ttl)
        with self._changed:
            if not self._closed:
                if not self._entries:
                    # With leases the keeper looks at them every tick, without any it sleeps.
                    self._changed.notify_all()
                self._entries[token] = entry
                return token
        # Nobody is left to tell the catalog of its end.
        self._records.release([token])
        raise _shutting_down()

    def grant(self, token: str, hold: Hold) -> None:
        """Give a reserved lease its segments; from now on it waits for a connection.

        Raises
        ------
        NotFound
            When the lease has ended meanwhile; the segments are let go.
        """
        with self._changed:
            entry = self._entries.get(token)
            if entry is not None:
                entry.hold = hold
                entry.deadline = self._clock() + self._pending
                return
        hold.release()
        raise _ended(token)

    def renew(self, token: str, peer: Peer) -> None:
        """Let a lease that nobody has attached yet wait as long again."""
        with self._changed:
            entry = self._find(token, peer)
            if entry.deadline is not None:
                entry.deadline = self._clock() + self._pending

    def held(self, token: str, peer: Peer) -> Version:
        """Return the version that a lease is on.

        Raises
        ------
        NotFound
            When it has ended, or belongs to another instance of the sidecar.
        PermissionDenied
            When it belongs to another user.
        """
        with self._changed:
            return self._find(token, peer).version

    def end(self, token: str, peer: Peer) -> None:
        """End a lease early, and do not return before the catalog knows."""
        with self._changed:
            entry = self._find(token, peer)
            released = self._end([entry])
        _release(released)
        self.settle()

    def cancel(self, token: str) -> None:
        """End a reserved lease whose version could not be loaded."""
        with self._changed:
            entry = self._entries.get(token)
            released = self._end([entry] if entry else [])
        _release(released)

    def attach(self, token: str, connection: int, peer: Peer) -> Attachment:
        """Let a connection hold a lease.

        Raises
        ------
        NotFound
            When it has ended, or belongs to another instance of the sidecar.
        PermissionDenied
            When it belongs to another user.
        """
        with self._changed:
            entry = self._find(token, peer)
            if entry.hold is None:
                raise _ended(token)
            entry.connections.add(connection)
            entry.deadline = None
            entry.pins += 1
            return Attachment(entry.hold.layout, entry.hold.descriptors, lambda: self._unpin(entry))

    def hold_of(self, token: str, connection: int) -> Hold:
        """Return what a lease holds that a connection has attached.

        Raises
        ------
        NotFound
            When the connection does not hold it.
        """
        with self._changed:
            entry = self._entries.get(token)
            if entry is None or connection not in entry.connections or entry.hold is None:
                raise NotFound(f"this connection holds no lease {token[:8]}… - attach it first")
            return entry.hold

    def detach(self, token: str, connection: int) -> None:
        """Let a connection go of a lease; the last one ends it.

        Raises
        ------
        NotFound
            When the connection does not hold it.
        """
        with self._changed:
            entry = self._entries.get(token)
            if entry is None or connection not in entry.connections:
                raise NotFound(f"this connection holds no lease {token[:8]}… - it was detached or ended before")
            released = self._leave([entry], connection)
        _release(released)

    def disconnect(self, connection: int, session: str | None = None) -> None:
        """Take a closed connection away from all leases that it held.

        Parameters
        ----------
        session
            The session that ended with it: leases that were opened in it and that nobody holds yet end now. Whoever
            should have attached them has died.
        """
        with self._changed:
            left = [
                entry
                for entry in self._entries.values()
                if connection in entry.connections or (entry.peer.session == session and not entry.connections)
            ]
            released = self._leave(left, connection)
        _release(released)

    # -- looking ---------------------------------------------------------------------------------------------------

    def current(self) -> tuple[Lease, ...]:
        """List the leases, oldest first."""
        with self._changed:
            return tuple(
                Lease(
                    token=entry.token,
                    version=entry.version,
                    peer=entry.peer,
                    connections=len(entry.connections),
                    since=entry.since,
                )
                for entry in self._entries.values()
            )

    def expire(self) -> None:
        """End the leases that nobody has attached in time."""
        with self._changed:
            now = self._clock()
            late = [e for e in self._entries.values() if e.deadline is not None and e.deadline <= now]
            released = self._end(late)
        _release(released)

    def settle(self, timeout: float = 10.0) -> None:
        """Wait until the catalog knows of every lease that has ended, but not longer than ``timeout`` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: not self._unrecorded and not self._busy, timeout)

    # -- the end ---------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End all leases, here and in the catalog; a second call does nothing."""
        with self._changed:
            released = self._end(list(self._entries.values()))
            self._closed = True
            self._changed.notify_all()
        _release(released)
        self._keeper.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise _shutting_down()

    # -- inside, under the lock ------------------------------------------------------------------------------------

    def _find(self, token: str, peer: Peer) -> _Entry:
        entry = self._entries.get(token)
        if entry is None:
            raise _ended(token)
        if not peer.may_touch(entry.peer.uid):
            raise PermissionDenied(f"the lease {token[:8]}… belongs to {entry.peer.user} - open the version yourself")
        return entry

    def _leave(self, entries: Iterable[_Entry], connection: int) -> list[Hold]:
        empty = []
        for entry in entries:
            entry.connections.discard(connection)
            if not entry.connections:
                empty.append(entry)
        return self._end(empty)

    def _end(self, entries: Iterable[_Entry]) -> list[Hold]:
        """End leases and return the holds to release, which happens outside the lock."""
        released = []
        for entry in entries:
            del self._entries[entry.token]
            entry.ended = True
            self._unrecorded.append(entry.token)
            if entry.hold is not None and entry.pins == 0:
                released.append(entry.hold)
        self._changed.notify_all()
        return released

    def _unpin(self, entry: _Entry) -> None:
        with self._changed:
            entry.pins -= 1
            last = entry.ended and entry.pins == 0 and entry.hold is not None
        if last:
            assert entry.hold is not None
            entry.hold.release()

    # -- the keeper's thread ---------------------------------------------------------------------------------------

    def _keep(self) -> None:
        tried = renewed = self._clock()
        while self._wait():
            self.expire()
            self._record_ends()
            now = self._clock()
            if now - tried >= self._ttl / 3:
                tried = now
                if self._renew_all(expired=now - renewed >= self._ttl, until=renewed + self._ttl):
                    renewed = now
        self._record_ends()

    def _wait(self) -> bool:
        with self._changed:
            if not self._closed and not self._unrecorded:
                # Without a lease there is nothing to renew or to expire.
                self._changed.wait(min(_TICK, self._ttl / 3) if self._entries else None)
            return not self._closed

    def _record_ends(self) -> None:
        with self._changed:
            ended, self._unrecorded = self._unrecorded, []
            self._busy = bool(ended)
        try:
            if ended:
                self._records.release(ended)
        except AlluxioLanceError as error:
            # Nothing is lost: without renewal the catalog forgets them when their time is over.
            _log.warning("the catalog was not told that leases ended; they expire there", error=error.message)
        finally:
            with self._changed:
                self._busy = False
                self._changed.notify_all()

    def _renew_all(self, *, expired: bool, until: float) -> bool:
        """Renew the leases, or record them anew; returns whether the catalog knows all of them now.

        Parameters
        ----------
        expired
            The catalog may have forgotten them: it was told nothing for longer than they live.
        until
            When it may have forgotten those that are not renewed by then.
        """
        with self._changed:
            entries = list(self._entries.values())
        if not entries:
            return True
        try:
            if expired:
                self._hold_again(entries)
                return True
            self._records.renew([entry.token for entry in entries], self._ttl)
        except AlluxioLanceError as error:
            _log.warning("leases could not be renewed in the catalog; trying again", error=error.message)
            return False
        # One that came late may have found nothing to renew.
        return self._clock() < until

    def _hold_again(self, entries: Iterable[_Entry]) -> None:
        """Record leases anew: this process stood still, or the catalog did not answer, and may have forgotten them."""
        for entry in entries:
            try:
                self._records.hold(_holder(entry, self._node), self._ttl)
            except (NotFound, Restoring) as error:
                _log.warning(
                    "a version was deleted or archived under a reader whose lease had expired", error=error.message
                )


def mark(instance: str) -> str:
    """Return what each token of an instance ends with, so that the next instance knows its leftovers."""
    return instance[:_MARK]


def _holder(entry: _Entry, node: str) -> Holder:
    return Holder(
        id=entry.token,
        type=entry.version.type,
        name=entry.version.name,
        semver=entry.version.semver,
        node=node,
        pid=entry.peer.pid,
        user=entry.peer.user,
        command=entry.peer.command,
        since=entry.since,
    )


def _shutting_down() -> Unavailable:
    return Unavailable("the sidecar is shutting down - open the version again when it is back", what="sidecar")


def _ended(token: str) -> NotFound:
    return NotFound(
        f"there is no lease {token[:8]}…: it has ended, or an earlier run of the sidecar gave it - open the version "
        "again",
        lease=token[:8],
    )


def _release(holds: Iterable[Hold]) -> None:
    for hold in holds:
        hold.release()
