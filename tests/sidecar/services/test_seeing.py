"""Whether a process at the door may see a resource."""

import os

import pyarrow as pa
import pytest

import alluxio_lance as al
from alluxio_lance.errors import PermissionDenied
from alluxio_lance.lifecycle.access.authenticating import Authenticator
from alluxio_lance.lifecycle.rules import RulesBook
from alluxio_lance.sidecar.peers import Peer, Peers
from alluxio_lance.sidecar.seeing import Seeing
from alluxio_lance.values import Outcome


@pytest.fixture
def manager(tmp_path):
    """Open a manager with a resource that users of the node do not see."""
    with al.ResourceManager.embedded(tmp_path / "root") as opened:
        opened.register_resource("datasets", "a", pa.table({"x": [1]}))
        opened.set_rules("[access]\ndefault = []\n")
        yield opened


def test_who_may_see(manager):
    """A user by his roles, a process by the token that it has shown for as long as that holds; a refusal is audited."""
    peers = Peers()
    catalog = manager.catalog
    sees = Seeing(peers, Authenticator(catalog, RulesBook(catalog), node="here"), manager)
    session = peers.enter(os.getpid(), os.geteuid()).session
    stranger = Peer(session="1", pid=os.getpid(), uid=54321, user="stranger", command="")
    sees(peers.find(session), "datasets", "a")
    with pytest.raises(PermissionDenied, match="stranger@here without a role may not read datasets/a"):
        sees(stranger, "datasets", "a")
    assert len(catalog.events(outcome=Outcome.DENIED)) == 1
    token, secret = manager.issue_token("ci", ["viewer"])
    peers.show(session, f"Bearer {secret}")
    sees(stranger, "datasets", "a")
    with pytest.raises(PermissionDenied):
        sees(Peer(session="2", pid=1, uid=54321, user="stranger", command=""), "datasets", "a")
    manager.revoke_token(token.id)
    with pytest.raises(PermissionDenied):
        sees(stranger, "datasets", "a")
    peers.leave(session)
    peers.show(session, "Bearer x")
    assert peers.shown_by(os.getpid()) == set()
