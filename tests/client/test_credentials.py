"""What a client shows and whom it believes; the token is never shown to anybody else."""

import pytest

from alluxio_lance.address import RemoteAddress
from alluxio_lance.client.channel import Stubs
from alluxio_lance.client.credentials import Credentials, Signed
from alluxio_lance.errors import InvalidArgument

TOKEN = "al_abcdefghijkl_" + "s" * 43
AFAR, HERE = RemoteAddress("node.example", 1, tls=False), RemoteAddress("127.0.0.1", 1, tls=False)


@pytest.fixture(autouse=True)
def _clean(monkeypatch):
    """No token and no certificate of whoever runs the tests."""
    for name in ("TOKEN", "CA", "CERTIFICATE", "KEY"):
        monkeypatch.delenv(f"ALLUXIO_LANCE_{name}", raising=False)


def test_the_token_of_the_environment_goes_with_every_call(monkeypatch):
    """Without the blanks around it; none is none."""
    assert Credentials.find().metadata == ()
    monkeypatch.setenv("ALLUXIO_LANCE_TOKEN", "  \n")
    assert Credentials.find().metadata == ()
    monkeypatch.setenv("ALLUXIO_LANCE_TOKEN", f" {TOKEN}\n")
    assert Credentials.find().metadata == (("authorization", f"Bearer {TOKEN}"),)


def test_the_token_is_not_in_any_repr(monkeypatch):
    """Logs and debuggers print those."""
    monkeypatch.setenv("ALLUXIO_LANCE_TOKEN", TOKEN)
    found = Credentials.find()
    assert TOKEN not in repr(found) + str(found) + repr(Signed(found.metadata))


@pytest.mark.parametrize("token", ["two words", "ümläut", "tab\there"])
def test_what_cannot_be_a_token_is_refused_without_showing_it(monkeypatch, token):
    """It may be a password."""
    monkeypatch.setenv("ALLUXIO_LANCE_TOKEN", token)
    with pytest.raises(InvalidArgument, match="ALLUXIO_LANCE_TOKEN holds no token") as caught:
        Credentials.find()
    assert token not in caught.value.message


def test_a_token_does_not_travel_where_others_can_read_it(monkeypatch):
    """Without TLS only within this host."""
    monkeypatch.setenv("ALLUXIO_LANCE_TOKEN", TOKEN)
    with pytest.raises(InvalidArgument, match="grpcs://") as caught:
        Stubs.connect(AFAR, 0.1)
    assert TOKEN not in caught.value.message
    Credentials.find().open(HERE, ()).close()
    monkeypatch.delenv("ALLUXIO_LANCE_TOKEN")
    Credentials.find().open(AFAR, ()).close()


@pytest.mark.parametrize(
    ("variables", "what"),
    [
        ({"CA": "/nowhere/ca.pem"}, "ALLUXIO_LANCE_CA names /nowhere/ca.pem"),
        ({"CERTIFICATE": __file__}, "needs both"),
        ({"KEY": __file__}, "needs both"),
    ],
)
def test_certificates_that_cannot_be_read_are_named(monkeypatch, variables, what):
    """Before anything is sent."""
    for name, value in variables.items():
        monkeypatch.setenv(f"ALLUXIO_LANCE_{name}", value)
    with pytest.raises(InvalidArgument, match=what):
        Credentials.find().open(RemoteAddress("node.example", 1, tls=True), ())
