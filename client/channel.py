"""The way to the sidecar of this node: a connection to the door, which proves who calls, and a gRPC channel beside it."""

from __future__ import annotations

import select
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import grpc

from alluxio_lance.address import Address
from alluxio_lance.client import wire
from alluxio_lance.client.door import Door
from alluxio_lance.errors import AlluxioLanceError, Internal, InvalidArgument, Unavailable, from_wire
from alluxio_lance.layout import Layout
from alluxio_lance.v1 import cache_pb2
from alluxio_lance.v1.cache_pb2_grpc import CacheStub
from alluxio_lance.v1.lifecycle_pb2_grpc import LifecycleStub

__all__ = ["Channel", "Stubs"]

_SESSION: Final = "alluxio-lance-session"
_ERROR: Final = "alluxio-lance-error-bin"
_LARGEST_MESSAGE: Final = 64 << 20
_OPTIONS: Final = (
    ("grpc.max_send_message_length", _LARGEST_MESSAGE),
    ("grpc.max_receive_message_length", _LARGEST_MESSAGE),
    ("grpc.max_metadata_size", 256 << 10),
    # A new channel to a restarted sidecar must not inherit the old one's time of waiting.
    ("grpc.use_local_subchannel_pool", 1),
)


class _Signed(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor, grpc.StreamStreamClientInterceptor):
    """Puts the session on every call."""

    def __init__(self, session: str) -> None:
        self._entry = (_SESSION, session)

    def _signed(self, details: Any) -> Any:
        return details._replace(metadata=[*(details.metadata or ()), self._entry])

    def intercept_unary_unary(self, continuation: Callable[..., Any], client_call_details: Any, request: Any) -> Any:
        return continuation(self._signed(client_call_details), request)

    def intercept_unary_stream(self, continuation: Callable[..., Any], client_call_details: Any, request: Any) -> Any:
        return continuation(self._signed(client_call_details), request)

    def intercept_stream_stream(
        self, continuation: Callable[..., Any], client_call_details: Any, request_iterator: Any
    ) -> Any:
        return continuation(self._signed(client_call_details), request_iterator)


@dataclass(frozen=True, slots=True)
class Stubs:
    """One connection: its calls carry the session."""

    door: Door
    channel: grpc.Channel
    lifecycle: LifecycleStub
    cache: CacheStub

    @classmethod
    def connect(cls, address: Address, timeout: float) -> Stubs:
        """Say hello at the door and open a channel.

        Raises
        ------
        Unavailable
            When nobody answers.
        """
        door = Door.connect(address, timeout)
        try:
            plain = grpc.insecure_channel(address.grpc, options=_OPTIONS)
            try:
                _wait_until_ready(plain, address, timeout)
                signed = grpc.intercept_channel(plain, _Signed(door.session))
                return cls(door, plain, LifecycleStub(signed), CacheStub(signed))
            except BaseException:
                plain.close()
                raise
        except BaseException:
            door.close()
            raise

    @property
    def alive(self) -> bool:
        """Whether the sidecar still holds its end of the door."""
        if self.door.closed:
            return False
        # The sidecar never speaks first here: what can be read is the end.
        waiter = select.poll()
        waiter.register(self.door, select.POLLIN)
        return not waiter.poll(0)

    def close(self) -> None:
        """Close both; calls under way are cancelled."""
        self.channel.close()
        self.door.close()


