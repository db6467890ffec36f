"""The next version of a model: pieces that the table has already stay where they are, the others are written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Final

import lance
import numpy as np
import pyarrow as pa
from lance.fragment import FragmentMetadata, write_fragments

from alluxio_lance.errors import Conflict, Corrupt
from alluxio_lance.lifecycle.ports import Source, Write
from alluxio_lance.storage import writing
from alluxio_lance.storage.batching import rechunk
from alluxio_lance.storage.cutting import cut_for
from alluxio_lance.storage.encoding import user_schema
from alluxio_lance.storage.faults import lance_faults
from alluxio_lance.storage.feed import feeding
from alluxio_lance.storage.models.checking import checked
from alluxio_lance.storage.opening import commit_arguments, open_version
from alluxio_lance.storage.place import Place
from alluxio_lance.storage.upserting import replacement
from alluxio_lance.weights.chunks import chunk_bytes
from alluxio_lance.weights.rows import MODEL_SCHEMA, SMALL_COLUMNS

__all__ = ["overwrite"]

_KEY: Final = ["kind", "name", "chunk"]


def overwrite(place: Place, location: str, source: Source, write: Write) -> int:
    """Make a table hold exactly a model, in one commit. Of the old rows all columns but the bytes are read.

    A table that holds something else or more deleted bytes than others, or cannot be read, is written anew.

    Raises
    ------
    InvalidArgument
        When the source is no whole model.
    Conflict
        When another writer came in between: what was left out might not be there any more.
    """
    source = checked(source)
    table = open_version(place, location)
    uri = place.address(location).uri
    try:
        with lance_faults(uri):
            old = _Old(table) if _is_alike(table) else None
    except Corrupt:
        old = None
    if old is None or not old.is_kept:
        return writing.overwrite(place, location, source, write)
    fragments = _write_new(place, location, table, source, old, write)
    gone = old.gone()
    if not fragments and not gone.num_rows:
        return writing.restore(place, location, table.version, write)
    try:
        transaction = _transaction(place, location, table, fragments, gone)
    except BaseException:
        place.remove(location, [f"data/{file.path}" for fragment in fragments for file in fragment.files])
        raise
    return _commit(place, location, table, transaction, write)


def _is_alike(table: lance.LanceDataset) -> bool:
    schema: pa.Schema = user_schema(table.schema)
    return bool(schema.equals(MODEL_SCHEMA, check_metadata=True))


class _Old:
    """The pieces that a table has, and which of them stay."""

    def __init__(self, table: lance.LanceDataset) -> None:
        self._rows = table.to_table(columns=SMALL_COLUMNS)
        self._numbers = {_identity(row): number for number, row in enumerate(self._rows.to_pylist())}
        self._stays = np.zeros(self._rows.num_rows, np.bool_)
        # Rows are deleted by their keys. A stranger may have written one twice.
        keys = {tuple(row.values()) for row in self._rows.select(_KEY).to_pylist()}
        self.is_kept = len(keys) == self._rows.num_rows and not _is_wasteful(table, self._numbers)
        """Whether a difference may be laid over the table."""

    def tap(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Pass on the rows that the table has not; the others stay in it."""
        for batch in batches:
            found = [self._numbers.get(_identity(row), -1) for row in batch.select(SMALL_COLUMNS).to_pylist()]
            numbers = np.array(found, np.int64)
            self._stays[numbers[numbers >= 0]] = True
            new = np.flatnonzero(numbers < 0)
            if new.size:
                yield batch if new.size == batch.num_rows else batch.take(pa.array(new))

    def gone(self) -> pa.Table:
        """Return the keys of the rows that do not stay."""
        return self._rows.select(_KEY).filter(pa.array(~self._stays))


def _identity(row: dict[str, Any]) -> tuple[Any, ...]:
    """Return what two rows with the same bytes have in common; the hash was computed from the bytes when they came in."""
    return tuple(tuple(value) if isinstance(value, list) else value for value in row.values())


def _is_wasteful(table: lance.LanceDataset, pieces: Iterable[tuple[Any, ...]]) -> bool:
    """Tell whether more than half of the bytes of a version's files are of rows that it has no more."""
    parts = [fragment.metadata for fragment in table.get_fragments()]
    if not any(part.num_deletions for part in parts):
        return False
    lying = sum(file.file_size_bytes or 0 for part in parts for file in part.files)
    return lying > 2 * sum(map(_piece_bytes, pieces))


def _piece_bytes(identity: tuple[Any, ...]) -> int:
    row = dict(zip(SMALL_COLUMNS, identity, strict=True))
    return chunk_bytes(row["size"], row["chunk"])


def _write_new(
    place: Place, location: str, table: lance.LanceDataset, source: Source, old: _Old, write: Write
) -> Sequence[FragmentMetadata]:
    """Write the rows that the table has not, as new fragments that no version has yet."""
    cut = cut_for(place, MODEL_SCHEMA)
    with feeding(place, source, MODEL_SCHEMA, write) as feed, lance_faults(place.address(location).uri):
        rows = rechunk(old.tap(feed.batches()))
        first = next(rows, None)
        if first is None:
            return []
        reader = pa.RecordBatchReader.from_batches(MODEL_SCHEMA, chain([first], rows))
        return write_fragments(reader, table, mode="append", max_rows_per_file=cut.rows, max_bytes_per_file=cut.bytes)


def _transaction(
    place: Place, location: str, table: lance.LanceDataset, fragments: Sequence[FragmentMetadata], gone: pa.Table
) -> lance.Transaction:
    """Make the transaction on exactly the version whose rows stay."""
    uri = place.address(location).uri
    if open_version(place, location).version != table.version:
        raise _overtaken(uri)
    with lance_faults(uri):
        return replacement(table, _KEY, gone, fragments)


def _commit(
    place: Place, location: str, table: lance.LanceDataset, transaction: lance.Transaction, write: Write
) -> int:
    """Commit on exactly the version whose rows stay. Lance would also lay it over rows that somebody appended.

    Whatever fails here, the files stay: the commit may have gone through all the same, and a version without its files
    could neither be read nor be taken over. What no version has is swept.
    """
    uri = place.address(location).uri
    with lance_faults(uri):
        transaction.transaction_properties = writing.properties(write)
        number = int(lance.LanceDataset.commit(table, transaction, **commit_arguments(place, location)).version)
    if number != table.version + 1:
        raise _overtaken(uri)
    return number


def _overtaken(uri: str) -> Conflict:
    return Conflict(f"another writer changed {uri} meanwhile: read the new state and try again")
