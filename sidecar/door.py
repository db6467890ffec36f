"""The door: a Unix socket that passes the descriptors of sealed segments and whose connections are the leases.

The protocol is docs/format/door.md. One thread serves all connections; no call in it waits for a peer, the catalog or a
load, so that a slow or dead reader never delays another one.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import secrets
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Final, Protocol, Self

import structlog

from alluxio_lance.address import Address
from alluxio_lance.errors import AlluxioLanceError, Internal, InvalidArgument, NotFound, PermissionDenied
from alluxio_lance.layout import Layout
from alluxio_lance.lifecycle.uri import parse_name
from alluxio_lance.sidecar.connections import MOST_DESCRIPTORS, Connection, Gone, refuse_crowd
from alluxio_lance.sidecar.lease import Attachment
from alluxio_lance.sidecar.leases import Leases
from alluxio_lance.sidecar.open_calls import OpenCalls, Opened
from alluxio_lance.sidecar.open_packets import open_packets
from alluxio_lance.sidecar.peers import Peer, Peers
from alluxio_lance.sidecar.resident import Hold
from alluxio_lance.sidecar.window_calls import WindowCalls
from alluxio_lance.sidecar.window_packets import window_packets
from alluxio_lance.sidecar.windows import Asker, Stream

__all__ = ["Announced", "Announcements", "Door"]

_log = structlog.get_logger(__name__)

_PROTOCOL: Final = 1
_BACKLOG: Final = 1024
_AT_ONCE: Final = 64
"""Connections that are accepted before the others are attended to."""
_MOST_STRANGERS: Final = 64
"""Connections of users who may not connect that wait to be told so; further ones are closed without a word."""
_PAUSE: Final = 0.05
"""Seconds until the door tries again what the kernel refused for lack of descriptors."""
_NOT_HERE: Final[Mapping[str, Any]] = {"ok": True, "lease": None, "segments": [], "more": False}
"""The answer to an open that would have to wait: gRPC does it."""
_MOST_UNREAD: Final = 64
"""Layouts that wait for readers who do not read; while there are as many, opens go through gRPC."""
_SPARE: Final = 0.5
"""The share of this process' descriptors that connections may take; segments need the rest."""

Announced = tuple[str | None, int | None]
"""Semantic version and Lance version of the active version; both None when none is active."""


class Announcements(Protocol):
    """Who knows which version is active and hot."""

    def ask(self, type: str, name: str, answer: Callable[[Announced | AlluxioLanceError], None]) -> None:
        """Call ``answer`` from any thread with what `Door.announce` was told last of a resource; do not wait."""
        ...


