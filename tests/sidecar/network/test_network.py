"""A whole node over the network: who has a token may what its roles say, and what needs the door does not work."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pytest

from alluxio_lance.client.cache import RemoteCache
from alluxio_lance.client.channel import Channel
from alluxio_lance.client.manager import RemoteManager
from alluxio_lance.errors import InvalidArgument, PermissionDenied
from alluxio_lance.sidecar.server import Sidecar
from alluxio_lance.v1 import cache_pb2
from alluxio_lance.values import Outcome


@pytest.fixture
def sidecar(configured, authority, monkeypatch):
    """A node that listens with TLS, with one dataset."""
    certificate, key = authority.sign("node")
    monkeypatch.setenv("ALLUXIO_LANCE_CA", str(authority.path))
    with Sidecar(configured(listen="127.0.0.1:0", tls_certificate=certificate, tls_key=key)) as sidecar:
        sidecar.manager.register_resource("datasets", "a", pa.table({"id": [1, 2]}))
        yield sidecar


@pytest.fixture
def bearing(sidecar, monkeypatch):
    """Connect with a new token of some roles, over the network."""

    def bearing(*roles, address=None):
        token, secret = sidecar.manager.issue_token("ci", roles)
        monkeypatch.setenv("ALLUXIO_LANCE_TOKEN", secret)
        manager = RemoteManager.open(address or str(sidecar.remote_address))
        monkeypatch.delenv("ALLUXIO_LANCE_TOKEN")
        return token, secret, manager

    return bearing


def test_the_bearer_of_a_token_may_what_its_roles_say(sidecar, bearing):
    """From wherever he calls; the origin is in the audit trail, the token nowhere."""
    _, secret, manager = bearing("developer")
    with manager:
        who = manager.whoami()
        assert (who.actor, who.roles, who.method) == ("token:ci", ("developer",), "token")
        assert who.origin.startswith("ipv4:127.0.0.1:")
        made = manager.update_resource("datasets", "a", pa.table({"id": [3]}), activate=False)
        assert made.created_by == "token:ci"
        assert [version.semver for version in manager.list_versions("datasets", "a")] == [made.semver, "1.0.0"]
        with pytest.raises(PermissionDenied, match="token:ci with the role developer may not activate"):
            manager.activate_resource("datasets", "a", made.semver)
        [row] = sidecar.manager.catalog.events(outcome=Outcome.DENIED)
        assert (row.actor, row.origin) == ("token:ci", who.origin)
    out = sidecar.settings.root / "audit"
    with out.open("w") as file:
        sidecar.manager.catalog.export_audit(file)
    assert secret not in out.read_text()
    assert secret.rpartition("_")[2] not in json.dumps(row.message) + repr(manager)


def test_without_a_token_nothing_works(sidecar):
    """The sentence says how to come by one."""
    sentence = pytest.raises(PermissionDenied, match=r"carries no token.*ALLUXIO_LANCE_TOKEN")
    with RemoteManager.open(str(sidecar.remote_address)) as manager, sentence:
        manager.list_resources()


def test_a_revoked_token_ends_within_a_second(sidecar, bearing):
    """Also on a connection that is open already."""
    token, _, manager = bearing("viewer")
    with manager:
        assert manager.list_resources()
        sidecar.manager.revoke_token(token.id)
        began = time.monotonic()
        with pytest.raises(PermissionDenied, match="was revoked"):
            manager.list_resources()
        assert time.monotonic() - began < 1


def test_a_token_counts_on_the_unix_socket_too(sidecar, bearing):
    """It beats the user of the process, who would be admin; without one he is."""
    _, _, manager = bearing("viewer", address=sidecar.address)
    with manager:
        who = manager.whoami()
        assert (who.actor, who.roles) == ("token:ci", ("viewer",))
        assert who.origin.startswith("unix:pid=")
        with pytest.raises(PermissionDenied):
            manager.delete_resource("datasets", "a")
    with RemoteManager.open(sidecar.address) as manager:
        assert manager.whoami().roles == ("admin",)


def test_shared_memory_does_not_travel(sidecar, bearing, monkeypatch):
    """Neither the client nor the node pretends that it does."""
    with pytest.raises(InvalidArgument, match="shared memory does not"):
        RemoteCache.connect(str(sidecar.remote_address))
    _, secret = sidecar.manager.issue_token("ci", ["admin"])
    monkeypatch.setenv("ALLUXIO_LANCE_TOKEN", secret)
    with Channel.connect(sidecar.remote_address) as channel:
        assert channel.instance is None
        with pytest.raises(InvalidArgument, match="Cache/Open works only on the node itself"):
            channel.open_version("alluxio://datasets/a")
        with pytest.raises(InvalidArgument, match="Cache/Watch"), channel.speaking() as stubs:
            list(stubs.cache.Watch(cache_pb2.CacheWatchRequest()))


def test_a_path_is_not_opened_for_callers_over_the_network(sidecar, bearing, tmp_path):
    """Not even for an admin: it would be a path of the node."""
    path = tmp_path / "x.csv"
    path.write_text("id\n1\n")
    _, _, manager = bearing("admin")
    with manager, pytest.raises(PermissionDenied, match="path"):
        manager.register_resource("datasets", "b", str(path))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
def test_another_user_of_the_node_has_the_roles_that_the_rules_give_him(configured):
    """Who he is the kernel says, whatever he claims; without a word about him he only looks."""
    # Where other users can reach the socket: pytest's own folders are private.
    with tempfile.TemporaryDirectory(prefix="al-") as folder:
        Path(folder).chmod(0o711)
        with Sidecar(configured(run_dir=Path(folder) / "run", allow_users=["nobody"])) as sidecar:
            assert _as_nobody(sidecar) == ["nobody@n1", "viewer"]
            sidecar.manager.set_rules('[access.users]\nnobody = ["developer", "releaser"]\n')
            assert _as_nobody(sidecar) == ["nobody@n1", "developer", "releaser"]


def _as_nobody(sidecar):
    # First with root's rights, to bring everything in: others may not be able to read this Python's folder.
    code = (
        "import os, pwd, sys; from alluxio_lance.client.manager import RemoteManager\n"
        "with RemoteManager.open(sys.argv[1]) as manager: manager.whoami()\n"
        "nobody = pwd.getpwnam('nobody'); os.setgroups([]); os.setgid(nobody.pw_gid); os.setuid(nobody.pw_uid)\n"
        "with RemoteManager.open(sys.argv[1]) as manager: print(manager.whoami().actor, *manager.whoami().roles)"
    )
    command = [sys.executable, "-c", code, sidecar.address.grpc]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/")
    return ran.stdout.split()
