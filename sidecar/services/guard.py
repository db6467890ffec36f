"""The interceptor before every call: whose call it is, whether there is room for it, and how its errors travel."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol
from urllib.parse import unquote
from weakref import WeakKeyDictionary

import grpc
import structlog

from alluxio_lance.errors import AlluxioLanceError, InvalidArgument, PermissionDenied, Unavailable, to_wire
from alluxio_lance.governance import Identity
from alluxio_lance.sidecar.peers import Peer, Peers

__all__ = ["ERROR_KEY", "LONGEST_METADATA", "SESSION_KEY", "Authenticates", "Guard", "caller", "identity", "local_peer"]

_log = structlog.get_logger(__name__)

SESSION_KEY: Final = "alluxio-lance-session"
ERROR_KEY: Final = "alluxio-lance-error-bin"
LONGEST_METADATA: Final = 256 << 10
"""Bytes of metadata that both ends accept; an error with longer details travels without them."""
_AUTHORIZATION: Final = "authorization"
_LONGEST_ERROR: Final = LONGEST_METADATA // 2
_LONGEST_STATUS: Final = 1024
"""Characters of the sentence in the plain gRPC status, for foreign clients; ours read the error entry."""
_OPEN_TO_ALL: Final = ("/grpc.health.", "/grpc.reflection.")
_FROM_AFAR: Final = ("/alluxio_lance.v1.Lifecycle/", "/alluxio_lance.v1.Governance/")
"""What works without the door."""
_LONG: Final = frozenset(
    {
        *(
            "Register",
            "Update",
            "Archive",
            "Restore",
            "Promote",
            "Merge",
            "Delete",
            "Purge",
            "RunPolicies",
            "Reconcile",
        ),
        *("ApprovePromotion", "Alert", "Watch", "Open", "Prefetch", "Select", "Warm"),
    }
)
"""Calls that may take long: they may not take all threads."""
_PATIENT: Final = frozenset({"Watch"})
"""Calls that only look and last: who sees must still be allowed to."""
_RENEWED: Final = 0.5
"""Seconds after which a lasting call has to prove again who it is."""


class Authenticates(Protocol):
    """Who tells who a caller is."""

    def user(self, user: str, uid: int, pid: int) -> Identity:
        """Return who a process of this node is."""
        ...

    def bearer(self, header: str, origin: str) -> Identity:
        """Return who sends an authorization header."""
        ...


@dataclass(frozen=True, slots=True)
class _Caller:
    identity: Identity
    peer: Peer | None
    renew: Callable[[grpc.ServicerContext], _Caller] | None = None
    """Finds out anew, for a lasting call."""
    since: float = 0.0
    """When that was done last, by the monotonic clock."""


_CALLERS: Final[WeakKeyDictionary[grpc.ServicerContext, _Caller]] = WeakKeyDictionary()
"""By the call's context, so that any thread that works for the call can ask."""


def identity(context: grpc.ServicerContext) -> Identity:
    """Return who makes a call: the bearer of its token, else the user of the process.

    In a lasting call that is found out anew again and again, since roles are taken away and tokens revoked meanwhile.

    Raises
    ------
    PermissionDenied
        When the call did not come through the `Guard`, or its token does not hold any more.
    """
    found = _CALLERS.get(context)
    if found is None:
        raise PermissionDenied("nobody knows who makes this call: it did not come through the guard")
    if found.renew is not None and time.monotonic() - found.since >= _RENEWED:
        found = _CALLERS[context] = found.renew(context)
    return found.identity


def local_peer(context: grpc.ServicerContext) -> Peer | None:
    """Return the process of this node that makes a call; None when it comes over the network, or only with a token."""
    found = _CALLERS.get(context)
    return None if found is None else found.peer


def caller(context: grpc.ServicerContext, peers: Peers) -> Peer:
    """Return the process that makes a call, for what only a process of this node can do.

    Raises
    ------
    PermissionDenied
        When it has not said hello at the door.
    """
    session = _entry(context, SESSION_KEY) if _is_local(context) else None
    return peers.find(session)


