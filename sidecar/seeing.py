"""Whether a process at the door may see a resource: by a token that it has shown in a call, else by its user."""

from __future__ import annotations

from alluxio_lance.errors import PermissionDenied
from alluxio_lance.sidecar.peers import Peer, Peers
from alluxio_lance.sidecar.services.guard import Authenticates
from alluxio_lance.sidecar.services.ports import Managers
from alluxio_lance.values import Verb

__all__ = ["Seeing"]


class Seeing:
    """The check of READ for what is asked at the door. Threads may share it; it looks into the catalog."""

    def __init__(self, peers: Peers, authenticator: Authenticates, manager: Managers) -> None:
        self._peers = peers
        self._authenticator = authenticator
        self._manager = manager

    def __call__(self, peer: Peer, type: str, name: str) -> None:
        """Refuse what neither grants.

        Raises
        ------
        PermissionDenied
            Naming the user of the process; the refusal is audited.
        """
        if not any(self._sees(header, peer, type, name) for header in self._peers.shown_by(peer.pid)):
            user = self._authenticator.user(peer.user, peer.uid, peer.pid)
            self._manager.acting_as(user).allow(Verb.READ, type, name)

    def _sees(self, header: str, peer: Peer, type: str, name: str) -> bool:
        try:
            bearer = self._authenticator.bearer(header, f"unix:pid={peer.pid}")
        except PermissionDenied:
            return False  # revoked since
        return self._manager.acting_as(bearer).may(Verb.READ, type, name)
