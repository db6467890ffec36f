"""The way to a sidecar: on this node a connection to the door, which proves who calls, and a gRPC channel beside it."""

from __future__ import annotations

import select
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import grpc

from alluxio_lance.address import Address, RemoteAddress
from alluxio_lance.client import wire
from alluxio_lance.client.credentials import Credentials, Signed
from alluxio_lance.client.door import Door
from alluxio_lance.errors import AlluxioLanceError, Internal, InvalidArgument, Unavailable, from_wire
from alluxio_lance.layout import Layout
from alluxio_lance.v1 import cache_pb2
from alluxio_lance.v1.cache_pb2_grpc import CacheStub
from alluxio_lance.v1.governance_pb2_grpc import GovernanceStub
from alluxio_lance.v1.lifecycle_pb2_grpc import LifecycleStub
from alluxio_lance.v1.selection_pb2_grpc import SelectionStub

__all__ = ["Channel", "OpenedStream", "Stubs"]

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


@dataclass(frozen=True, slots=True)
class OpenedStream:
    """A lease on a version that is read window by window."""

    token: str
    layout: Layout
    """Without segments."""
    unit_rows: int
    window_units: int


@dataclass(frozen=True, slots=True)
class Stubs:
    """One connection: its calls carry the session, and the token if there is one."""

    door: Door | None
    """None over the network."""
    channel: grpc.Channel
    lifecycle: LifecycleStub
    governance: GovernanceStub
    cache: CacheStub
    selection: SelectionStub

    @classmethod
    def connect(cls, address: Address | RemoteAddress, timeout: float) -> Stubs:
        """Say hello at the door, on this node, and open a channel.

        Raises
        ------
        Unavailable
            When nobody answers.
        InvalidArgument
            When the token or a certificate of the environment cannot be used.
        """
        credentials = Credentials.find()
        door = Door.connect(address, timeout) if isinstance(address, Address) else None
        try:
            plain = (
                grpc.insecure_channel(address.grpc, options=_OPTIONS)
                if isinstance(address, Address)
                else credentials.open(address, _OPTIONS)
            )
            try:
                _wait_until_ready(plain, address, timeout)
                session = () if door is None else ((_SESSION, door.session),)
                signed = grpc.intercept_channel(plain, Signed((*session, *credentials.metadata)))
                return cls(
                    door,
                    plain,
                    LifecycleStub(signed),
                    GovernanceStub(signed),
                    CacheStub(signed),
                    SelectionStub(signed),
                )
            except BaseException:
                plain.close()
                raise
        except BaseException:
            if door is not None:
                door.close()
            raise

    @property
    def alive(self) -> bool:
        """Whether the sidecar still holds its end of the door; over the network gRPC connects again by itself."""
        if self.door is None:
            return True
        if self.door.closed:
            return False
        # The sidecar never speaks first here: what can be read is the end.
        waiter = select.poll()
        waiter.register(self.door, select.POLLIN)
        return not waiter.poll(0)

    def close(self) -> None:
        """Close both; calls under way are cancelled."""
        self.channel.close()
        if self.door is not None:
            self.door.close()