class Channel:
    """A lasting way to the sidecar: when the sidecar was restarted the next call connects anew.

    Parameters
    ----------
    address
        The run folder.
    timeout
        Seconds to wait for the sidecar to answer at all; calls themselves take as long as they take.
    """

    def __init__(self, address: Address, stubs: Stubs, timeout: float) -> None:
        self._address = address
        self._stubs = stubs
        self._timeout = timeout
        self._closed = False
        self._turn = threading.Lock()

    @classmethod
    def connect(cls, address: Address, timeout: float = 10.0) -> Channel:
        """Connect.

        Raises
        ------
        Unavailable
            When no sidecar answers; the message names the address and the command that starts one.
        """
        return cls(address, Stubs.connect(address, timeout), timeout)

    @property
    def address(self) -> Address:
        """Where the sidecar is."""
        return self._address

    @property
    def instance(self) -> str:
        """The run of the sidecar that was connected to last."""
        return self._stubs.door.instance

    @contextmanager
    def speaking(self) -> Iterator[Stubs]:
        """Give the stubs for the calls in the block, and raise their failures as our errors.

        Raises
        ------
        AlluxioLanceError
            What the sidecar said, in its class and with its details; `Unavailable` when it cannot be reached.
        """
        stubs = self._fresh()
        try:
            yield stubs
        except grpc.RpcError as error:
            raise self._translated(error) from error

    # -- leases, for what maps shared memory -----------------------------------------------------------------------

    def open_version(self, uri: str, columns: Sequence[str] = (), timeout: float | None = None) -> tuple[str, Layout]:
        """Make a version hot and take a lease on it.

        Parameters
        ----------
        uri
            An ``alluxio://`` URI of a resource.
        columns
            Only these; all when empty.
        timeout
            Seconds to wait for a load; None as long as it takes.

        Returns
        -------
        tuple
            The lease's token, to attach at the door within 30 seconds, and the layout.
        """
        with self.speaking() as stubs:
            response = stubs.cache.Open(cache_pb2.OpenRequest(uri=uri, columns=columns), timeout=timeout)
        return response.lease, wire.layout(response.layout)

    def renew_lease(self, lease: str) -> None:
        """Let a lease that is not attached yet wait for another 30 seconds."""
        with self.speaking() as stubs:
            stubs.cache.Renew(cache_pb2.RenewRequest(lease=lease))

    def end_lease(self, lease: str) -> None:
        """End a lease early."""
        with self.speaking() as stubs:
            stubs.cache.Close(cache_pb2.CloseRequest(lease=lease))

    # -- the end ---------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the connection, which ends the session; a second call does nothing."""
        with self._turn:
            self._closed = True
            self._stubs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _fresh(self) -> Stubs:
        with self._turn:
            if self._closed:
                raise Unavailable(f"the connection to {self._address.grpc} was closed - connect again", what="sidecar")
            if not self._stubs.alive:
                self._stubs.close()
                self._stubs = Stubs.connect(self._address, self._timeout)
            return self._stubs

    def _translated(self, error: grpc.RpcError) -> AlluxioLanceError:
        for entry in error.trailing_metadata() or ():
            if entry.key == _ERROR and isinstance(entry.value, bytes):
                return from_wire(entry.value)
        code, details = error.code(), error.details()
        if self._closed:
            return Unavailable(f"the connection to {self._address.grpc} was closed during a call", what="sidecar")
        return _TRANSLATIONS.get(code, _foreign)(self._address, f"{code.name}: {details}")


def _wait_until_ready(channel: grpc.Channel, address: Address, timeout: float) -> None:
    """Ask for the sidecar's health. gRPC's own future would do, but its polling makes every close take 0.2 s."""
    check: Callable[..., Any] = channel.unary_unary("/grpc.health.v1.Health/Check")
    try:
        check(b"", timeout=timeout, wait_for_ready=True)
    except grpc.RpcError as error:
        late = error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        raise _unreachable(
            address, f"no answer within {timeout:g} s" if late else error.details() or "no reason given"
        ) from error


def _unreachable(address: Address, why: str) -> AlluxioLanceError:
    return Unavailable(
        f"no sidecar answers at {address.grpc} ({why}) - start one with `alluxio-lance up`, or name its run folder in "
        "ALLUXIO_LANCE_ADDRESS",
        what="sidecar",
        address=str(address.run_folder),
    )


def _late(address: Address, why: str) -> AlluxioLanceError:
    return Unavailable(
        f"the sidecar at {address.grpc} did not finish in time ({why}) - it may go on: ask again, or wait longer",
        what="sidecar",
        address=str(address.run_folder),
    )


def _too_large(address: Address, why: str) -> AlluxioLanceError:
    return InvalidArgument(f"a message to or from {address.grpc} is larger than {_LARGEST_MESSAGE >> 20} MiB ({why})")


def _too_old(address: Address, why: str) -> AlluxioLanceError:
    return Unavailable(
        f"the sidecar at {address.grpc} does not know this call ({why}) - install the same version of alluxio-lance "
        "on both sides and restart it",
        what="sidecar",
        address=str(address.run_folder),
    )


def _foreign(address: Address, why: str) -> AlluxioLanceError:
    return Internal(f"the call to {address.grpc} failed in gRPC itself ({why}) - please report it")


_TRANSLATIONS: Final[dict[Any, Callable[[Address, str], AlluxioLanceError]]] = {
    grpc.StatusCode.UNAVAILABLE: _unreachable,
    grpc.StatusCode.CANCELLED: _unreachable,
    grpc.StatusCode.DEADLINE_EXCEEDED: _late,
    grpc.StatusCode.RESOURCE_EXHAUSTED: _too_large,
    grpc.StatusCode.UNIMPLEMENTED: _too_old,
}
