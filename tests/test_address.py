"""Addresses: the run folder of this node, or another node over the network."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alluxio_lance.address import Address, RemoteAddress, find_address, is_loopback
from alluxio_lance.errors import InvalidArgument


@pytest.mark.parametrize(
    ("text", "address", "target"),
    [
        ("unix:/run/al/grpc.sock", Address(Path("/run/al")), "unix:/run/al/grpc.sock"),
        ("unix:///run/al/grpc.sock", Address(Path("/run/al")), "unix:/run/al/grpc.sock"),
        ("/run/al", Address(Path("/run/al")), "unix:/run/al/grpc.sock"),
        ("grpcs://node.example:50051", RemoteAddress("node.example", 50051, tls=True), "dns:///node.example:50051"),
        ("grpc://127.0.0.1:1/", RemoteAddress("127.0.0.1", 1, tls=False), "dns:///127.0.0.1:1"),
        ("grpcs://[::1]:9", RemoteAddress("::1", 9, tls=True), "dns:///[::1]:9"),
    ],
)
def test_each_form_is_read(monkeypatch, text, address, target):
    """Given, or in the environment."""
    assert find_address(text) == address
    assert address.grpc == target
    monkeypatch.setenv("ALLUXIO_LANCE_ADDRESS", text)
    assert find_address() == address


@pytest.mark.parametrize("text", ["grpcs://node.example:50051", "grpc://127.0.0.1:1", "grpcs://[::1]:9"])
def test_a_network_address_reads_as_it_is_written(text):
    """In messages."""
    assert str(find_address(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "grpc://h",
        "grpcs://h:0",
        "grpcs://h:99999",
        "grpcs://:1",
        "grpc://u:secret@h:1",
        "grpc://h:1/secret",
        "grpc://[::1",
    ],
)
def test_another_form_of_a_network_address_is_refused(text):
    """Without showing it: somebody may have put a password into it."""
    with pytest.raises(InvalidArgument, match="grpcs://HOST:PORT") as caught:
        find_address(text)
    assert "secret" not in caught.value.message


def test_shared_memory_needs_the_node_s_own_address():
    """It does not travel."""
    with pytest.raises(InvalidArgument, match="shared memory does not"):
        Address.find("grpcs://node.example:1")


@given(st.text(max_size=60))
def test_no_text_breaks_the_reading(text):
    """It is an address, or refused."""
    try:
        assert isinstance(find_address(f"grpcs://{text}"), RemoteAddress)
    except InvalidArgument:
        return


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
     ("10.0.0.1", False), ("localhost.example", False)],
)  # fmt: skip
def test_loopback_is_told_by_the_name_alone(host, local):
    """No name server has a say in it."""
    assert is_loopback(host) is local
