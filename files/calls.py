"""Calls of Alluxio's proxy on connections that are kept, made again while they break."""

from __future__ import annotations

import http.client
import random
import re
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from alluxio_lance.errors import (
    AlreadyExists,
    Internal,
    InvalidArgument,
    NoSpace,
    NotFound,
    PermissionDenied,
    Unavailable,
)
from alluxio_lance.files.address import AlluxioAddress
from alluxio_lance.files.bodies import Body

__all__ = ["Answer", "Broken", "Calls", "exactly"]

T = TypeVar("T")
Answer = http.client.HTTPResponse

_SILENCE: Final = 30.0
"""Seconds without a byte after which a call is given up."""
_PATIENCE: Final = 60.0
"""Seconds after which a call that failed is not made again."""
_ATTEMPTS: Final = 6
_FIRST_PAUSE: Final = 0.1
_SPARE: Final = 32
"""Connections that are kept for the next call."""
_BLOCK: Final = 1 << 20
_OK: Final = (200, 204, 206)
_KINDS: Final[dict[int | str, tuple[type[Exception], str]]] = {
    400: (InvalidArgument, "Alluxio refuses it for"),
    401: (PermissionDenied, "Alluxio does not allow it on"),
    403: (PermissionDenied, "Alluxio does not allow it on"),
    404: (NotFound, "there is nothing in Alluxio at"),
    507: (NoSpace, "Alluxio has no room for"),
    "ALREADY_EXISTS": (AlreadyExists, "there is something in Alluxio already at"),
    "INVALID_ARGUMENT": (InvalidArgument, "Alluxio refuses it for"),
    "NOT_FOUND": (NotFound, "there is nothing in Alluxio at"),
    "PERMISSION_DENIED": (PermissionDenied, "Alluxio does not allow it on"),
    "RESOURCE_EXHAUSTED": (NoSpace, "Alluxio has no room for"),
}
"""By the status of the S3 service, and by the word with which the REST service explains its 500."""
_AGAIN: Final = (408, 429, *range(500, 600))
_NEVER: Final = re.compile(r"is a directory|irectories cannot be|is a file, not")
"""What the S3 service calls an internal error, and is the caller's."""


class Broken(Exception):
    """The call failed, and may be made again."""


class Calls:
    """The proxy of one Alluxio, for one process; any of its threads may use it."""

    def __init__(self, address: AlluxioAddress) -> None:
        self._address = address
        self.where = f"the proxy of Alluxio at {address.host}:{address.proxy}"
        self._spare: deque[http.client.HTTPConnection] = deque()
        # Who forgets to close leaves no warning and no socket.
        weakref.finalize(self, _close_all, self._spare)
        self._headers = {"Authorization": address.authorization}

    def once(
        self,
        method: str,
        url: str,
        path: str,
        take: Callable[[Answer], T],
        *,
        headers: Mapping[str, str] | None = None,
        body: Body | bytes | None = None,
    ) -> T:
        """Make one call and give its answer to ``take``; `Broken` when it may be made again."""
        connection = self._connection()
        kept = False
        try:
            sent = _send(connection, method, url, body, {**self._headers, **(headers or {})})
            answer = connection.getresponse()
            if answer.status not in _OK:
                said = answer.read()
                kept = sent and not answer.will_close
                raise self._fault(path, answer.status, said)
            found = take(answer)
            kept = sent and answer.isclosed() and not answer.will_close
        except (http.client.HTTPException, OSError) as error:
            raise Broken(f"{type(error).__name__}: {error}".rstrip(": ")) from error
        else:
            return found
        finally:
            if kept and len(self._spare) < _SPARE:
                self._spare.append(connection)
            else:
                connection.close()

    def patiently(self, path: str, call: Callable[[], T]) -> T:
        """Make a call that may be made twice, again while it breaks.

        Raises
        ------
        Unavailable
            When it broke six times, or for a minute.
        """
        deadline = time.monotonic() + _PATIENCE
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return call()
            except Broken as error:
                if attempt == _ATTEMPTS or time.monotonic() > deadline:
                    raise Unavailable(
                        f"{self.where} does not serve {path} ({error}): is it up? See `alluxio-lance alluxio status`",
                        what="alluxio",
                    ) from error
                # Spare connections broke with the proxy. With jitter: all nodes ask again after it was restarted.
                self.close()
                time.sleep(_FIRST_PAUSE * 2**attempt * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
        raise AssertionError

    def close(self) -> None:
        """Let go of the spare connections."""
        _close_all(self._spare)

    def _connection(self) -> http.client.HTTPConnection:
        try:
            return self._spare.pop()
        except IndexError:
            where = self._address
            return http.client.HTTPConnection(where.host, where.proxy, timeout=_SILENCE, blocksize=_BLOCK)

    def _fault(self, path: str, status: int, said: bytes) -> Exception:
        text = said.decode(errors="replace")
        why = _why(text)
        word = re.search(r'"statusCode"\s*:\s*"(\w+)"', text)
        found = _KINDS.get(word[1] if word else status)
        if found is None and _NEVER.search(why):
            found = _KINDS[400]
        if found is not None:
            return found[0](f"{found[1]} {path}: {why}")
        if status in _AGAIN:
            return Broken(f"{status} {why}")
        return Internal(f"{self.where} answered {status} for {path}: {why}")


def _send(
    connection: http.client.HTTPConnection, method: str, url: str, body: Body | bytes | None, headers: dict[str, str]
) -> bool:
    """Send a call and tell whether all of it was taken: an upload is refused before it was read, with an answer."""
    try:
        connection.request(method, url, body=body, headers=headers)
    except (BrokenPipeError, ConnectionResetError):
        if connection.sock is None:
            raise
        return False
    return True


def exactly(answer: Answer, length: int) -> bytes:
    """Read so many bytes of an answer; `Broken` when it ends before."""
    data = answer.read(length)
    while len(data) < length:
        more = answer.read(length - len(data))
        if not more:
            raise Broken(f"the answer ended after {len(data)} of {length} bytes")
        data += more
    return data


def _close_all(spare: deque[http.client.HTTPConnection]) -> None:
    while spare:
        try:
            spare.pop().close()
        except IndexError:
            return


def _why(text: str) -> str:
    """Take the reason out of an answer of the S3 service (XML), or of the REST service (JSON)."""
    found = re.search(r"<Message>(.*?)</Message>", text, re.DOTALL) or re.search(
        r'"message"\s*:\s*"((?:[^"\\]|\\.)*)"', text
    )
    return " ".join((found[1] if found else text).split())[:300] or "without a reason"