class Channel:
    """A lasting way to the sidecar: when the sidecar was restarted the next call connects anew.

    Parameters
    ----------
    address
        The run folder, or another node.
    timeout
        Seconds to wait for the sidecar to answer at all; calls themselves take as long as they take.
    """

    def __init__(self, address: Address | RemoteAddress, stubs: Stubs, timeout: float) -> None:
        self._address = address
        self._stubs = stubs
        self._timeout = timeout
        self._closed = False
        self._turn = threading.Lock()

    @classmethod
    def connect(cls, address: Address | RemoteAddress, timeout: float = 10.0) -> Channel:
        """Connect.

        Raises
        ------
        Unavailable
            When no sidecar answers; the message names the address and the command that starts one.
        """
        return cls(address, Stubs.connect(address, timeout), timeout)

    @property
    def address(self) -> Address | RemoteAddress:
        """Where the sidecar is."""
        return self._address

    @property
    def instance(self) -> str | None:
        """The run of the sidecar that was connected to last; None over the network."""
        return None if self._stubs.door is None else self._stubs.door.instance

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

    def open_version(
        self, uri: str, columns: Sequence[str] = (), timeout: float | None = None, *, waited_for: str = ""
    ) -> tuple[str, Layout]:
        """Make a version hot and take a lease on it.

        Parameters
        ----------
        uri
            An ``alluxio://`` URI of a resource.
        columns
            Only these; all when empty.
        timeout
            Seconds to wait for a load; None as long as it takes.
        waited_for
            The operation that an earlier `Restoring` named: when it failed, this call fails in the same way.

        Returns
        -------
        tuple
            The lease's token, to attach at the door within 30 seconds, and the layout.
        """
        with self.speaking() as stubs:
            request = cache_pb2.OpenRequest(uri=uri, columns=columns, waited_for=waited_for)
            response = stubs.cache.Open(request, timeout=timeout)
        return response.lease, wire.layout(response.layout)

    def open_stream(self, uri: str, columns: Sequence[str] = (), *, waited_for: str = "") -> OpenedStream:
        """Take a lease on a version that is read window by window; arguments as for `open_version`."""
        with self.speaking() as stubs:
            request = cache_pb2.OpenRequest(uri=uri, columns=columns, waited_for=waited_for, stream=True)
            response = stubs.cache.Open(request)
        if not response.unit_rows:
            raise Unavailable(
                f"the sidecar at {self._address.grpc} cannot read a version window by window - install the same version "
                "of alluxio-lance on both sides and restart it",
                what="sidecar",
                address=_name(self._address),
            )
        return OpenedStream(response.lease, wire.layout(response.layout), response.unit_rows, response.window_units)

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


def _wait_until_ready(channel: grpc.Channel, address: Address | RemoteAddress, timeout: float) -> None:
    """Ask for the sidecar's health. gRPC's own future would do, but its polling makes every close take 0.2 s."""
    check: Callable[..., Any] = channel.unary_unary("/grpc.health.v1.Health/Check")
    try:
        check(b"", timeout=timeout, wait_for_ready=True)
    except grpc.RpcError as error:
        late = error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        raise _unreachable(
            address, f"no answer within {timeout:g} s" if late else error.details() or "no reason given"
        ) from error


def _name(address: Address | RemoteAddress) -> str:
    return str(address.run_folder if isinstance(address, Address) else address)


def _unreachable(address: Address | RemoteAddress, why: str) -> AlluxioLanceError:
    advice = (
        "start one with `alluxio-lance up`, or name its run folder in ALLUXIO_LANCE_ADDRESS"
        if isinstance(address, Address)
        else "check host and port, that the sidecar listens there (listen), and whose certificate it shows "
        "(ALLUXIO_LANCE_CA)"
        if address.tls
        else "check host and port, and that the sidecar listens there (listen) without TLS"
    )
    return Unavailable(
        f"no sidecar answers at {address.grpc} ({why}) - {advice}",
        what="sidecar",
        address=_name(address),
    )


def _late(address: Address | RemoteAddress, why: str) -> AlluxioLanceError:
    return Unavailable(
        f"the sidecar at {address.grpc} did not finish in time ({why}) - it may go on: ask again, or wait longer",
        what="sidecar",
        address=_name(address),
    )


def _too_large(address: Address | RemoteAddress, why: str) -> AlluxioLanceError:
    return InvalidArgument(f"a message to or from {address.grpc} is larger than {_LARGEST_MESSAGE >> 20} MiB ({why})")


def _too_old(address: Address | RemoteAddress, why: str) -> AlluxioLanceError:
    return Unavailable(
        f"the sidecar at {address.grpc} does not know this call ({why}) - install the same version of alluxio-lance "
        "on both sides and restart it",
        what="sidecar",
        address=_name(address),
    )


def _foreign(address: Address | RemoteAddress, why: str) -> AlluxioLanceError:
    return Internal(f"the call to {address.grpc} failed in gRPC itself ({why}) - please report it")


_TRANSLATIONS: Final[dict[Any, Callable[[Address | RemoteAddress, str], AlluxioLanceError]]] = {
    grpc.StatusCode.UNAVAILABLE: _unreachable,
    grpc.StatusCode.CANCELLED: _unreachable,
    grpc.StatusCode.DEADLINE_EXCEEDED: _late,
    grpc.StatusCode.RESOURCE_EXHAUSTED: _too_large,
    grpc.StatusCode.UNIMPLEMENTED: _too_old,
}
