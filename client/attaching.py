"""The connections of a stream's reader: each holds the lease, and at most one window, so that none waits for another."""

from __future__ import annotations

import os
import threading
from typing import Final

from alluxio_lance.address import Address
from alluxio_lance.client.door import Door
from alluxio_lance.errors import Unavailable

__all__ = ["Connections"]

_ATTACH_SECONDS: Final = 10.0
_MOST_IDLE: Final = 4
"""Connections that are kept for the next windows."""


class _Turn:
    """A lock that a forked child has for itself: in the parent another thread may have held it at the fork."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        self.lock = threading.Lock()


_AFTER_FORK: Final = _Turn()
os.register_at_fork(after_in_child=_AFTER_FORK.renew)


class Connections:
    """Connections to the door that hold one lease; safe to use from several threads, and after a fork.

    Parameters
    ----------
    first
        A connection that has attached the lease already.
    """

    def __init__(self, address: Address, token: str, first: Door) -> None:
        self.address: Final = address
        self.token: Final = token
        self._closed = False
        self._adopt(first)

    def _adopt(self, first: Door) -> None:
        self._first = first
        self._idle: list[Door] = []
        # The collector may end a forgotten window, which gives its connection back, while this thread takes one.
        self._lock = threading.RLock()
        self._owner = os.getpid()

    @classmethod
    def attach(cls, address: Address, token: str) -> Connections:
        """Hold a lease that another process has opened.

        Raises
        ------
        NotFound
            When it has ended.
        Unavailable
            When the sidecar is gone.
        """
        return cls(address, token, _attached(address, token))

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    @property
    def hung_up(self) -> bool:
        """Whether the sidecar is gone."""
        return self._first.hung_up

    @property
    def first(self) -> Door:
        """The connection for requests that are answered at once."""
        self._settle()
        return self._first

    def take(self) -> Door:
        """Take a connection for a window; `give` it back, or close it."""
        self._settle()
        with self._lock:
            while self._idle:
                door = self._idle.pop()
                if not door.hung_up:
                    return door
                door.close()
        return _attached(self.address, self.token)

    def give(self, door: Door) -> None:
        """Give back a connection that holds no window any more."""
        with self._lock:
            if not self._closed and len(self._idle) < _MOST_IDLE and not door.hung_up:
                self._idle.append(door)
                return
        door.close()

    def close(self) -> None:
        """Close all but those that hold windows; a second call does nothing."""
        self._closed = True
        if self._owner != os.getpid():
            # A forked child that has read nothing: what it closes is its own end only.
            self._adopt(self._first)
        with self._lock:
            idle, self._idle = self._idle, []
        for door in (self._first, *idle):
            door.close()

    def _settle(self) -> None:
        """Make sure that this process has connections of its own."""
        if self._closed:
            raise Unavailable("the version was closed - open it again", what="lease")
        if self._owner == os.getpid():
            return
        with _AFTER_FORK.lock:
            if self._owner == os.getpid():
                return
            inherited = (self._first, *self._idle)
            self._adopt(_attached(self.address, self.token))
            for door in inherited:
                door.close()


def _attached(address: Address, token: str) -> Door:
    door = Door.connect(address, _ATTACH_SECONDS)
    try:
        # A stream has no descriptors.
        door.attach(token)
    except BaseException:
        door.close()
        raise
    return door
