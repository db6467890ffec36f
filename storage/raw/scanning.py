"""Rows in order, each column by the shortest way: plain calls where its pages are values, Lance where they are not."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Final

import lance
import pyarrow as pa

from alluxio_lance.errors import Corrupt
from alluxio_lance.storage.faults import translate
from alluxio_lance.storage.raw.columns import RawColumn, raw_columns
from alluxio_lance.storage.raw.rooms import Rooms
from alluxio_lance.storage.scanning import Shape, Span, scan

__all__ = ["RawScanner"]

_LOG: Final = logging.getLogger(__name__)
_WORTH: Final = 1 << 20
"""Bytes from which it pays to read columns beside Lance: of a data file for a look at its pages, of the values for the rest."""
_AHEAD: Final = 2
"""Batches that are read while the caller has one, one after the other."""
_THREADS: Final = min(4, max(2, os.cpu_count() or 1))
"""Batches that are read at the same time where they go right to their place."""
_IN_PLACE: Final = 8
"""Times the rows of a batch that are read at once where they go right to their place: nobody copies them out of the
processor's cache then, and what each batch costs is spent less often."""


@dataclass(frozen=True, slots=True, eq=False)
class _Raw:
    """The columns of one file of a fragment that can be read by plain calls."""

    path: Path
    columns: Mapping[str, RawColumn]


class RawScanner:
    """Scans a table whose files are files of this node.

    Parameters
    ----------
    dataset
        Checked out at the version.
    where
        Names it in errors.
    find
        Tells where the data file of a name lies.
    """

    def __init__(self, dataset: lance.LanceDataset, where: str, find: Callable[[str], Path]) -> None:
        self._dataset = dataset
        self._where = where
        self._find = find
        # Asked once: Lance makes both anew each time.
        self._numbers = {field.name(): field.id() for field in dataset.lance_schema.fields()}
        self._types = {field.name: field.type for field in dataset.schema}

    def scan(self, shape: Shape, span: Span, fragments: Sequence[lance.LanceFragment]) -> Iterator[pa.RecordBatch]:
        """Stream rows of some fragments in order, as `alluxio_lance.storage.scanning.scan` does.

        Raises
        ------
        Corrupt
            When a file ends before its rows.
        """
        rooms = Rooms()
        looked = ((fragment, self._look(shape, fragment)) for fragment in fragments)
        for raw, group in groupby(looked, key=lambda each: each[1]):
            part = [fragment for fragment, _ in group]
            rows = sum(int(fragment.metadata.num_rows) for fragment in part)
            here, span = span.within(rows), span.after(rows)
            if raw is None:
                yield from scan(self._dataset, shape, self._where, here, part)
            elif here.rows:
                yield from self._read(raw, shape, here, part, rooms)

    def _look(self, shape: Shape, fragment: lance.LanceFragment) -> _Raw | None:
        """Find the columns of a fragment that need no Lance: of its largest file, if nothing was laid over it since."""
        metadata = fragment.metadata
        changed = metadata.deletion_file is not None or getattr(metadata, "overlays", None)
        if changed or metadata.num_rows != metadata.physical_rows:
            return None
        file = max(metadata.files, key=lambda file: file.file_size_bytes or 0)
        if (file.file_size_bytes or 0) < _WORTH:
            return None
        places = dict(zip(file.fields, file.column_indices, strict=True))
        wanted = {
            name: (places[self._numbers[name]], self._types[name])
            for name in shape.columns
            if self._numbers.get(name) in places
        }
        path = self._find(file.path)
        try:
            opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                columns = raw_columns(opened, wanted, int(metadata.physical_rows))
            finally:
                os.close(opened)
        except (OSError, EOFError, ValueError, IndexError):
            # What is wrong with it, Lance says better when it reads it.
            _LOG.debug("%s is read by Lance: its pages cannot be looked at", path, exc_info=True)
            return None
        worth = sum(column.size for column in columns.values()) >= _WORTH
        return _Raw(path, columns) if columns and worth else None

    def _read(
        self, raw: _Raw, shape: Shape, span: Span, fragments: Sequence[lance.LanceFragment], rooms: Rooms
    ) -> Iterator[pa.RecordBatch]:
        try:
            file = os.open(raw.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise translate(error, self._where) from error

        into = shape.into
        # All rows before were handed out when this is reached.
        ahead = 0 if into is None else into.rows - span.start

        def batch(row: int, count: int, found: Mapping[str, pa.Array]) -> pa.RecordBatch:
            own = {
                name: column.read(
                    file, row, count, rooms, None if into is None else into.room(name, ahead + row, count)
                )
                for name, column in raw.columns.items()
            }
            arrays = [own[name] if name in own else found[name] for name in shape.columns]
            return pa.RecordBatch.from_arrays(arrays, names=list(shape.columns))

        coming: deque[Future[pa.RecordBatch]] = deque()
        row = span.start
        try:
            with ThreadPoolExecutor(1 if into is None else _THREADS, "alluxio-lance-read") as pool:
                try:
                    for count, found in self._beside(raw, shape, span, fragments, ahead):
                        coming.append(pool.submit(batch, row, count, found))
                        row += count
                        if len(coming) > max(_AHEAD, _THREADS):
                            yield coming.popleft().result()
                    while coming:
                        yield coming.popleft().result()
                finally:
                    # Whoever wants no more waits for the batch that is being read, not for all.
                    pool.shutdown(cancel_futures=True)
        except OSError as error:
            raise translate(error, self._where) from error
        except EOFError as error:
            raise Corrupt(
                f"{raw.path.name} of {self._where} cannot be read: {error}; roll back to an earlier version",
                expected=raw.path.name,
                found=str(error),
            ) from error
        finally:
            os.close(file)

    def _beside(
        self, raw: _Raw, shape: Shape, span: Span, fragments: Sequence[lance.LanceFragment], ahead: int
    ) -> Iterator[tuple[int, dict[str, pa.Array]]]:
        """Yield numbers of rows, and the columns of them that Lance reads.

        What must be added to a row of the fragments to have that of the stream is ``ahead``.
        """
        columns = [name for name in shape.columns if name not in raw.columns]
        if not columns:
            row = span.start
            while row < span.stop:
                count = min(_at_once(raw, shape, ahead + row), span.stop - row)
                yield count, {}
                row += count
            return
        for batch in scan(self._dataset, replace(shape, columns=columns), self._where, span, fragments):
            yield batch.num_rows, dict(zip(columns, batch.columns, strict=True))


def _at_once(raw: _Raw, shape: Shape, row: int) -> int:
    """Tell how many rows of a stream are best read together, from one on."""
    if shape.into is None:
        return shape.rows
    most = _IN_PLACE * shape.rows
    stretches = [shape.into.stretch(name, row, most) for name in raw.columns]
    return min(filter(None, stretches), default=shape.rows)
