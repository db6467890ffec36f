"""Data of any accepted kind on their way to the sidecar: an Arrow IPC stream, cut into chunks while it is made.

Frames are recognised by what they can do (`__arrow_c_stream__` and the like), so that this file imports none of their
libraries.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Final, cast

import pyarrow as pa

from alluxio_lance.errors import InvalidArgument

__all__ = ["CHUNK", "as_path", "as_reader", "ipc_chunks"]

CHUNK: Final = 4 << 20
"""Bytes of the largest chunk."""
_ROWS_OF_HUGGING_FACE: Final = 1000
"""Rows that a Hugging Face dataset is asked for at once, as its own writer does."""


def as_path(data: Any) -> str | None:
    """Return the absolute path, when the data are one: the sidecar of the same node opens it itself."""
    if isinstance(data, (str, os.PathLike)):
        return str(Path(os.fsdecode(data)).expanduser().absolute())
    return None


def as_reader(data: Any) -> pa.RecordBatchReader:
    """Open data as a stream of record batches.

    Raises
    ------
    InvalidArgument
        When they are nothing that is accepted; the message says what is.
    """
    for fits, convert in _KINDS:
        if fits(data):
            return _converted(data, convert)
    raise InvalidArgument(
        f"a {type(data).__module__}.{type(data).__qualname__} is no data that can be registered - give a path, a "
        "pyarrow Table, RecordBatchReader or iterable of record batches, a pandas or polars frame, or a Hugging Face "
        "Dataset"
    )


def _converted(data: Any, convert: Callable[[Any], pa.RecordBatchReader]) -> pa.RecordBatchReader:
    try:
        return convert(data)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise InvalidArgument(
            f"the {type(data).__qualname__} does not fit into Arrow: {error} - correct the column, or give it a type"
        ) from error


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


# -- the kinds of data ------------------------------------------------------------------------------------------------


def _is_from(data: Any, library: str) -> bool:
    return type(data).__module__.partition(".")[0] == library


def _is_hugging_face(data: Any) -> bool:
    return _is_from(data, "datasets") and hasattr(data, "with_format") and hasattr(data, "features")


def _hugging_face(data: Any) -> pa.RecordBatchReader:
    schema = data.features.arrow_schema
    tables = data.with_format("arrow").iter(batch_size=_ROWS_OF_HUGGING_FACE)
    return pa.RecordBatchReader.from_batches(
        schema, (batch for table in tables for batch in table.cast(schema).to_batches())
    )


def _pandas(data: Any) -> pa.RecordBatchReader:
    return pa.Table.from_pandas(data).to_reader()


def _stream(data: Any) -> pa.RecordBatchReader:
    return cast("pa.RecordBatchReader", pa.RecordBatchReader.from_stream(data))


def _batches(data: Iterable[Any]) -> pa.RecordBatchReader:
    parts = iter(data)
    first = next(parts, None)
    if first is None:
        raise InvalidArgument("an iterable without any record batch has no schema - give at least an empty batch")
    if not isinstance(first, (pa.RecordBatch, pa.Table)):
        raise InvalidArgument(
            f"an iterable of data must yield pyarrow record batches and yields {type(first).__name__}"
        )
    return pa.RecordBatchReader.from_batches(first.schema, _flat(chain([first], parts)))


def _flat(parts: Iterable[Any]) -> Iterator[pa.RecordBatch]:
    for part in parts:
        if isinstance(part, pa.Table):
            yield from part.to_batches()
        else:
            yield part


_KINDS: Final[tuple[tuple[Callable[[Any], bool], Callable[[Any], pa.RecordBatchReader]], ...]] = (
    (lambda data: isinstance(data, pa.RecordBatchReader), lambda data: data),
    (lambda data: isinstance(data, pa.Table), lambda data: data.to_reader()),
    (lambda data: isinstance(data, pa.RecordBatch), lambda data: pa.Table.from_batches([data]).to_reader()),
    (_is_hugging_face, _hugging_face),
    (lambda data: _is_from(data, "pandas"), _pandas),
    (lambda data: hasattr(data, "__arrow_c_stream__"), _stream),
    (lambda data: isinstance(data, Iterable) and not isinstance(data, (bytes, bytearray, dict)), _batches),
)