class Guard(grpc.ServerInterceptor):
    """Lets known callers in and sends errors home.

    Parameters
    ----------
    peers
        The sessions.
    most_long
        How many long calls may run at once.
    authenticator
        Who tells who a caller is.
    """

    def __init__(self, peers: Peers, most_long: int, authenticator: Authenticates) -> None:
        self._peers = peers
        self._most_long = most_long
        self._authenticator = authenticator
        self._room = threading.Semaphore(most_long)

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler[Any, Any] | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Wrap a handler."""
        handler = continuation(handler_call_details)
        method = str(handler_call_details.method)
        if handler is None or method.startswith(_OPEN_TO_ALL):
            return handler
        return self._wrapped(handler, method)

    def _wrapped(self, handler: Any, method: str) -> grpc.RpcMethodHandler[Any, Any]:
        behaviour = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
        name = method.rpartition("/")[2]

        def one(request: Any, context: grpc.ServicerContext) -> Any:
            with self._watched(context, method):
                return behaviour(request, context)

        def many(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            with self._watched(context, method):
                items = behaviour(request, context)
                yield from _renewing(items, context) if name in _PATIENT else items

        make = _MAKERS[handler.request_streaming, handler.response_streaming]
        return make(
            many if handler.response_streaming else one,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    @contextmanager
    def _watched(self, context: grpc.ServicerContext, method: str) -> Iterator[None]:
        try:
            patient = method.rpartition("/")[2] in _PATIENT
            _CALLERS[context] = self._lasting(context) if patient else self._identified(context)
            if not _is_local(context) and not method.startswith(_FROM_AFAR):
                raise _needs_door(method)
            with self._admitted(long=method.rpartition("/")[2] in _LONG):
                yield
        except AlluxioLanceError as error:
            _send(context, error)
        except Exception as error:  # noqa: BLE001 - a fault in one call must reach its caller and end no other
            if context.is_active():
                _log.exception("a call failed")
            else:
                # The caller has gone: what broke here broke because of that, and nobody is left to be told.
                _log.info("a call ended with its caller", error=repr(error))
            _send(context, error)

    def _identified(self, context: grpc.ServicerContext) -> _Caller:
        """Find out who calls: a token counts for more than the process that sends it."""
        header = _entry(context, _AUTHORIZATION)
        if not _is_local(context):
            if header is None:
                raise PermissionDenied(
                    "the call carries no token: over the network every call needs one - set ALLUXIO_LANCE_TOKEN (an "
                    "admin makes one with alluxio-lance token create), or send the entry authorization: Bearer TOKEN"
                )
            return _Caller(self._authenticator.bearer(header, unquote(context.peer())), None)
        session = _entry(context, SESSION_KEY)
        if header is None:
            peer = self._peers.find(session)
            return _Caller(self._authenticator.user(peer.user, peer.uid, peer.pid), peer)
        known = None if session is None else self._peers.find(session)
        bearer = self._authenticator.bearer(header, f"unix:pid={known.pid}" if known else "unix")
        if known is not None:
            self._peers.show(known.session, header)
        return _Caller(bearer, known)

    def _lasting(self, context: grpc.ServicerContext) -> _Caller:
        return replace(self._identified(context), renew=self._lasting, since=time.monotonic())

    @contextmanager
    def _admitted(self, *, long: bool) -> Iterator[None]:
        if not long:
            yield
            return
        if not self._room.acquire(blocking=False):
            raise Unavailable(
                f"the sidecar serves {self._most_long} long calls (open, register, watch, …) already - end some, or "
                "try again",
                what="sidecar",
            )
        try:
            yield
        finally:
            self._room.release()


_MAKERS: Final[dict[tuple[bool, bool], Callable[..., grpc.RpcMethodHandler[Any, Any]]]] = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


def _renewing(items: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
    """Pass a lasting answer on for as long as the caller is still somebody."""
    for item in items:
        identity(context)
        yield item


def _is_local(context: grpc.ServicerContext) -> bool:
    return bool(context.peer().startswith("unix:"))


def _entry(context: grpc.ServicerContext, key: str) -> str | None:
    """Read one entry of the metadata.

    Raises
    ------
    PermissionDenied
        When it is there twice: who puts a second one in might mean another than who checks.
    """
    values = [value for name, value in context.invocation_metadata() or () if name == key]
    if len(values) > 1:
        raise PermissionDenied(f"the call carries the entry {key} {len(values)} times - send it once")
    return values[0] if values and isinstance(values[0], str) else None


def _needs_door(method: str) -> InvalidArgument:
    return InvalidArgument(
        f"{method.rpartition('.')[2]} works only on the node itself: it hands out shared memory through the door, a Unix "
        "socket - call it there, at the address unix:/RUN/FOLDER/grpc.sock; over the network there are the calls of "
        "the services Lifecycle and Governance"
    )


def _send(context: grpc.ServicerContext, error: BaseException) -> None:
    record = to_wire(error)
    if len(record) > _LONGEST_ERROR and isinstance(error, AlluxioLanceError):
        record = to_wire(type(error)(error.message[:_LONGEST_STATUS]))
    kind = error.grpc if isinstance(error, AlluxioLanceError) else "INTERNAL"
    message = error.message if isinstance(error, AlluxioLanceError) else f"{type(error).__name__}: {error}"
    context.set_trailing_metadata(((ERROR_KEY, record),))
    context.abort(grpc.StatusCode[kind], message[:_LONGEST_STATUS])
