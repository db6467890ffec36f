"""Data of any accepted kind on their way to the sidecar: an Arrow IPC stream, cut into chunks while it is made."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Final

import pyarrow as pa

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.incoming import IN_MEMORY, find_kind

__all__ = ["CHUNK", "as_path", "as_reader", "ipc_chunks"]

CHUNK: Final = 4 << 20
"""Bytes of the largest chunk."""


def as_path(data: Any) -> str | None:
    """Return the path, when the data are one: absolute, since the sidecar of the same node opens it itself."""
    if not isinstance(data, (str, os.PathLike)):
        return None
    text = os.fsdecode(data)
    # What is no local path is for the sidecar to refuse, in its own words.
    return text if not text or "://" in text else os.path.abspath(os.path.expanduser(text))  # noqa: PTH100, PTH111 - a text stays a text


def as_reader(data: Any) -> pa.RecordBatchReader:
    """Open data as a stream of record batches.

    Raises
    ------
    InvalidArgument
        When they are nothing that is accepted; the message says what is.
    """
    kind = find_kind(data)
    if kind is None:
        accepted = ", ".join(kind.accepts for kind in IN_MEMORY)
        raise InvalidArgument(f"{type(data).__name__} is not accepted. Accepted are a path, {accepted}")
    return kind.open(data).reader


def ipc_chunks(reader: pa.RecordBatchReader) -> Iterator[bytes]:
    """Write a stream of batches as an Arrow IPC stream in chunks of at most `CHUNK` bytes; the reader is closed.

    Only one batch is in memory at a time, and a large one goes in slices.
    """
    pieces = _Pieces()
    with reader, pa.ipc.new_stream(pa.PythonFile(pieces, mode="w"), reader.schema) as writer:
        for batch in reader:
            for part in _slices(batch):
                writer.write_batch(part)
                yield from pieces.taken(CHUNK)
    yield from pieces.taken(1)


class _Pieces:
    """A file to write to, and to take what was written from."""

    def __init__(self) -> None:
        self._written = bytearray()
        self.closed = False

    def write(self, data: Any) -> int:
        """Keep bytes."""
        self._written += data
        return len(data)

    def flush(self) -> None:
        """Do nothing: what is written is here."""

    def close(self) -> None:
        """Take no more."""
        self.closed = True

    def taken(self, least: int) -> Iterator[bytes]:
        """Yield chunks while at least ``least`` bytes are here."""
        place = 0
        while len(self._written) - place >= least:
            chunk = bytes(memoryview(self._written)[place : place + CHUNK])
            place += len(chunk)
            yield chunk
        del self._written[:place]


def _slices(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    parts = max(1, -(-batch.nbytes // CHUNK))
    rows = max(1, -(-batch.num_rows // parts))
    for start in range(0, max(batch.num_rows, 1), rows):
        yield batch.slice(start, rows)
