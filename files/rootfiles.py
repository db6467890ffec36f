"""Files right below the root, which lie in no bucket of the S3 service: they pass through the REST service, as a whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, Final
from urllib.parse import quote

from alluxio_lance.errors import Corrupt
from alluxio_lance.files.bodies import Body
from alluxio_lance.files.calls import Answer, Calls, exactly
from alluxio_lance.files.paths import check_name

__all__ = ["RootFiles", "replaced"]

_CHUNK: Final = 4 << 20


class RootFiles:
    """The files of the root. The service knows no ranges: what is before a range is read, and thrown away."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def read(self, path: str, offset: int, length: int, *, size: int) -> bytes:
        """Read a range, as `Endpoint.read` does."""

        def take(answer: Answer) -> bytes:
            for at in range(0, offset, _CHUNK):
                exactly(answer, min(_CHUNK, offset - at))
            return exactly(answer, length)

        def once() -> bytes:
            # A long answer does not say how long it is.
            if (found := self._size(path)) != size:
                raise replaced(path, size, found)
            with self._stream(path, "open-file", {}) as url:
                return self._calls.once("POST", f"{url}/read", path, take)

        return self._calls.patiently(path, once)

    def write(self, path: str, data: BinaryIO, length: int) -> None:
        """Write a whole file, as `Endpoint.write` does."""

        def once() -> None:
            data.seek(0)
            with self._stream(path, "create-file", {"overwrite": True}) as url:
                headers = {"Content-Length": str(length), "Content-Type": "application/octet-stream"}
                body = Body(path, data, length)
                self._calls.once("POST", f"{url}/write", path, Answer.read, headers=headers, body=body)

        self._calls.patiently(path, once)

    def _size(self, path: str) -> int:
        return int(self._ask(path, "get-status", {})["length"])

    def _ask(self, path: str, verb: str, options: dict[str, bool]) -> Any:
        url = f"/api/v1/paths/{quote(check_name(path))}/{verb}"
        headers, body = {"Content-Type": "application/json"}, json.dumps(options).encode()
        return json.loads(self._calls.once("POST", url, path, Answer.read, headers=headers, body=body))

    @contextmanager
    def _stream(self, path: str, verb: str, options: dict[str, bool]) -> Iterator[str]:
        """Open a stream of the service, and close it at the end: it would be kept for an hour."""
        number = self._ask(path, verb, options)
        try:
            yield f"/api/v1/streams/{number}"
        finally:
            self._calls.once("POST", f"/api/v1/streams/{number}/close", path, Answer.read)


def replaced(path: str, expected: int, found: int | None) -> Corrupt:
    """Say that a file is not the one that was listed."""
    return Corrupt(
        f"{path} has not the {expected} bytes any more that it had when it was listed: list it again",
        expected=expected,
        found=found,
    )
