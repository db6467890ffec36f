"""From a URI to a lease. The only place of a training process that speaks gRPC, and it lets go of it before it returns.

gRPC and protobuf are imported here inside the function, so that processes that only receive a lease never load them,
and no thread or channel of theirs is open when a DataLoader forks.
"""

from __future__ import annotations

from collections.abc import Sequence

from alluxio_lance.address import Address
from alluxio_lance.client.door import Door
from alluxio_lance.client.lease import Lease

__all__ = ["open_lease"]


def open_lease(
    uri: str, columns: Sequence[str] | None = None, address: Address | None = None, *, timeout: float = 10.0
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

    Raises
    ------
    Unavailable
        When no sidecar answers.
    InvalidURI, NotFound, NotActive, NoSpace
        What the sidecar says to the URI.
    """
    from alluxio_lance.client.channel import Channel  # noqa: PLC0415 - brings gRPC, which worker processes do not need

    address = address or Address.find()
    with Channel.connect(address, timeout) as channel:
        token, layout = channel.open_version(uri, columns or ())
        door = Door.connect(address, timeout)
        try:
            return Lease.attach(door, token, layout)
        except BaseException:
            door.close()
            raise
