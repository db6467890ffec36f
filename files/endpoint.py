"""Bytes of files over the network: ranges from, and whole files to, the S3 service of Alluxio's proxy."""

from __future__ import annotations

import re
from typing import BinaryIO, Final
from urllib.parse import quote

from alluxio_lance.files.address import AlluxioAddress
from alluxio_lance.files.bodies import Body
from alluxio_lance.files.calls import Answer, Calls, exactly
from alluxio_lance.files.paths import bucket_and_key, check_name
from alluxio_lance.files.rootfiles import RootFiles, replaced

__all__ = ["Endpoint"]

_CHUNK: Final = 16 << 20
"""Bytes of one request: each is made again by itself."""
_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_PARTIAL: Final = 206


class Endpoint:
    """The bytes of one Alluxio, for one process; any of its threads may use it."""

    def __init__(self, address: AlluxioAddress) -> None:
        self._calls = Calls(address)
        self._root = RootFiles(self._calls)

    def read(self, path: str, offset: int, length: int, *, size: int) -> bytes:
        """Read a range that lies within the ``size`` bytes which the file has.

        Raises
        ------
        NotFound
            When it is gone.
        Corrupt
            When it has another size.
        Unavailable
            When the proxy does not answer.
        """
        if not bucket_and_key(path)[0]:
            return self._root.read(path, offset, length, size=size)
        end = offset + length
        parts = [self._range(path, at, min(_CHUNK, end - at), size) for at in range(offset, end, _CHUNK)]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _range(self, path: str, offset: int, length: int, size: int) -> bytes:
        headers = {"Range": f"bytes={offset}-{offset + length - 1}"}

        def take(answer: Answer) -> bytes:
            told = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
            # A file that ends before the range is answered without bytes, and with a range that is none.
            found = int(told[3]) if told and answer.status == _PARTIAL else None
            if found != size:
                raise replaced(path, size, found)
            return exactly(answer, length)

        return self._calls.patiently(path, lambda: self._calls.once("GET", _object(path), path, take, headers=headers))

    def write(self, path: str, data: BinaryIO, length: int) -> None:
        """Write a whole file in a bucket that is there; acknowledged when the under-store has it.

        Of an upload that breaks off, the service makes a whole file of what came: a name that counts is given later.

        Raises
        ------
        NotFound
            When the bucket is missing.
        InvalidArgument
            When the stream has fewer bytes, or cannot be read.
        NoSpace
            When there is no room.
        Unavailable
            When the proxy does not answer.
        """
        if not bucket_and_key(path)[0]:
            self._root.write(path, data, length)
            return
        headers = {"Content-Length": str(length)}

        def put() -> None:
            data.seek(0)
            body = Body(path, data, length)
            self._calls.once("PUT", _object(path), path, Answer.read, headers=headers, body=body)

        self._calls.patiently(path, put)

    def close(self) -> None:
        """Let go of the connections."""
        self._calls.close()


def _object(path: str) -> str:
    bucket, key = bucket_and_key(check_name(path))
    return f"/api/v1/s3/{quote(bucket)}/{quote(key)}"
