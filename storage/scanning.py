"""The rows of a table, or of some of its fragments, in order and with a bounded amount read ahead."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import lance
import pyarrow as pa

from alluxio_lance.lifecycle.ports import Destination
from alluxio_lance.storage.faults import lance_faults
from alluxio_lance.ways import FileWay

__all__ = ["Into", "PlainRows", "Rows", "Shape", "Span", "scan"]

_READ_AHEAD: Final = 4
"""Batches in flight: enough to keep two cores decoding while the caller copies one."""


class Into:
    """The destination of a stream, which comes to its rows one after the other.

    Parameters
    ----------
    destination
        Counts from the first row of the stream.
    """

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self.rows = 0
        """How many were handed out."""

    def stretch(self, column: str, row: int, count: int) -> int:
        """Tell how many rows of a column, counted from the first of the stream, lie one behind the other; 0 for no place."""
        return self._destination.stretch(column, row, count)

    def room(self, column: str, row: int, count: int) -> memoryview | None:
        """Return the place of some rows of a column, counted from the first of the stream; None when there is none."""
        return self._destination.room(column, row, count)


@dataclass(frozen=True, slots=True)
class Shape:
    """What the batches of a scan have."""

    columns: Sequence[str]
    rows: int
    """At most so many each."""
    batch_bytes: int
    """About as many bytes as that is."""
    into: Into | None = None
    """Where values are wanted, if somebody has said so."""


@dataclass(frozen=True, slots=True)
class Span:
    """Consecutive rows, counted from the beginning of something: rows that were deleted do not count."""

    start: int
    stop: int

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return self.stop - self.start

    def within(self, rows: int) -> Span:
        """Return the part of it that lies in the first ``rows`` rows."""
        return Span(min(self.start, rows), min(self.stop, rows))

    def after(self, rows: int) -> Span:
        """Return the rest of it, counted from behind the first ``rows`` rows."""
        return Span(max(self.start - rows, 0), max(self.stop - rows, 0))


class Rows(Protocol):
    """Where a reader's rows come from."""

    @property
    def ways(self) -> Sequence[FileWay]:
        """By which way each file is read."""
        ...

    def scan(self, shape: Shape, span: Span) -> Iterator[pa.RecordBatch]:
        """Stream rows in order."""
        ...

    def close(self) -> None:
        """Let go of what is held, as soon as no stream needs it any more; a second call does nothing."""
        ...


class PlainRows:
    """The rows as Lance reads them by itself, in the caller's thread.

    Parameters
    ----------
    dataset
        Checked out at the version.
    where
        Names it in errors.
    look
        Finds out by which way files are read, when somebody asks.
    """

    def __init__(self, dataset: lance.LanceDataset, where: str, look: Callable[[], Sequence[FileWay]] = tuple) -> None:
        self._dataset = dataset
        self._where = where
        self._look = look
        self._ways: Sequence[FileWay] | None = None

    @property
    def ways(self) -> Sequence[FileWay]:
        """By which way each file is read."""
        if self._ways is None:
            self._ways = self._look()
        return self._ways

    def scan(self, shape: Shape, span: Span) -> Iterator[pa.RecordBatch]:
        """Stream rows in order."""
        return scan(self._dataset, shape, self._where, span)

    def close(self) -> None:
        """Do nothing: the dataset holds nothing open."""


def scan(
    dataset: lance.LanceDataset,
    shape: Shape,
    where: str,
    span: Span,
    fragments: Sequence[lance.LanceFragment] | None = None,
) -> Iterator[pa.RecordBatch]:
    """Stream rows in order.

    Parameters
    ----------
    span
        Which rows of the fragments.
    fragments
        Only these; by default all.
    """
    if not span.rows:
        # Lance takes a limit of 0 for none at all.
        return
    with lance_faults(where):
        batches = iter(_scanner(dataset, shape, fragments, span).to_batches())
    while True:
        with lance_faults(where):
            batch = next(batches, None)
        if batch is None:
            return
        yield batch


def _scanner(
    dataset: lance.LanceDataset, shape: Shape, fragments: Sequence[lance.LanceFragment] | None, span: Span
) -> Any:
    return dataset.scanner(
        columns=list(shape.columns),
        fragments=None if fragments is None else list(fragments),
        offset=span.start or None,
        limit=span.rows,
        batch_size=shape.rows,
        batch_readahead=_READ_AHEAD,
        fragment_readahead=1,
        io_buffer_size=max(_READ_AHEAD * shape.batch_bytes, 32 << 20),
        scan_in_order=True,
        blob_handling="all_binary",
    )
