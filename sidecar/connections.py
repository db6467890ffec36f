"""One connection to the door: packets with descriptors out, packets without them in, and never a blocking call."""

from __future__ import annotations

import array
import errno
import json
import os
import select
import socket
import struct
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from alluxio_lance.errors import AlluxioLanceError, Unavailable, to_wire
from alluxio_lance.sidecar.peers import Peer

__all__ = ["LARGEST_PACKET", "MOST_DESCRIPTORS", "Connection", "Gone"]

LARGEST_PACKET: Final = 64 << 10
MOST_DESCRIPTORS: Final = 128
_CREDENTIALS: Final = struct.Struct("3i")


class Gone(Exception):
    """The other end is closed, or did not keep to the protocol: close this end too."""


@dataclass(frozen=True, slots=True)
class _Packet:
    data: bytes
    descriptors: Sequence[int] = ()
    sent: Callable[[], None] | None = None
    """Called once: when it is sent, or when it never will be."""


class Connection:
    """The sidecar's end of a connection.

    What cannot be sent at once waits here: at most the reply to one request (the door reads no further request until
    it is sent) and the newest event (an older one that was not sent yet is out of date).
    """

    def __init__(self, number: int, channel: socket.socket) -> None:
        self.number = number
        self.peer: Peer | None = None
        self.subscription: tuple[str, str] | None = None
        self.told: object = None
        """What its subscription was told last, so that nothing is told twice."""
        self.windows: dict[str, tuple[str, Callable[[], None]]] = {}
        """The windows that it holds, by id: whose lease they are of, and what lets them go."""
        self.waiting = False
        """Whether the reply to its last request is still being made."""
        self.ending = False
        """Whether to close it as soon as its last reply is sent."""
        self.crowded = False
        """Whether the kernel refused to take more descriptors from this user for now."""
        self.pid, self.uid, _ = _CREDENTIALS.unpack(
            channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        )
        self._socket = channel
        self._replies: deque[_Packet] = deque()
        self._event: bytes | None = None
        channel.setblocking(False)

    def fileno(self) -> int:
        """The descriptor, for the selector."""
        return self._socket.fileno()

    @property
    def closed(self) -> bool:
        """Whether this end is closed."""
        return self._socket.fileno() < 0

    @property
    def unsent(self) -> bool:
        """Whether something waits for room in the socket."""
        return bool(self._replies) or self._event is not None

    @property
    def listening(self) -> bool:
        """Whether the next request may be read: the last one is answered."""
        return not self.waiting and not self._replies

    def hung_up(self) -> bool:
        """Whether the other end is closed, or this one; from any thread, also while nothing is read from it."""
        try:
            waiter = select.poll()
            waiter.register(self._socket, select.POLLRDHUP)
            return bool(waiter.poll(0))
        except (OSError, ValueError):
            # It was closed at this moment.
            return True

    def receive(self) -> bytes | None:
        """Read one packet; None when there is none.

        Raises
        ------
        Gone
            When the other end is closed, or the packet is too large.
        """
        try:
            # Without room for ancillary data the kernel closes descriptors that somebody sends.
            data, _, flags, _ = self._socket.recvmsg(LARGEST_PACKET)
        except BlockingIOError:
            return None
        except OSError as error:
            raise Gone from error
        if not data or flags & socket.MSG_TRUNC:
            raise Gone
        return data

    def reply(
        self, record: Mapping[str, Any], descriptors: Sequence[int] = (), sent: Callable[[], None] | None = None
    ) -> None:
        """Queue a reply; ``descriptors`` stay the caller's, who keeps them open until ``sent`` is called."""
        self._replies.append(_Packet(json.dumps(record).encode(), descriptors, sent))

    def refuse(self, error: BaseException) -> None:
        """Queue a refusal, in the same form as errors have in gRPC."""
        record = json.loads(to_wire(error))
        packet = json.dumps({"ok": False, "error": record}).encode()
        if len(packet) > LARGEST_PACKET:
            packet = json.dumps(
                {"ok": False, "error": {**record, "message": record["message"][:4096], "details": {}}}
            ).encode()
        self._replies.append(_Packet(packet))

    def announce(self, record: Mapping[str, Any]) -> None:
        """Queue an event in place of one that was not sent yet."""
        self._event = json.dumps(record).encode()

    def flush(self) -> None:
        """Send what the socket takes.

        Raises
        ------
        Gone
            When the other end is closed.
        """
        self.crowded = False
        try:
            while self._replies:
                self._send(self._replies[0])
                packet = self._replies.popleft()
                if packet.sent is not None:
                    packet.sent()
            if self._event is not None:
                self._send(_Packet(self._event))
                self._event = None
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ETOOMANYREFS:
                raise Gone from error
            self.crowded = True

    def _send(self, packet: _Packet) -> None:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", packet.descriptors))]
        self._socket.sendmsg([packet.data], rights if packet.descriptors else [], socket.MSG_NOSIGNAL)

    def close(self) -> None:
        """Close this end and forget what was not sent; a second call does nothing."""
        self._socket.close()
        while self._replies:
            packet = self._replies.popleft()
            if packet.sent is not None:
                packet.sent()


def refuse_crowd(limit: int) -> AlluxioLanceError:
    """Say that too many processes are connected."""
    return Unavailable(
        f"the door of process {os.getpid()} has {limit} connections and takes no more - close some readers, or raise "
        "`ulimit -n` of the sidecar",
        what="door",
        limit=limit,
    )
