"""One connection by itself: what the kernel refuses, and what is too large to say."""

import errno
import json
import socket

import pytest

from alluxio_lance.errors import NotFound
from alluxio_lance.sidecar.connections import LARGEST_PACKET, Connection, Gone


@pytest.fixture
def ends():
    """The sidecar's end as a connection, and the other end."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection = Connection(1, ours)
    with theirs:
        yield connection, theirs
        connection.close()


class Refusing:
    """A socket that the kernel lets send nothing."""

    def __init__(self, inner, number):
        self._inner = inner
        self._number = number

    def sendmsg(self, *_):
        """Fail."""
        raise OSError(self._number, "refused")

    def __getattr__(self, name):
        return getattr(self._inner, name)


def test_too_many_descriptors_under_way_are_sent_later(ends, monkeypatch):
    """The kernel counts what each user has in flight; the packet waits, and nothing is lost."""
    connection, theirs = ends
    sent = []
    connection.reply({"ok": True}, [theirs.fileno()], lambda: sent.append(True))
    with monkeypatch.context() as patch:
        patch.setattr(connection, "_socket", Refusing(connection._socket, errno.ETOOMANYREFS))
        connection.flush()
    assert (connection.crowded, connection.unsent, sent) == (True, True, [])
    connection.flush()
    assert (connection.crowded, connection.unsent, sent) == (False, False, [True])
    assert json.loads(theirs.recv(100)) == {"ok": True}


def test_what_cannot_be_sent_any_more_is_forgotten(ends, monkeypatch):
    """What was kept for it is let go."""
    connection, _ = ends
    sent = []
    connection.reply({"ok": True}, sent=lambda: sent.append(True))
    with monkeypatch.context() as patch:
        patch.setattr(connection, "_socket", Refusing(connection._socket, errno.EPIPE))
        with pytest.raises(Gone):
            connection.flush()
    connection.close()
    connection.close()
    assert sent == [True]


def test_a_refusal_that_is_too_long_is_cut(ends):
    """Class and beginning of the sentence fit into a packet."""
    connection, theirs = ends
    connection.refuse(NotFound("n" * 100_000, long="x" * 100_000))
    connection.flush()
    data = theirs.recv(1 << 20)
    assert len(data) < LARGEST_PACKET
    error = json.loads(data)["error"]
    assert (error["kind"], error["message"], error["details"]) == ("NotFound", "n" * 4096, {})


def test_nothing_to_read_is_nothing(ends):
    """And a reset is the end."""
    connection, _ = ends
    assert connection.receive() is None
    connection.close()
    with pytest.raises(Gone):
        connection.receive()
