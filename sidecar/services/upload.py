"""Data that come with a call: the chunks of a gRPC stream as a file that pyarrow reads record batches from.

Nothing is collected: a chunk is taken from the stream when the reader asks for its bytes, so gRPC's flow control makes
the sender wait for the disk.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, Final, Protocol, cast

import grpc
import pyarrow as pa

from alluxio_lance.errors import AlluxioLanceError, InvalidArgument, Unavailable

__all__ = ["Part", "Upload"]

_END_OF_STREAM: Final = b"\xff\xff\xff\xff\x00\x00\x00\x00"


class Part(Protocol):
    """A message of a call with data: its ``chunk`` is what counts here."""

    chunk: bytes

    def WhichOneof(self, oneof_group: str) -> str | None:
        """Name the field that is set."""
        ...


class Upload(io.RawIOBase):
    """The chunks of a call as one file.

    An Arrow reader takes a stream that just stops for a complete one. This file does not: when the last bytes are not
    Arrow's end-of-stream mark, the sender died or gave up, and the read raises.
    """

    def __init__(self, parts: Iterator[Any]) -> None:
        super().__init__()
        self._parts = parts
        self._chunk = memoryview(b"")
        self._tail = b""
        self.failure: AlluxioLanceError | None = None
        """Why the stream broke off, if it did: what went through Lance in between is no more than a text."""

    def readable(self) -> bool:
        """Say yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as the current chunk goes.

        Raises
        ------
        Unavailable
            When the caller has gone, or ended the stream before its end.
        """
        if not self._chunk:
            self._chunk = memoryview(self._next())
        count = min(len(buffer), len(self._chunk))
        buffer[:count] = self._chunk[:count]
        self._chunk = self._chunk[count:]
        return count

    def batches(self) -> pa.RecordBatchReader:
        """Open the Arrow IPC stream.

        Raises
        ------
        InvalidArgument
            When it is none.
        """
        try:
            return cast("pa.RecordBatchReader", pa.ipc.open_stream(io.BufferedReader(self, 1 << 20)))
        except pa.ArrowInvalid as error:
            if self.failure is not None:
                raise self.failure from error
            raise InvalidArgument(f"the chunks of the call are no Arrow IPC stream: {error}") from error

    def _next(self) -> bytes:
        """Return the next chunk, b"" at the end."""
        try:
            chunk = next(self._chunks(), b"")
        except grpc.RpcError as error:
            self.failure = Unavailable(
                "the caller went away while it sent its data - nothing was changed", what="caller"
            )
            raise self.failure from error
        if not chunk and self._tail != _END_OF_STREAM:
            self.failure = Unavailable(
                "the data stream broke off before its end (Arrow's end-of-stream mark is missing) - nothing was "
                "changed; send it again",
                what="caller",
            )
            raise self.failure
        self._tail = (self._tail + chunk[-len(_END_OF_STREAM) :])[-len(_END_OF_STREAM) :]
        return chunk

    def _chunks(self) -> Iterator[bytes]:
        for part in self._parts:
            if part.WhichOneof("part") != "chunk":
                self.failure = InvalidArgument("after the header a call carries chunks only")
                raise self.failure
            if part.chunk:
                yield part.chunk
