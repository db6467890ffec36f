"""A connection to the door: the Unix socket that passes file descriptors, and whose life is the lease's life.

The protocol is docs/format/door.md. Standard library only: every worker process of a DataLoader loads this file.
"""

from __future__ import annotations

import array
import json
import os
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from alluxio_lance.address import Address
from alluxio_lance.client.layouts import read_layout, read_segment
from alluxio_lance.errors import Internal, InvalidArgument, NoSpace, Unavailable, from_wire
from alluxio_lance.layout import ColumnKind, Layout, Segment

__all__ = ["Activated", "Door", "Opened", "Window"]

_PROTOCOL: Final = 1
_LARGEST_PACKET: Final = 64 << 10
_MOST_DESCRIPTORS: Final = 128
_HELLO: Final = {"op": "hello", "protocol": _PROTOCOL}
_CUT_SHORT: Final = socket.MSG_TRUNC | socket.MSG_CTRUNC


@dataclass(frozen=True, slots=True)
class Activated:
    """Which version of a subscribed resource is active now, and hot; both None when none is."""

    semver: str | None
    version: int | None


@dataclass(frozen=True, slots=True)
class Opened:
    """A version that was hot, and that the connection holds now."""

    lease: str
    layout: Layout
    descriptors: list[int]
    """One per segment, in the order of the layout; the caller must close them."""


@dataclass(frozen=True, slots=True)
class Window:
    """Units that are hot together, as the door hands them over."""

    id: str
    """What `Door.release` wants."""
    rows: int
    columns: Sequence[tuple[ColumnKind, int]]
    """Of each column of the lease how it is laid out in this window, and its nulls."""
    segments: Sequence[Segment]
    """Columns in order, units in order."""
    descriptors: list[int]
    """One per segment; the caller must close them."""