class Door:
    """The server's side of the door.

    Parameters
    ----------
    address
        The run folder, which the caller has locked: a socket that lies there is a dead sidecar's.
    announcements
        Asked by subscribers.
    sees
        Raises when a process may not see a resource. Called in the thread that announcements answer in: it may wait.
    windows
        Makes the windows of versions that are read window by window.
    opens
        Opens versions that are hot.
    shared
        Let other users reach the socket.
    most_connections
        By default half of the descriptors that this process may have.
    """

    def __init__(
        self,
        address: Address,
        *,
        peers: Peers,
        leases: Leases,
        announcements: Announcements,
        sees: Callable[[Peer, str, str], None],
        windows: WindowCalls,
        opens: OpenCalls,
        instance: str,
        node: str,
        shared: bool = False,
        most_connections: int | None = None,
    ) -> None:
        self._address = address
        self._peers = peers
        self._leases = leases
        self._announcements = announcements
        self._sees = sees
        self._windows = windows
        self._opens = opens
        self._most = most_connections or int(resource.getrlimit(resource.RLIMIT_NOFILE)[0] * _SPARE)
        self._operations: dict[str, Callable[[Connection, Mapping[str, Any]], None]] = {
            "hello": self._say_hello,
            "open": self._open,
            "attach": self._attach,
            "detach": self._detach,
            "subscribe": self._subscribe,
            "window": self._window,
            "window_at_once": partial(self._window, at_once=True),
            "mapped": self._mapped,
            "release": self._release,
            "ahead": self._ahead,
        }
        self._hello = {
            "ok": True,
            "protocol": _PROTOCOL,
            "instance": instance,
            "node": node,
            "pid": os.getpid(),
            "ops": list(self._operations),
        }
        self._connections: dict[int, Connection] = {}
        self._subscribers: dict[tuple[str, str], set[Connection]] = {}
        self._crowded: set[Connection] = set()
        self._count = 0
        self._unread = 0
        """Opened versions whose packets are not all sent."""
        self._resume_at: float | None = None
        self._calls: deque[Callable[[], None]] = deque()
        self._ending = False
        self._deaf = False
        """Nothing that is posted now will be done."""
        self._last_words = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._bell, self._rope = socket.socketpair()
        self._bell.setblocking(False)
        self._rope.setblocking(False)
        self._listener = _listen(address, 0o666 if shared else 0o600)
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve, name="door", daemon=True)
        self._thread.start()

    # -- called from other threads ---------------------------------------------------------------------------------

    def announce(self, type: str, name: str, announced: Announced) -> None:
        """Tell the subscribers of a resource which version is active and hot."""
        self._post(lambda: self._tell(type, name, announced))

    def settle(self, timeout: float = 10.0) -> None:
        """Wait until everything that reached the door before this call is done: the ends of connections above all."""
        done = threading.Event()
        with self._last_words:
            if self._deaf:
                return
            self._post(done.set)
        done.wait(timeout)

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    def close(self) -> None:
        """Close all connections and remove the socket; a second call does nothing."""
        if self._ending:
            return
        self._ending = True
        self._ring()
        self._thread.join()
        self._address.door.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _post(self, call: Callable[[], None]) -> None:
        self._calls.append(call)
        self._ring()

    def _ring(self) -> None:
        try:
            self._rope.send(b"!")
        except BlockingIOError:
            return  # the bell rings already
        except OSError:
            return  # the door is closed: nobody is left to be told

    # -- the thread ------------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        try:
            while not self._ending:
                self._turn()
        finally:
            for connection in list(self._connections.values()):
                self._drop(connection)
            with self._last_words:
                self._deaf = True
            # Calls that still run wait in `settle`, and holds that came late have nobody else to let them go.
            while self._calls:
                self._calls.popleft()()
            for end in (self._listener, self._bell, self._rope):
                end.close()
            self._selector.close()

    def _turn(self) -> None:
        # Calls are taken before the look at the sockets and made after it: see `settle`.
        calls = [self._calls.popleft() for _ in range(len(self._calls))]
        for key, events in self._selector.select(0 if calls else self._patience()):
            if key.fileobj is self._bell:
                self._hush()
            elif key.fileobj is self._listener:
                self._accept()
            else:
                self._attend(key.data, events)
        for call in calls:
            call()
        self._try_again()

    def _patience(self) -> float | None:
        return _PAUSE if self._crowded or self._resume_at is not None else None

    def _hush(self) -> None:
        try:
            while self._bell.recv(4096):
                pass
        except BlockingIOError:
            return

    def _try_again(self) -> None:
        for connection in list(self._crowded):
            self._flush(connection)
        if self._resume_at is not None and time.monotonic() >= self._resume_at:
            self._resume_at = None
            self._selector.register(self._listener, selectors.EVENT_READ)

    # -- connections -----------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                channel = self._listener.accept()[0]
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    # The connection stays in the backlog; asking again at once would only spin.
                    self._selector.unregister(self._listener)
                    self._resume_at = time.monotonic() + _PAUSE
                    _log.warning("the door cannot accept a connection now", error=os.strerror(error.errno))
                    return
                continue  # the caller hung up before it was accepted
            self._count += 1
            connection = Connection(self._count, channel)
            if self._too_many_strangers(connection):
                connection.close()
                continue
            self._connections[connection.number] = connection
            self._selector.register(connection, selectors.EVENT_READ, connection)

    def _too_many_strangers(self, newcomer: Connection) -> bool:
        """Say whether to close a connection: those who never say hello must not leave nobody else any room."""
        if self._peers.serves(newcomer.uid):
            return False
        strangers = sum(not self._peers.serves(connection.uid) for connection in self._connections.values())
        return strangers >= _MOST_STRANGERS

    def _attend(self, connection: Connection, events: int) -> None:
        try:
            if events & selectors.EVENT_READ:
                # One request per turn, so that a busy client leaves room for the others.
                packet = connection.receive()
                if packet is not None:
                    self._answer(connection, packet)
        except Gone:
            self._drop(connection)
            return
        self._flush(connection)

    def _flush(self, connection: Connection) -> None:
        try:
            connection.flush()
        except Gone:
            self._drop(connection)
            return
        if connection.ending and not connection.unsent:
            self._drop(connection)
            return
        (self._crowded.add if connection.crowded else self._crowded.discard)(connection)
        wanted = selectors.EVENT_WRITE if connection.unsent and not connection.crowded else 0
        wanted |= selectors.EVENT_READ if connection.listening else 0
        self._watch(connection, wanted)

    def _watch(self, connection: Connection, wanted: int) -> None:
        watched = self._selector.get_map().get(connection)
        if watched is None:
            if wanted:
                self._selector.register(connection, wanted, connection)
        elif not wanted:
            self._selector.unregister(connection)
        elif watched.events != wanted:
            self._selector.modify(connection, wanted, connection)

    def _drop(self, connection: Connection) -> None:
        if self._connections.pop(connection.number, None) is None:
            return
        if connection in self._selector.get_map():
            self._selector.unregister(connection)
        self._crowded.discard(connection)
        if connection.subscription is not None:
            self._subscribers[connection.subscription].discard(connection)
        connection.close()
        session = None if connection.peer is None else connection.peer.session
        if session is not None:
            self._peers.leave(session)
        self._leases.disconnect(connection.number, session)
        self._windows.leave(connection.number)
        for _, release in connection.windows.values():
            release()
        connection.windows.clear()

    # -- requests --------------------------------------------------------------------------------------------------

    def _answer(self, connection: Connection, packet: bytes) -> None:
        try:
            request = json.loads(packet)
        except (ValueError, RecursionError) as error:
            raise Gone from error
        try:
            self._operation(connection, request)(connection, request)
        except AlluxioLanceError as error:
            connection.refuse(error)
        except Exception as error:  # noqa: BLE001 - a fault in one request must not end the connections of the others
            _log.exception("a request at the door failed")
            connection.refuse(error)

    def _operation(self, connection: Connection, request: Any) -> Callable[[Connection, Mapping[str, Any]], None]:
        if not isinstance(request, dict):
            raise InvalidArgument(f"a packet is a JSON object with an entry op, not a {type(request).__name__}")
        operation = self._operations.get(_text(request, "op"))
        if operation is None:
            raise InvalidArgument(
                f"the door knows no op {request['op'][:80]!r}; it knows {', '.join(self._operations)}"
            )
        if connection.peer is None and request["op"] != "hello":
            raise PermissionDenied('say {"op":"hello","protocol":1} first')
        return operation

    def _say_hello(self, connection: Connection, request: Mapping[str, Any]) -> None:
        if request.get("protocol") != _PROTOCOL:
            raise InvalidArgument(
                f"this sidecar speaks protocol {_PROTOCOL} of the door and not {str(request.get('protocol'))[:80]} - "
                "install the same version of alluxio-lance on both sides",
                protocol=_PROTOCOL,
            )
        if connection.peer is None:
            connection.ending = True
            if len(self._connections) > self._most:
                raise refuse_crowd(self._most)
            connection.peer = self._peers.enter(connection.pid, connection.uid)
            connection.ending = False
        connection.reply({**self._hello, "session": connection.peer.session})

    def _open(self, connection: Connection, request: Mapping[str, Any]) -> None:
        assert connection.peer is not None
        if connection.subscription is not None:
            # Its events would come between the packets.
            raise InvalidArgument("this connection has subscribed - open the version on another one")

        def answered(answer: Opened | BaseException | None) -> None:
            self._post(lambda: self._opened(connection, answer))

        uri, names = _text(request, "uri"), _names(request)
        if self._unread < _MOST_UNREAD and self._opens.open(connection.peer, uri, names, answered):
            connection.waiting = True
        else:
            connection.reply(_NOT_HERE)

    def _opened(self, connection: Connection, answer: Opened | BaseException | None) -> None:
        if connection.closed:
            if isinstance(answer, Opened):
                # Its lease came too late to end with the connection.
                self._leases.cancel(answer.token)
            return
        connection.waiting = False
        if isinstance(answer, BaseException):
            connection.refuse(answer)
        elif answer is None:
            connection.reply(_NOT_HERE)
        else:
            self._hand_over(connection, answer)
        self._flush(connection)

    def _hand_over(self, connection: Connection, opened: Opened) -> None:
        assert connection.peer is not None
        try:
            attachment = self._leases.attach(opened.token, connection.number, connection.peer)
        except AlluxioLanceError as error:
            # The sidecar is shutting down.
            connection.refuse(error)
            return

        def sent() -> None:
            self._unread -= 1
            attachment.sent()

        self._unread += 1
        for record, descriptors, last in open_packets(
            opened.token, opened.layout, _ids(attachment.layout), attachment.descriptors
        ):
            connection.reply(record, descriptors, sent if last else None)

    def _attach(self, connection: Connection, request: Mapping[str, Any]) -> None:
        assert connection.peer is not None
        attachment = self._leases.attach(_text(request, "lease"), connection.number, connection.peer)
        for record, descriptors, last in _pieces(attachment):
            connection.reply(record, descriptors, attachment.sent if last else None)

    def _detach(self, connection: Connection, request: Mapping[str, Any]) -> None:
        lease = _text(request, "lease")
        self._leases.detach(lease, connection.number)
        for id in [id for id, (of, _) in connection.windows.items() if of == lease]:
            connection.windows.pop(id)[1]()
        connection.reply({"ok": True})

    def _window(self, connection: Connection, request: Mapping[str, Any], *, at_once: bool = False) -> None:
        lease, stream, asker = self._reading(connection, request)
        answered = self._answering(connection, lease)
        self._windows.window(stream, _numbers(request), asker, answered, at_once=at_once)
        connection.waiting = True

    def _mapped(self, connection: Connection, request: Mapping[str, Any]) -> None:
        lease, stream, asker = self._reading(connection, request)
        self._windows.mapped(stream, asker, self._answering(connection, lease))
        connection.waiting = True

    def _answering(self, connection: Connection, lease: str) -> Callable[[Hold | BaseException], None]:
        return lambda answer: self._post(lambda: self._windowed(connection, lease, answer))

    def _windowed(self, connection: Connection, lease: str, answer: Hold | BaseException) -> None:
        if connection.closed:
            if isinstance(answer, Hold):
                answer.release()
            return
        connection.waiting = False
        if isinstance(answer, BaseException):
            connection.refuse(answer)
        else:
            id = secrets.token_hex(8)
            connection.windows[id] = lease, answer.release
            for record, descriptors in window_packets(id, answer.layout, answer.descriptors):
                connection.reply(record, descriptors)
        self._flush(connection)

    def _release(self, connection: Connection, request: Mapping[str, Any]) -> None:
        id = _text(request, "window")
        if id not in connection.windows:
            raise NotFound(f"this connection holds no window {id[:16]} - it was released before")
        connection.windows.pop(id)[1]()
        connection.reply({"ok": True})

    def _ahead(self, connection: Connection, request: Mapping[str, Any]) -> None:
        _, stream, asker = self._reading(connection, request)
        self._windows.ahead(stream, _numbers(request), asker, connection.number)
        connection.reply({"ok": True})

    def _reading(self, connection: Connection, request: Mapping[str, Any]) -> tuple[str, Stream, Asker]:
        """Find the stream that a request is about, and say who asks."""
        lease, peer = _text(request, "lease"), connection.peer
        assert peer is not None
        stream = self._leases.hold_of(lease, connection.number)
        if not isinstance(stream, Stream):
            raise InvalidArgument(f"the lease {lease[:8]}… was opened as a whole and has no windows")
        # All connections of a process that read one lease are one reader: it asks ahead on one and reads on others.
        asker = Asker(f"{lease}:{peer.pid}", peer.title, lambda: not connection.hung_up())
        return lease, stream, asker

    def _subscribe(self, connection: Connection, request: Mapping[str, Any]) -> None:
        if connection.subscription is not None or connection.waiting:
            raise InvalidArgument("this connection has subscribed already - open another one for another resource")
        name = parse_name(_text(request, "type"), _text(request, "name"))
        peer = connection.peer
        assert peer is not None
        connection.waiting = True

        def answered(answer: Announced | AlluxioLanceError) -> None:
            try:
                self._sees(peer, name.type, name.name)
            except AlluxioLanceError as error:
                answer = error
            except Exception:  # noqa: BLE001 - the thread that announces to all must not end with one question
                _log.exception("a subscription at the door failed")
                answer = Internal("whether this may be subscribed to could not be found out - see the sidecar's log")
            self._post(lambda: self._subscribed(connection, name.type, name.name, answer))

        self._announcements.ask(name.type, name.name, answered)

    def _subscribed(self, connection: Connection, type: str, name: str, answer: Announced | AlluxioLanceError) -> None:
        if connection.closed:
            return
        connection.waiting = False
        if isinstance(answer, AlluxioLanceError):
            connection.refuse(answer)
        else:
            connection.subscription = type, name
            connection.told = answer
            self._subscribers.setdefault((type, name), set()).add(connection)
            connection.reply({"ok": True, "active": answer[0], "version": answer[1]})
        self._flush(connection)

    def _tell(self, type: str, name: str, announced: Announced) -> None:
        for connection in list(self._subscribers.get((type, name), ())):
            # Who subscribed before the version was hot has heard of it already.
            if connection.told == announced:
                continue
            connection.told = announced
            connection.announce({"event": "activated", "semver": announced[0], "version": announced[1]})
            self._flush(connection)


