"""Signed posts: who may be called, what is tried again, and what is not believed."""

import hashlib
import hmac
import ipaddress
import socket
import threading

import pytest

from alluxio_lance.lifecycle.gates import posting
from alluxio_lance.lifecycle.gates.posting import Post, Undelivered, send
from alluxio_lance.lifecycle.rules.addresses import refusal


def post(url, **changes):
    """Describe a post to a service on this host."""
    values = {"body": b"{}", "secret_env": None, "timeout": 5.0, "retries": 2, "allow_private": True}
    return Post(url=url, **(values | changes))


class Waits:
    """Remembers how long it was to wait, and does not."""

    def __init__(self, *, over=False):
        self.pauses = []
        self.over = over

    def __call__(self, seconds):
        self.pauses.append(seconds)
        return self.over


def test_signature(service, monkeypatch):
    """The service can prove who asks, when, and that nothing was changed."""
    monkeypatch.setenv("GATE_KEY", "secret")
    service.will_answer(200, b"fine")
    assert send(post(service.url, secret_env="GATE_KEY", body=b'{"a": 1}')) == b"fine"
    path, headers, body = service.asked[0]
    assert path == "/gate?x=1"
    signed = headers["X-Alluxio-Lance-Timestamp"].encode() + b"." + body
    assert headers["X-Alluxio-Lance-Signature"] == "sha256=" + hmac.new(b"secret", signed, hashlib.sha256).hexdigest()


def test_unsigned_when_no_key_is_named(service):
    """Without a key there is no signature."""
    service.will_answer(204)
    assert send(post(service.url)) == b""
    assert "X-Alluxio-Lance-Signature" not in service.asked[0][1]


def test_missing_key(service, monkeypatch):
    """A key that is named and not there is no reason to send unsigned."""
    monkeypatch.delenv("GATE_KEY", raising=False)
    with pytest.raises(Undelivered, match="has no GATE_KEY"):
        send(post(service.url, secret_env="GATE_KEY"))
    assert service.asked == []


@pytest.mark.parametrize("status", [429, 500, 503])
def test_tries_again(service, status):
    """A service that is busy or broken is asked again, under the same delivery id, after a random time."""
    service.will_answer(status)
    service.will_answer(status)
    service.will_answer(200, b"fine")
    waits = Waits()
    assert send(post(service.url), wait=waits) == b"fine"
    assert len({headers["X-Alluxio-Lance-Delivery"] for _, headers, _ in service.asked}) == 1
    assert len(waits.pauses) == 2
    assert all(0 <= pause <= 1 for pause in waits.pauses)


def test_gives_up(service):
    """After the last try it is over."""
    for _ in range(3):
        service.will_answer(500)
    with pytest.raises(Undelivered, match=r"answered 500 \(tried 3 times\)"):
        send(post(service.url), wait=Waits())


def test_gives_up_when_time_is_over(service):
    """Who closes waits for no retry."""
    service.will_answer(500)
    with pytest.raises(Undelivered, match="tried 1 times"):
        send(post(service.url), wait=Waits(over=True))


@pytest.mark.parametrize("status", [400, 401, 404])
def test_final_answers(service, status):
    """A clear refusal is final."""
    service.will_answer(status)
    with pytest.raises(Undelivered, match=f"answered {status}$"):
        send(post(service.url), wait=Waits())
    assert len(service.asked) == 1


def test_no_redirect(service):
    """A redirect is not followed: it would let the service choose the address."""
    service.will_answer(302, Location="http://169.254.169.254/")
    with pytest.raises(Undelivered, match="redirects are not followed"):
        send(post(service.url), wait=Waits())


def test_too_much(service):
    """An answer without end is not read to its end."""
    service.will_answer(200, b"x" * (65 << 10))
    with pytest.raises(Undelivered, match="more than 64 KiB"):
        send(post(service.url))


def test_a_trickle_ends_in_time(service):
    """A server that sends byte after byte does not hold the line beyond the time-out."""
    ended = threading.Event()

    def trickle(handler):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        try:
            while not ended.wait(0.02):
                handler.wfile.write(b"X: y\r\n")
        except OSError:
            return

    service.will_answer(None, trickle)
    try:
        with pytest.raises(Undelivered, match="did not answer in time"):
            send(post(service.url, timeout=0.3, retries=0))
    finally:
        ended.set()


