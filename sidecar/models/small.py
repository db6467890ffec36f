"""A small model is read in one pass by one thread: waiting for others to get a processor takes longer than its bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from typing import Any, Final, Protocol, TypeVar

import pyarrow as pa

from alluxio_lance.lifecycle.ports import Destination
from alluxio_lance.ways import FileWay
from alluxio_lance.weights.chunks import CHUNK_BYTES
from alluxio_lance.weights.rows import MODEL_SCHEMA

__all__ = ["SMALL_BYTES", "InPlace", "ModelRows", "SmallModel"]

T = TypeVar("T")

SMALL_BYTES: Final = CHUNK_BYTES
"""Bytes of data files up to which all of them are read at once."""


class ModelRows(Protocol):
    """What a load asks of ``TableReader``."""

    @property
    def ways(self) -> Sequence[FileWay]:
        """By which way each file is read."""
        ...

    def batches(
        self,
        columns: Sequence[str],
        *,
        rows: tuple[int, int] | None = None,
        batch_rows: int,
        into: Destination | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Stream rows in order."""
        ...


class SmallModel:
    """Implements `ModelRows` for a model that is held in memory from the first question on.

    Parameters
    ----------
    reader
        The version.
    """

    def __init__(self, reader: ModelRows) -> None:
        self._reader = reader
        self._table: pa.Table | None = None

    @property
    def ways(self) -> Sequence[FileWay]:
        """By which way each file was read: nothing is read any more once the first batch was given out."""
        return self._reader.ways

    def batches(
        self,
        columns: Sequence[str],
        *,
        rows: tuple[int, int] | None = None,
        batch_rows: int,
        into: Destination | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Give rows out, without a copy; ``into`` is of no use any more."""
        if self._table is None:
            found = list(self._reader.batches(MODEL_SCHEMA.names, batch_rows=batch_rows))
            self._table = pa.Table.from_batches(found) if found else MODEL_SCHEMA.empty_table()
        start, stop = rows or (0, self._table.num_rows)
        yield from self._table.slice(start, stop - start).select(list(columns)).to_batches(batch_rows)


class InPlace(Executor):
    """Calls at once, in the thread that submits."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Call, and return what came of it."""
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - it is raised again where the result is asked for
            future.set_exception(error)
        return future
