"""The TCP port: never off loopback without TLS, certificates that belong together, and renewed ones without a restart."""

import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest
from grpc_health.v1 import health, health_pb2_grpc

from alluxio_lance.address import RemoteAddress
from alluxio_lance.client.channel import Stubs
from alluxio_lance.errors import InvalidArgument, Unavailable
from alluxio_lance.sidecar.listener import listen


@contextmanager
def listening(settings):
    """Let a server that knows only its health listen; gives the address."""
    with ThreadPoolExecutor(4) as threads:
        server = grpc.server(threads, options=[("grpc.so_reuseport", 0)])
        health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
        try:
            address = listen(server, settings)
            server.start()
            yield address
        finally:
            server.stop(0).wait()


def reach(address, timeout=5.0):
    """Connect, and ask for the health; raises when that cannot be."""
    Stubs.connect(address, timeout).close()


def test_by_default_nobody_listens(configured):
    """The Unix socket is enough for a laptop."""
    with listening(configured()) as address:
        assert address is None


def test_on_loopback_it_may_listen_without_tls(configured):
    """On the port that was free, if none was named."""
    with listening(configured(listen="127.0.0.1:0")) as address:
        assert (address.host, address.tls) == ("127.0.0.1", False)
        assert address.port
        reach(address)


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "192.0.2.1", "somewhere.example", "localhost.example"])
def test_off_loopback_it_does_not_listen_without_tls(configured, host):
    """Others could read the tokens."""
    with pytest.raises(InvalidArgument, match="without TLS"), listening(configured(listen=f"{host}:0")):
        pass


def test_with_tls_who_knows_the_authority_comes_in(configured, authority, monkeypatch):
    """On any host's address."""
    certificate, key = authority.sign("node")
    monkeypatch.setenv("ALLUXIO_LANCE_CA", str(authority.path))
    with listening(configured(listen="0.0.0.0:0", tls_certificate=certificate, tls_key=key)) as address:
        assert address.tls
        reach(RemoteAddress("127.0.0.1", address.port, tls=True))
        reach(RemoteAddress("localhost", address.port, tls=True))


def test_a_client_does_not_talk_to_a_node_whose_certificate_it_does_not_know(
    configured, authority, stranger, monkeypatch
):
    """Neither with another authority nor with those of the system; nor without TLS."""
    certificate, key = authority.sign("node")
    with listening(configured(listen="127.0.0.1:0", tls_certificate=certificate, tls_key=key)) as address:
        with pytest.raises(Unavailable, match="whose certificate"):
            reach(address, 0.5)
        monkeypatch.setenv("ALLUXIO_LANCE_CA", str(stranger.path))
        with pytest.raises(Unavailable, match="ALLUXIO_LANCE_CA"):
            reach(address, 0.5)
        with pytest.raises(Unavailable, match="without TLS"):
            reach(RemoteAddress("127.0.0.1", address.port, tls=False), 0.5)


def test_callers_may_have_to_show_a_certificate(configured, authority, stranger, monkeypatch):
    """One that the authority signed."""
    certificate, key = authority.sign("node")
    settings = configured(listen="127.0.0.1:0", tls_certificate=certificate, tls_key=key, tls_client_ca=authority.path)
    monkeypatch.setenv("ALLUXIO_LANCE_CA", str(authority.path))
    with listening(settings) as address:
        with pytest.raises(Unavailable):
            reach(address, 0.5)
        for signer, fits in ((stranger, False), (authority, True)):
            mine, private = signer.sign("caller")
            monkeypatch.setenv("ALLUXIO_LANCE_CERTIFICATE", str(mine))
            monkeypatch.setenv("ALLUXIO_LANCE_KEY", str(private))
            if fits:
                reach(address)
            else:
                with pytest.raises(Unavailable):
                    reach(address, 0.5)


def test_a_renewed_certificate_is_taken_without_a_restart(configured, authority, stranger, monkeypatch):
    """And while it is half written the one before goes on."""
    certificate, key = authority.sign("node")
    monkeypatch.setenv("ALLUXIO_LANCE_CA", str(authority.path))
    with listening(configured(listen="127.0.0.1:0", tls_certificate=certificate, tls_key=key)) as address:
        reach(address)
        new, new_key = stranger.sign("node")
        new.replace(certificate)
        reach(address)
        new_key.replace(key)
        monkeypatch.setenv("ALLUXIO_LANCE_CA", str(stranger.path))
        reach(address)
        key.unlink()
        reach(address)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda files: files.pop("tls_key"), "needs both"),
        (lambda files: files.pop("tls_certificate"), "needs both"),
        (lambda files: files["tls_key"].write_text("no key"), "cannot be used"),
        (lambda files: files["tls_certificate"].unlink(), "No such file"),
        (lambda files: files["tls_client_ca"].write_text(""), "cannot be used"),
        (lambda files: files.update(tls_key=files["other"]), "belong together"),
    ],
)
def test_certificates_that_cannot_be_used_are_told_at_the_start(configured, authority, change, what):
    """Not in gRPC's own log, when the first caller comes."""
    certificate, key = authority.sign("node")
    files = {"tls_certificate": certificate, "tls_key": key, "tls_client_ca": authority.path}
    files["other"] = authority.sign("other")[1]
    change(files)
    files.pop("other")
    with pytest.raises(InvalidArgument, match=what), listening(configured(listen="127.0.0.1:0", **files)):
        pass


def test_a_port_that_is_taken_is_named(configured):
    """By whomever: two on one port would each get some of the calls."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(Unavailable, match=f"{taken} cannot be listened on"), listening(configured(listen=taken)):
            pass


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("127.0.0.1:50051", ("127.0.0.1", 50051)),
        (" [::1]:0 ", ("::1", 0)),
        ("node.example:1", ("node.example", 1)),
        ("", None),
    ],
)
def test_the_setting_is_host_and_port(configured, text, value):
    """As an argument or in the environment."""
    assert configured(listen=text).listen == value


@pytest.mark.parametrize("text", ["50051", "host", "host:", ":50051", "a:b", "h:99999", "grpc://h:1", "u@h:1", "[::1"])
def test_another_form_of_the_setting_is_refused(configured, text):
    """With the form that it has."""
    with pytest.raises(InvalidArgument, match="HOST:PORT"):
        configured(listen=text)