def _text(request: Mapping[str, Any], key: str) -> str:
    value = request.get(key)
    if not isinstance(value, str):
        raise InvalidArgument(f"the packet needs an entry {key!r} with a text")
    return value


def _numbers(request: Mapping[str, Any]) -> list[int]:
    value = request.get("units")
    if not isinstance(value, list) or not all(isinstance(each, int) and not isinstance(each, bool) for each in value):
        raise InvalidArgument("the packet needs an entry 'units' with a list of numbers")
    return value


def _names(request: Mapping[str, Any]) -> list[str]:
    value = request.get("columns")
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise InvalidArgument("the packet needs an entry 'columns' with a list of texts")
    return value


def _ids(layout: Layout) -> list[int]:
    return [segment.id for column in layout.columns for segment in column.segments]


def _pieces(attachment: Attachment) -> Iterable[tuple[dict[str, Any], list[int], bool]]:
    """Cut the descriptors of a lease into packets; a lease without any is one packet all the same."""
    ids = _ids(attachment.layout)
    descriptors = list(attachment.descriptors)
    assert len(ids) == len(descriptors)
    for start in range(0, max(len(ids), 1), MOST_DESCRIPTORS):
        end = start + MOST_DESCRIPTORS
        more = end < len(ids)
        yield {"ok": True, "segments": ids[start:end], "more": more}, descriptors[start:end], not more


def _listen(address: Address, mode: int) -> socket.socket:
    address.door.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        listener.bind(str(address.door))
        address.door.chmod(mode)
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    listener.setblocking(False)
    return listener
