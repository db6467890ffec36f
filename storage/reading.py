"""One version of a table, read as a stream with a bounded amount read ahead."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Final, Self

import lance
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from alluxio_lance.errors import Corrupt, InvalidArgument, NotFound
from alluxio_lance.lifecycle.ports import Destination
from alluxio_lance.storage.cutting import width_bits
from alluxio_lance.storage.encoding import is_fixed_width, user_schema
from alluxio_lance.storage.faults import lance_faults
from alluxio_lance.storage.scanning import Into, PlainRows, Rows, Shape, Span
from alluxio_lance.storage.selecting import matching
from alluxio_lance.ways import FileWay

__all__ = ["BATCH_BYTES", "LanceTableReader"]

BATCH_BYTES: Final = 2 << 20
"""Of this size the C library gives the same memory out again; larger ones it maps anew for each batch, page by page."""
_MOST_ROWS: Final = 1 << 20


class LanceTableReader:
    """Implements ``TableReader`` on a Lance dataset that is checked out at a version.

    Parameters
    ----------
    dataset
        The version.
    where
        Names it in errors.
    rows
        Where its rows come from; by default from the dataset itself.
    whole
        Opens the version where Lance can read all of it, when the dataset only describes it; by default the dataset.
    """

    def __init__(
        self,
        dataset: lance.LanceDataset,
        where: str,
        rows: Rows | None = None,
        whole: Callable[[], lance.LanceDataset] | None = None,
    ) -> None:
        self._whole = whole or (lambda: dataset)
        self._dataset: lance.LanceDataset | None = dataset
        self._where = where
        self._rows: Rows = rows or PlainRows(dataset, where)
        with lance_faults(where):
            self._schema = user_schema(dataset.scanner(blob_handling="all_binary").projected_schema)
            self._num_rows = int(dataset.count_rows())

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema, without Lance's hints."""
        return self._schema

    @property
    def num_rows(self) -> int:
        """The number of rows."""
        return self._num_rows

    @property
    def ways(self) -> Sequence[FileWay]:
        """By which way each file is read; one that fell back to the endpoint in the middle says so afterwards."""
        return self._rows.ways

    def batches(
        self,
        columns: Sequence[str],
        *,
        rows: tuple[int, int] | None = None,
        batch_bytes: int = BATCH_BYTES,
        batch_rows: int | None = None,
        into: Destination | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Stream rows in order.

        Parameters
        ----------
        columns
            Names of top-level columns, in the order in which the batches shall have them.
        rows
            The first one and the one behind the last one, as a stream of all rows has them; by default all.
        batch_bytes
            About how many bytes a batch has; fixed-width columns by their width, others by the table's average.
        batch_rows
            At most how many rows a batch has, in the place of that: for those who know how long the rows are.
        into
            Where values may be read to that need no decoding; the arrays are there then.

        Raises
        ------
        NotFound
            When a column does not exist.
        InvalidArgument
            When there are no such rows.
        Corrupt
            When a file is missing or cannot be read, or when rows are missing at the end.
        """
        dataset, source = self._open()
        schema = self._project(columns)
        span = self._span(rows)
        count = batch_rows or self._rows_per_batch(dataset, schema, batch_bytes)
        shape = Shape(schema.names, count, batch_bytes, None if into is None else Into(into))
        return self._stream(source, schema, shape, span)

    def _span(self, rows: tuple[int, int] | None) -> Span:
        start, stop = rows or (0, self._num_rows)
        if not 0 <= start <= stop <= self._num_rows:
            raise InvalidArgument(f"{self._where} has rows 0 to {self._num_rows}, not {start} to {stop}")
        return Span(start, stop)

    def matching(self, filter: str) -> Generator[npt.NDArray[np.uint64], None, None]:
        """Number the rows for which an SQL expression is true, ascending, in parts.

        Raises
        ------
        InvalidArgument
            When it is none that may be evaluated, or does not fit the columns; the message has the reason.
        Corrupt, Unavailable
            When the table cannot be read.
        """
        self._open()
        return matching(self._whole(), filter, self._schema, self._where)

    def _project(self, columns: Sequence[str]) -> pa.Schema:
        if not columns:
            raise InvalidArgument(f"reading {self._where} needs at least one column")
        known = set(self._schema.names)
        missing = [name for name in columns if name not in known]
        if missing:
            raise NotFound(f"{self._where} has no column {missing[0]!r}; it has {', '.join(self._schema.names)}")
        return pa.schema([self._schema.field(name) for name in columns], self._schema.metadata)

    def _rows_per_batch(self, dataset: lance.LanceDataset, schema: pa.Schema, batch_bytes: int) -> int:
        width = sum(width_bits(field.type) for field in schema if is_fixed_width(field.type)) / 8
        if not all(is_fixed_width(field.type) for field in schema):
            with lance_faults(self._where):
                width += self._stored_bytes(dataset) / max(self._num_rows, 1)
        return max(1, min(_MOST_ROWS, int(batch_bytes // max(width, 1 / 8))))

    def _stored_bytes(self, dataset: lance.LanceDataset) -> int:
        """Return the bytes of all data files: an upper bound of what the variable columns take, if they are plain."""
        return sum(
            file.file_size_bytes or 0 for fragment in dataset.get_fragments() for file in fragment.metadata.files
        )

    def _stream(self, source: Rows, schema: pa.Schema, shape: Shape, span: Span) -> Iterator[pa.RecordBatch]:
        seen = 0
        for batch in source.scan(shape, span):
            seen += batch.num_rows
            if shape.into is not None:
                shape.into.rows = seen
            yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)
        if seen != span.rows:
            raise Corrupt(
                f"{self._where} ended after {span.start + seen} of {span.stop} rows; roll back to an earlier version",
                expected=span.stop,
                found=span.start + seen,
            )

    def _open(self) -> tuple[lance.LanceDataset, Rows]:
        if self._dataset is None:
            raise InvalidArgument(f"the reader of {self._where} is closed: open the version again")
        return self._dataset, self._rows

    def close(self) -> None:
        """Let go of the table; a second call does nothing. Streams that are under way still end."""
        self._dataset = None
        self._rows.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
