"""From a URI to a lease. The only place of a training process that speaks gRPC, and it lets go of it before it returns.

gRPC and protobuf are imported here inside the function, so that processes that only receive a lease never load them,
and no thread or channel of theirs is open when a DataLoader forks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from alluxio_lance.address import Address
from alluxio_lance.client.door import Door
from alluxio_lance.client.lease import Lease
from alluxio_lance.client.telling import told_on_terminal
from alluxio_lance.client.waiting import when_back
from alluxio_lance.layout import Layout
from alluxio_lance.manager import OnProgress

if TYPE_CHECKING:
    from alluxio_lance.client.channel import Channel

__all__ = ["open_lease"]


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
    from alluxio_lance.client.channel import Channel  # noqa: PLC0415 - brings gRPC, which worker processes do not need

    address = address or Address.find()
    with Channel.connect(address, timeout) as channel:
        token, layout = _opened(channel, uri, columns or (), wait=wait, on_progress=on_progress)
        door = Door.connect(address, timeout)
        try:
            return Lease.attach(door, token, layout)
        except BaseException:
            door.close()
            raise


def _opened(
    channel: Channel, uri: str, columns: Sequence[str], *, wait: bool, on_progress: OnProgress | None
) -> tuple[str, Layout]:
    if not wait:
        return channel.open_version(uri, columns)
    with told_on_terminal(uri) as on_terminal:
        return when_back(
            lambda operation: channel.open_version(uri, columns, waited_for=operation), on_progress or on_terminal
        )
