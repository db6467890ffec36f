"""Signed JSON, posted to an address that a rule names: resolved once, judged, and connected to as judged.

No redirect is followed and no proxy is asked, since either would let somebody else choose the address. Connections that
fail, 429 and 5xx are tried again after a random time; every other answer is final.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import ipaddress
import os
import random
import socket
import ssl
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import SplitResult

from alluxio_lance.lifecycle.rules.addresses import check_url, refusal

__all__ = ["Post", "Undelivered", "send", "sign"]

_LIMIT: Final = 64 << 10
_BACKOFF: Final = 0.5
_LONGEST_BACKOFF: Final = 10.0
_TOO_MANY: Final = 429

Wait = Callable[[float], Any]
"""Waits for some seconds; true when there is no time left to try again."""


class Undelivered(Exception):
    """Nobody took it; the text says why."""


class _Again(Exception):
    """An attempt failed, and another may not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """What is sent, and to whom."""

    url: str
    body: bytes
    """JSON."""
    secret_env: str | None
    """The variable with the key of the signature; None: unsigned."""
    timeout: float
    """Seconds for one attempt, from the connection to the last byte of the answer."""
    retries: int
    allow_private: bool


def send(post: Post, *, wait: Wait = time.sleep) -> bytes:
    """Post it and return the answer's body.

    Raises
    ------
    Undelivered
        When no attempt was answered with 2xx, or the address may not be called, or the key is missing.
    """
    key = _key(post.secret_env)
    delivery = uuid.uuid4().hex
    for attempt in range(post.retries + 1):
        try:
            return _attempt(post, key, delivery)
        except _Again as error:
            pause = random.uniform(0, min(_LONGEST_BACKOFF, _BACKOFF * 2**attempt))  # noqa: S311 - no secret
            if attempt == post.retries or wait(pause):
                raise Undelivered(f"{error} (tried {attempt + 1} times)") from None
    raise AssertionError  # the loop returns or raises


def sign(key: bytes, timestamp: int, body: bytes) -> str:
    """Return the signature's header: HMAC-SHA256 over the timestamp, a full stop, and the body."""
    return "sha256=" + hmac.new(key, f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()


def _key(variable: str | None) -> bytes | None:
    if variable is None:
        return None
    key = os.environ.get(variable)
    if not key:
        raise Undelivered(f"the key of the signature is missing: the server's environment has no {variable}")
    return key.encode()


def _attempt(post: Post, key: bytes | None, delivery: str) -> bytes:
    try:
        parts = check_url(post.url, allow_private=post.allow_private)
    except ValueError as error:
        raise Undelivered(str(error)) from None
    timestamp = int(time.time())
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "alluxio-lance",
        "X-Alluxio-Lance-Delivery": delivery,
        "X-Alluxio-Lance-Timestamp": str(timestamp),
    }
    if key is not None:
        headers["X-Alluxio-Lance-Signature"] = sign(key, timestamp, post.body)
    deadline = time.monotonic() + post.timeout
    connection = _connected(parts, post, deadline)
    try:
        return _exchange(connection, parts, post.body, headers, deadline)
    finally:
        connection.close()


def _connected(parts: SplitResult, post: Post, deadline: float) -> http.client.HTTPConnection:
    host = parts.hostname or ""
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    raw = _dial(_addresses(host, port, allow_private=post.allow_private), host, deadline)
    try:
        raw.settimeout(_left(deadline, host))
        connection = http.client.HTTPConnection(host, port)
        connection.default_port = 443 if secure else 80  # the Host header leaves this one out
        connection.sock = ssl.create_default_context().wrap_socket(raw, server_hostname=host) if secure else raw
    except ssl.SSLCertVerificationError as error:
        raw.close()
        raise Undelivered(f"{host} has no valid certificate: {error.verify_message}") from None
    except OSError as error:
        raw.close()
        raise _Again(f"{host} cannot be reached: {error}") from None
    return connection


def _addresses(host: str, port: int, *, allow_private: bool) -> list[tuple[int, tuple[Any, ...]]]:
    """Resolve a name, once; when one of its addresses may not be called, none is."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise _Again(f"{host} cannot be resolved: {error}") from None
    for _, _, _, _, address in found:
        literal = ipaddress.ip_address(str(address[0]).partition("%")[0])
        if reason := refusal(literal, allow_private=allow_private):
            raise Undelivered(f"{host} is refused: {reason}")
    return [(family, address) for family, _, _, _, address in found]


def _dial(addresses: list[tuple[int, tuple[Any, ...]]], host: str, deadline: float) -> socket.socket:
    fault: OSError | None = None
    for family, address in addresses:
        raw = socket.socket(family, socket.SOCK_STREAM)
        try:
            raw.settimeout(_left(deadline, host))
            raw.connect(address)
        except OSError as error:
            raw.close()
            fault = error
        except BaseException:
            raw.close()
            raise
        else:
            return raw
    raise _Again(f"{host} cannot be reached: {fault}")


def _left(deadline: float, host: str) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise _Again(f"{host} did not answer in time")
    return left


def _exchange(
    connection: http.client.HTTPConnection, parts: SplitResult, body: bytes, headers: dict[str, str], deadline: float
) -> bytes:
    host = parts.hostname or ""
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    late = threading.Event()
    # A time-out of the socket begins anew with each byte: a server that trickles would hold the line for ever.
    watch = threading.Timer(_left(deadline, host), _hang_up, (connection.sock, late))
    watch.daemon = True
    watch.start()
    try:
        connection.request("POST", target, body, headers)
        response = connection.getresponse()
        answer = response.read(_LIMIT + 1)
    except (OSError, http.client.HTTPException) as error:
        reason = "did not answer in time" if late.is_set() else f"broke off: {type(error).__name__}: {error}"
        raise _Again(f"{host} {reason}") from None
    finally:
        watch.cancel()
    if late.is_set():
        raise _Again(f"{host} did not answer in time")
    return _judged(host, response.status, answer)


def _hang_up(line: socket.socket, late: threading.Event) -> None:
    late.set()
    try:
        line.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it is closed already


def _judged(host: str, status: int, answer: bytes) -> bytes:
    if status == _TOO_MANY or status >= http.client.INTERNAL_SERVER_ERROR:
        raise _Again(f"{host} answered {status}")
    if http.client.MULTIPLE_CHOICES <= status < http.client.BAD_REQUEST:
        raise Undelivered(f"{host} answered {status}: redirects are not followed, name the last address")
    if not http.client.OK <= status < http.client.MULTIPLE_CHOICES:
        raise Undelivered(f"{host} answered {status}")
    if len(answer) > _LIMIT:
        raise Undelivered(f"{host} answered with more than {_LIMIT >> 10} KiB")
    return answer
