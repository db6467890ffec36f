"""The interceptor before every call: whose call it is, whether there is room for it, and how its errors travel."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import grpc
import structlog

from alluxio_lance.errors import AlluxioLanceError, Unavailable, to_wire
from alluxio_lance.sidecar.peers import Peer, Peers

__all__ = ["ERROR_KEY", "LONGEST_METADATA", "SESSION_KEY", "Guard", "caller"]

_log = structlog.get_logger(__name__)

SESSION_KEY: Final = "alluxio-lance-session"
ERROR_KEY: Final = "alluxio-lance-error-bin"
LONGEST_METADATA: Final = 256 << 10
"""Bytes of metadata that both ends accept; an error with longer details travels without them."""
_LONGEST_ERROR: Final = LONGEST_METADATA // 2
_LONGEST_STATUS: Final = 1024
"""Characters of the sentence in the plain gRPC status, for foreign clients; ours read the error entry."""
_OPEN_TO_ALL: Final = ("/grpc.health.", "/grpc.reflection.")
_LONG: Final = frozenset({"Register", "Update", "Watch", "Open", "Prefetch"})
"""Calls that may take long: they may not take all threads."""


def caller(context: grpc.ServicerContext, peers: Peers) -> Peer:
    """Return the process that makes a call.

    Raises
    ------
    PermissionDenied
        When it has not said hello at the door.
    """
    metadata = dict(context.invocation_metadata())
    session = metadata.get(SESSION_KEY)
    return peers.find(session if isinstance(session, str) else None)


class Guard(grpc.ServerInterceptor):
    """Lets known callers in and sends errors home.

    Parameters
    ----------
    peers
        The sessions.
    most_long
        How many long calls may run at once.
    """

    def __init__(self, peers: Peers, most_long: int) -> None:
        self._peers = peers
        self._most_long = most_long
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
        return self._wrapped(handler, long=method.rpartition("/")[2] in _LONG)

    def _wrapped(self, handler: Any, *, long: bool) -> grpc.RpcMethodHandler[Any, Any]:
        behaviour = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream

        def one(request: Any, context: grpc.ServicerContext) -> Any:
            with self._watched(context, long=long):
                return behaviour(request, context)

        def many(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            with self._watched(context, long=long):
                yield from behaviour(request, context)

        make = _MAKERS[handler.request_streaming, handler.response_streaming]
        return make(
            many if handler.response_streaming else one,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    @contextmanager
    def _watched(self, context: grpc.ServicerContext, *, long: bool) -> Iterator[None]:
        try:
            caller(context, self._peers)
            with self._admitted(long=long):
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


def _send(context: grpc.ServicerContext, error: BaseException) -> None:
    record = to_wire(error)
    if len(record) > _LONGEST_ERROR and isinstance(error, AlluxioLanceError):
        record = to_wire(type(error)(error.message[:_LONGEST_STATUS]))
    kind = error.grpc if isinstance(error, AlluxioLanceError) else "INTERNAL"
    message = error.message if isinstance(error, AlluxioLanceError) else f"{type(error).__name__}: {error}"
    context.set_trailing_metadata(((ERROR_KEY, record),))
    context.abort(grpc.StatusCode[kind], message[:_LONGEST_STATUS])
