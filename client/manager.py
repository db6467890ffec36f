"""The manager of a sidecar: every verb of the face, over gRPC."""

from __future__ import annotations

from alluxio_lance.address import Address, RemoteAddress, find_address
from alluxio_lance.client.channel import Channel
from alluxio_lance.client.remote.cold import ColdVerbs
from alluxio_lance.client.remote.data import DataVerbs
from alluxio_lance.client.remote.governing import Governing
from alluxio_lance.client.remote.looking import Looking
from alluxio_lance.client.remote.names import NameVerbs
from alluxio_lance.client.remote.pointing import PointingVerbs
from alluxio_lance.client.remote.removal import RemovalVerbs
from alluxio_lance.client.remote.stages import StageVerbs
from alluxio_lance.client.remote.warming import CacheVerbs

__all__ = ["RemoteManager"]


class RemoteManager(
    DataVerbs, PointingVerbs, ColdVerbs, StageVerbs, NameVerbs, RemovalVerbs, CacheVerbs, Governing, Looking
):
    """A manager whose work is done by a sidecar: this node's, or another's over the network."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    @classmethod
    def open(cls, address: str | Address | RemoteAddress | None = None, *, timeout: float = 10.0) -> RemoteManager:
        """Connect to a sidecar; see `ResourceManager.connect`."""
        found = find_address(address) if address is None or isinstance(address, str) else address
        return cls(Channel.connect(found, timeout))

    def close(self) -> None:
        self._channel.close()