def test_nobody_there():
    """A connection that is refused is tried again."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
        waits = Waits()
        with pytest.raises(Undelivered, match="cannot be reached"):
            send(post(url), wait=waits)
    assert len(waits.pauses) == 2


def test_broken_off(service):
    """A line that breaks is tried again."""
    service.will_answer(None, lambda handler: handler.connection.shutdown(socket.SHUT_RDWR))
    service.will_answer(200, b"fine")
    assert send(post(service.url), wait=Waits()) == b"fine"


def test_no_such_name():
    """A name that does not resolve is said so."""
    with pytest.raises(Undelivered, match="cannot be resolved"):
        send(post("https://nowhere.invalid/", retries=0))


def test_private_address_of_a_name(service):
    """A name that leads into a private network is refused, although its text looks public."""
    url = service.url.replace("127.0.0.1", "localhost")
    with pytest.raises(Undelivered, match=r"localhost is refused: .* not a public address"):
        send(post(url, allow_private=False), wait=Waits())
    assert service.asked == []


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "127.1", "[::ffff:127.0.0.1]"])
def test_private_address_in_disguise(service, host):
    """Other spellings of a private address are refused as well."""
    url = service.url.replace("127.0.0.1", host)
    with pytest.raises(Undelivered, match="not a public address"):
        send(post(url, allow_private=False), wait=Waits())
    assert service.asked == []


def test_resolved_once(service, monkeypatch):
    """The connection goes to the address that was judged: a name that changes in between changes nothing."""
    real, asked = socket.getaddrinfo, []

    def once(host, port, **options):
        asked.append(host)
        return real("127.0.0.1" if len(asked) == 1 else "192.0.2.1", port, **options)

    monkeypatch.setattr(posting.socket, "getaddrinfo", once)
    service.will_answer(200, b"fine")
    port = service.url.rsplit(":", 1)[1].partition("/")[0]
    assert send(post(f"http://changing.example:{port}/")) == b"fine"
    assert asked == ["changing.example"]
    assert service.asked[0][1]["Host"] == f"changing.example:{port}"


def test_no_tls(service):
    """A server that speaks no TLS cannot be asked by https."""
    with pytest.raises(Undelivered, match="cannot be reached"):
        send(post(service.url.replace("http:", "https:"), retries=0))


def test_bad_rule():
    """A URL that came into the rules by an earlier release is judged again."""
    with pytest.raises(Undelivered, match="https://host/path"):
        send(post("ftp://x/"))


@pytest.mark.parametrize(
    ("address", "public", "private"),
    [
        ("8.8.8.8", True, True),
        ("2606:4700::1111", True, True),
        ("10.0.0.1", False, True),
        ("127.0.0.1", False, True),
        ("::1", False, True),
        ("fd00::1", False, True),
        ("::ffff:192.168.0.1", False, True),
        ("2002:0a00:0001::", False, True),
        ("64:ff9b::a00:1", False, True),
        ("::7f00:1", False, True),
        ("2001:0:4136:e378:8000:63bf:f5ff:fffe", False, True),
        ("100.64.0.1", False, True),
        ("169.254.169.254", False, False),
        ("::ffff:169.254.169.254", False, False),
        ("64:ff9b::a9fe:a9fe", False, False),
        ("fe80::1", False, False),
        ("fd00:ec2::254", False, False),
        ("fec0::1", False, True),
        ("192.88.99.1", False, True),
        ("3fff::1", False, True),
        ("100.100.100.200", False, False),
        ("224.0.0.1", False, False),
        ("0.0.0.0", False, False),
        ("::", False, False),
    ],
)
def test_addresses(address, public, private):
    """Only public addresses may be called, private ones when the rule allows it, and those of key services never."""
    literal = ipaddress.ip_address(address)
    assert (refusal(literal, allow_private=False) is None) is public
    assert (refusal(literal, allow_private=True) is None) is private