class Door:
    """One connection to the door of a node's sidecar.

    Safe to use from several threads. A forked child inherits the connection and thereby holds its leases, but only the
    process that connected may speak on it: two speakers would take each other's replies.
    """

    def __init__(self, connection: socket.socket, address: Address, hello: Mapping[str, Any]) -> None:
        self._socket = connection
        self._address = address
        self._hello = hello
        self._owner = os.getpid()
        self._turn = threading.Lock()
        self._subscribed = False

    @classmethod
    def connect(cls, address: Address, timeout: float = 10.0) -> Door:
        """Connect and say hello.

        Parameters
        ----------
        address
            The run folder of the sidecar.
        timeout
            Seconds to wait for the connection and for each later reply.

        Raises
        ------
        Unavailable
            When nobody answers; the message names the socket and the command that starts a sidecar.
        """
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            _dial(connection, address, timeout)
            hello, _ = _ask(connection, address, _HELLO)
        except BaseException:
            connection.close()
            raise
        return cls(connection, address, hello)

    @classmethod
    def connect_and_open(
        cls, address: Address, uri: str, columns: Sequence[str], make_room: Callable[[int], None], timeout: float = 10.0
    ) -> tuple[Door, Opened] | None:
        """Connect and `open`, with one wait less: the question is sent before the hello is answered.

        Arguments and errors as of `connect` and `open`, and None where that returns None; then nothing is connected.
        """
        request = _open_request(uri, columns)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            _dial(connection, address, timeout)
            make_room(_MOST_DESCRIPTORS)
            hello, is_asked = _greet(connection, address, json.dumps(request).encode())
            door = cls(connection, address, hello)
            opened = None
            if "open" in hello.get("ops", ()):
                opened = door._take(None, make_room) if is_asked else door.open(uri, columns, make_room)
        except BaseException:
            connection.close()
            raise
        if opened is None:
            connection.close()
            return None
        return door, opened

    @property
    def session(self) -> str:
        """The caller's proof of identity in gRPC, for as long as this connection stays open."""
        return str(self._hello["session"])

    @property
    def instance(self) -> str:
        """The run of the sidecar: another one after each of its starts."""
        return str(self._hello["instance"])

    @property
    def address(self) -> Address:
        """Where it is connected to."""
        return self._address

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._socket.fileno() < 0

    @property
    def hung_up(self) -> bool:
        """Whether the sidecar has closed its end, or we ours."""
        if self.closed:
            return True
        waiter = select.poll()
        waiter.register(self._socket, select.POLLRDHUP)
        return bool(waiter.poll(0))

    def open(self, uri: str, columns: Sequence[str], make_room: Callable[[int], None]) -> Opened | None:
        """Open columns of a version that are hot, all without any named, and hold the lease.

        Parameters
        ----------
        make_room
            Called with a number of descriptors before they come.

        Returns
        -------
        Opened or None
            None when something must be loaded or waited for first, or the sidecar is too old: ask it in gRPC.

        Raises
        ------
        InvalidURI, NotFound, NotActive, PermissionDenied
            What the sidecar says to the URI, as in gRPC.
        Unavailable
            When the sidecar is gone, or this process may not open as many files.
        """
        request = _open_request(uri, columns)
        # A longer request is gRPC's, too.
        if "open" not in self._hello.get("ops", ()) or len(json.dumps(request)) > _LARGEST_PACKET:
            return None
        make_room(_MOST_DESCRIPTORS)
        return self._take(request, make_room)

    def _take(self, request: Mapping[str, Any] | None, make_room: Callable[[int], None]) -> Opened | None:
        """Receive what `open` has asked for, or asks for now."""
        with self._speaking(), self._patient():
            pieces, received = self._collect(request, lambda first: make_room(first["descriptors"]))
            if pieces[0]["lease"] is None:
                return None
            try:
                return _opened(pieces, received, self._address)
            except BaseException:
                _close_all(received)
                self.close()
                raise

    def attach(self, lease: str) -> list[int]:
        """Hold a lease and receive the descriptors of its segments, which the caller must close.

        Returns
        -------
        list of int
            In the order of the layout: columns in order, shards in order. Closed on ``exec``.

        Raises
        ------
        NotFound
            When the lease has ended, or belongs to another run of the sidecar.
        Unavailable
            When the sidecar is gone.
        """
        with self._speaking():
            return self._collect({"op": "attach", "lease": lease})[1]

    def detach(self, lease: str) -> None:
        """Let a lease go that this connection holds."""
        with self._speaking():
            _ask(self._socket, self._address, {"op": "detach", "lease": lease})

    def window(self, lease: str, units: Sequence[int], *, at_once: bool = False) -> Window:
        """Hold units of a version that this connection has attached as a stream; waits until they are hot.

        The window is held until `release`, or until the connection ends.

        Parameters
        ----------
        at_once
            Not to wait for room, nor take any that another reader has a use for.

        Raises
        ------
        NotFound
            When the lease has ended, or the version is not served any more.
        NoSpace
            When they do not fit, or not at once.
        Corrupt, Unavailable
            When they cannot be loaded, or the sidecar is gone.
        """
        operation = "window_at_once" if at_once else "window"
        if at_once and operation not in self._hello.get("ops", ()):
            raise NoSpace("this sidecar is of a release that gives no window at once - ask for one, and wait")
        return self._window({"op": operation, "lease": lease, "units": list(units)})

    def mapped(self, lease: str) -> Window | None:
        """Hold all units of a version, in the order of their numbers, each mapped from the node's disk.

        Errors as of `window`.

        Returns
        -------
        Window or None
            None when this cannot be had now, or the sidecar is too old.
        """
        if "mapped" not in self._hello.get("ops", ()):
            return None
        try:
            return self._window({"op": "mapped", "lease": lease})
        except NoSpace:
            return None

    def _window(self, request: Mapping[str, Any]) -> Window:
        with self._speaking(), self._patient():
            pieces, received = self._collect(request)
            try:
                return _window(pieces, received)
            except BaseException:
                _close_all(received)
                self.close()
                raise

    def release(self, window: str) -> None:
        """Let a window go that this connection holds."""
        with self._speaking():
            _ask(self._socket, self._address, {"op": "release", "window": window})

    def ahead(self, lease: str, units: Sequence[int]) -> None:
        """Have units loaded in the background, as far as there is room; does not wait for them."""
        with self._speaking():
            _ask(self._socket, self._address, {"op": "ahead", "lease": lease, "units": list(units)})

    def subscribe(self, type: str, name: str) -> Activated:
        """Ask to be told when the active version of a resource changes, and return the one that is active now.

        From here on the connection takes no other request: read `events` or `poll`.
        """
        with self._speaking():
            reply, _ = _ask(self._socket, self._address, {"op": "subscribe", "type": type, "name": name})
            self._subscribed = True
            return Activated(reply["active"], reply["version"])

    def poll(self, timeout: float | None = None) -> Activated | None:
        """Wait for the next change.

        Parameters
        ----------
        timeout
            Seconds; None waits for ever.

        Returns
        -------
        Activated or None
            None when the time is over.

        Raises
        ------
        Unavailable
            When the sidecar is gone, or the connection was closed meanwhile.
        """
        if not _readable(self._socket, self._address, timeout):
            return None
        event, _ = _hear(self._socket, self._address)
        return Activated(event["semver"], event["version"])

    def events(self) -> Iterator[Activated]:
        """Yield the changes as they come, for ever.

        Raises
        ------
        Unavailable
            When the sidecar is gone, or the connection was closed meanwhile.
        """
        while True:
            event = self.poll()
            if event is not None:
                yield event

    def fileno(self) -> int:
        """The descriptor of the connection, for ``select``; -1 when closed."""
        return self._socket.fileno()

    def hang_up(self) -> None:
        """Wake a thread that waits in `poll`, for good, and keep the descriptor until `close`.

        A descriptor that is closed under a waiting thread may be another file's by the time that it wakes, and it would
        wait for that one. A connection that only holds leases stays as it is, since forked children may share it.
        """
        if self._subscribed and self._owner == os.getpid():
            # When another thread closes it at this moment there is nothing left to shut down.
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close this process' end; the leases end when no other process has inherited the connection.

        While another thread waits in `poll`, `hang_up` and wait for that thread first.
        """
        self.hang_up()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _patient(self) -> Iterator[None]:
        """Wait for the replies as long as they take; a sidecar that dies meanwhile is noticed at once."""
        patience = self._socket.gettimeout()
        self._socket.settimeout(None)
        try:
            yield
        finally:
            if not self.closed:
                self._socket.settimeout(patience)

    def _collect(
        self, request: Mapping[str, Any] | None, first: Callable[[Mapping[str, Any]], None] = lambda _: None
    ) -> tuple[list[dict[str, Any]], list[int]]:
        """Ask for what comes in several packets, and return these and all descriptors.

        Parameters
        ----------
        request
            None: it was sent already.
        first
            Shown the first packet before more of them are received.
        """
        pieces: list[dict[str, Any]] = []
        received: list[int] = []
        try:
            reply, descriptors = (
                _hear(self._socket, self._address) if request is None else _ask(self._socket, self._address, request)
            )
            while True:
                pieces.append(reply)
                received += descriptors
                if not _checked_piece(reply, descriptors)["more"]:
                    return pieces, received
                if len(pieces) == 1:
                    first(reply)
                reply, descriptors = _hear(self._socket, self._address)
        except BaseException:
            _close_all(received)
            if pieces:
                # The sidecar counts it as handed over, and the rest of it would be taken for the next reply.
                self.close()
            raise

    def _speaking(self) -> threading.Lock:
        if self._owner != os.getpid():
            raise Internal(
                f"process {os.getpid()} speaks on a connection to the door that process {self._owner} opened - "
                "connect anew after a fork"
            )
        if self._subscribed:
            raise Internal("this connection to the door has subscribed and takes no other request - connect another")
        if self.closed:
            raise Unavailable(
                f"the connection to {self._address.door} was closed - open the dataset again", what="door"
            )
        return self._turn


def _dial(connection: socket.socket, address: Address, timeout: float) -> None:
    # A non-blocking connect fails at once while the sidecar's backlog is full; a blocking one with SO_SNDTIMEO waits.
    seconds, microseconds = divmod(int(timeout * 1e6), 1_000_000)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", seconds, microseconds))
    try:
        connection.connect(str(address.door))
    except OSError as error:
        raise Unavailable(
            f"no sidecar answers at {address.door} ({error.strerror or error}) - start one with `alluxio-lance up`, "
            "or name its run folder in ALLUXIO_LANCE_ADDRESS",
            what="sidecar",
            address=str(address.run_folder),
        ) from error
    connection.settimeout(timeout)


def _gone(address: Address, why: str) -> Unavailable:
    return Unavailable(
        f"the sidecar at {address.door} {why} - see `alluxio-lance doctor`, or start it with `alluxio-lance up`",
        what="sidecar",
        address=str(address.run_folder),
    )


def _open_request(uri: str, columns: Sequence[str]) -> dict[str, Any]:
    return {"op": "open", "uri": uri, "columns": list(columns)}


def _greet(connection: socket.socket, address: Address, question: bytes) -> tuple[dict[str, Any], bool]:
    """Say hello with a question behind it, and return the answer to the hello and whether the question was asked."""
    _say(connection, address, json.dumps(_HELLO).encode())
    try:
        is_asked = len(question) <= _LARGEST_PACKET and connection.send(question) > 0
    except OSError:
        # The hello was refused already, and the answer to it says why.
        is_asked = False
    try:
        return _hear(connection, address)[0], is_asked
    except Unavailable as error:
        if not isinstance(error.__cause__, ConnectionResetError):
            raise
        # The sidecar has closed its end without a look at the question. What it said before that is still there.
        return _hear(connection, address)[0], is_asked


def _ask(connection: socket.socket, address: Address, request: Mapping[str, Any]) -> tuple[dict[str, Any], list[int]]:
    packet = json.dumps(request).encode()
    if len(packet) > _LARGEST_PACKET:
        raise InvalidArgument(
            f"a request to the door has {len(packet)} bytes and may have {_LARGEST_PACKET} - ask for fewer units at once"
        )
    _say(connection, address, packet)
    return _hear(connection, address)


def _say(connection: socket.socket, address: Address, packet: bytes) -> None:
    try:
        connection.send(packet)
    except TimeoutError as error:
        connection.close()
        raise _gone(address, "takes no request") from error
    except OSError as error:
        raise _gone(address, f"has gone ({error.strerror})") from error


def _hear(connection: socket.socket, address: Address) -> tuple[dict[str, Any], list[int]]:
    """Receive one packet; a refusal is raised, and its descriptors (there are none in a sane one) are closed."""
    try:
        # Not socket.recv_fds: it drops the flags it is given, and the descriptors would outlive an exec.
        data, ancillary, flags, _ = connection.recvmsg(
            _LARGEST_PACKET, socket.CMSG_LEN(_MOST_DESCRIPTORS * array.array("i").itemsize), socket.MSG_CMSG_CLOEXEC
        )
    except TimeoutError as error:
        # A late reply would be taken for the next one's.
        connection.close()
        raise _gone(address, "does not reply") from error
    except OSError as error:
        raise _gone(address, f"has gone ({error.strerror})") from error
    descriptors = _descriptors(ancillary)
    try:
        return _parsed(data, flags, address), descriptors
    except BaseException:
        _close_all(descriptors)
        if flags & _CUT_SHORT:
            # What the sidecar gave us with it stays ours until the connection ends, and more packets may follow.
            connection.close()
        raise


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    received = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            received.frombytes(data[: len(data) - len(data) % received.itemsize])
    return list(received)


def _parsed(data: bytes, flags: int, address: Address) -> dict[str, Any]:
    if not data:
        raise _gone(address, "has gone")
    if flags & _CUT_SHORT:
        raise Unavailable(
            f"a packet from {address.door} was cut short - this process may have no free descriptors; raise `ulimit -n`",
            what="descriptors",
        )
    try:
        packet = json.loads(data)
        refused = packet.get("ok") is False
        error = from_wire(json.dumps(packet["error"]).encode()) if refused else None
    except (ValueError, KeyError, TypeError, AttributeError) as fault:
        raise Internal(f"the sidecar at {address.door} sent {data[:80]!r}, which is no packet of the door") from fault
    if error is not None:
        raise error
    assert isinstance(packet, dict)
    return packet


def _checked_piece(reply: dict[str, Any], descriptors: list[int]) -> dict[str, Any]:
    if len(reply["segments"]) != len(descriptors):
        raise Unavailable(
            f"the door announced {len(reply['segments'])} descriptors and {len(descriptors)} came - this process may "
            "have no free descriptors; raise `ulimit -n`",
            what="descriptors",
        )
    return reply


def _opened(pieces: Sequence[dict[str, Any]], descriptors: list[int], address: Address) -> Opened:
    try:
        return Opened(pieces[0]["lease"], read_layout("".join(piece["layout"] for piece in pieces)), descriptors)
    except (ValueError, KeyError, TypeError) as error:
        raise Internal(f"the sidecar at {address.door} sent a version without a layout - please report it") from error


def _window(pieces: Sequence[dict[str, Any]], descriptors: list[int]) -> Window:
    columns = [(ColumnKind(kind), int(nulls)) for piece in pieces for kind, nulls in piece["columns"]]
    segments = [read_segment(*record) for piece in pieces for record in piece["segments"]]
    return Window(pieces[0]["window"], pieces[0]["rows"], columns, segments, descriptors)


def _readable(connection: socket.socket, address: Address, timeout: float | None) -> bool:
    if connection.fileno() < 0:
        raise _gone(address, "is no longer listened to: the connection was closed")
    waiter = select.poll()
    waiter.register(connection, select.POLLIN)
    return bool(waiter.poll(None if timeout is None else timeout * 1000))


def _close_all(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
