"""From a URI to a lease: at the door when the version is hot, which is one question, else in gRPC.

This is the only place of a training process that speaks gRPC, and it lets go of it before it returns. gRPC and protobuf
are imported here inside the functions, so that processes that open hot versions, or only receive a lease, never load
them, and no thread or channel of theirs is open when a DataLoader forks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from alluxio_lance.address import Address
from alluxio_lance.client.door import Door
from alluxio_lance.client.lease import Lease
from alluxio_lance.client.telling import told_on_terminal
from alluxio_lance.client.token import find_token
from alluxio_lance.client.waiting import when_back
from alluxio_lance.manager import OnProgress

if TYPE_CHECKING:
    from alluxio_lance.client.channel import OpenedStream

__all__ = ["open_lease", "open_stream"]

T = TypeVar("T")


def open_lease(
    uri: str,
    columns: Sequence[str] | None = None,
    address: Address | None = None,
    *,
    timeout: float = 10.0,
    wait: bool = False,
    on_progress: OnProgress | None = None,
) -> Lease:
    """Make a version hot and take a lease on it; waits for as long as the load takes.

    Parameters
    ----------
    uri
        An ``alluxio://`` URI of a resource.
    columns
        Only these, all by default.
    address
        Where the sidecar is; found as in `Address.find` by default.
    timeout
        Seconds to wait for the sidecar to answer at all.
    wait
        When the version is in the cold tier: wait until it is back, and tell ``on_progress`` meanwhile; without
        it a terminal shows a bar.

    Raises
    ------
    Unavailable
        When no sidecar answers.
    Restoring
        When the version is in the cold tier and ``wait`` is off: its restore is under way.
    InvalidURI, NotFound, NotActive, NoSpace
        What the sidecar says to the URI.
    """
    address = address or Address.find()
    wanted = columns or ()
    lease = _hot(uri, wanted, address, timeout)
    if lease is not None:
        return lease
    from alluxio_lance.client.channel import Channel  # noqa: PLC0415 - brings gRPC

    with Channel.connect(address, timeout) as channel:
        token, layout = _opened(
            lambda operation: channel.open_version(uri, wanted, waited_for=operation), uri, wait, on_progress
        )
        door = Door.connect(address, timeout)
        try:
            return Lease.attach(door, token, layout)
        except BaseException:
            door.close()
            raise


def _hot(uri: str, columns: Sequence[str], address: Address, timeout: float) -> Lease | None:
    """Open a version at the door, if it is hot. The door knows users and no tokens."""
    return None if find_token() is not None else Lease.open(address, uri, columns, timeout)


def open_stream(
    uri: str,
    columns: Sequence[str] | None = None,
    address: Address | None = None,
    *,
    timeout: float = 10.0,
    wait: bool = False,
    on_progress: OnProgress | None = None,
) -> tuple[OpenedStream, Door]:
    """Take a lease on a version that is read window by window; arguments and errors as of `open_lease`.

    Returns
    -------
    tuple
        What was opened, and a connection that holds the lease.
    """
    from alluxio_lance.client.channel import Channel  # noqa: PLC0415 - as above

    address = address or Address.find()
    wanted = columns or ()
    with Channel.connect(address, timeout) as channel:
        opened = _opened(
            lambda operation: channel.open_stream(uri, wanted, waited_for=operation), uri, wait, on_progress
        )
        door = Door.connect(address, timeout)
        try:
            door.attach(opened.token)
        except BaseException:
            door.close()
            raise
        return opened, door


def _opened(opened: Callable[[str], T], uri: str, wait: bool, on_progress: OnProgress | None) -> T:
    if not wait:
        return opened("")
    with told_on_terminal(uri) as on_terminal:
        return when_back(opened, on_progress or on_terminal)
