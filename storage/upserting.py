"""The upsert: rows with all columns replace and add in one commit, rows with some columns are merged by Lance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any, Final

import lance
import pyarrow as pa
from lance.fragment import FragmentMetadata, write_fragments

from alluxio_lance.errors import Conflict, Internal, InvalidArgument
from alluxio_lance.lifecycle.ports import Source, Write
from alluxio_lance.storage.cutting import cut_for
from alluxio_lance.storage.faults import lance_faults
from alluxio_lance.storage.feed import feeding
from alluxio_lance.storage.fitting import check_columns, fit
from alluxio_lance.storage.keys import Keys
from alluxio_lance.storage.opening import commit_arguments, open_version
from alluxio_lance.storage.place import Place
from alluxio_lance.storage.writing import properties

__all__ = ["replacement", "upsert"]

_ATTEMPTS: Final = 10
"""Matches are computed anew after a conflict. Writers of ours hold a lock; only strangers can come in between."""


def upsert(place: Place, location: str, source: Source, on: Sequence[str], write: Write) -> int:
    """Replace the rows whose key matches and add the others; the source is checked to its end before that.

    In memory are the keys of source and table, and, when the source lacks columns of the table (those keep their
    values), the whole source.

    Raises
    ------
    InvalidArgument
        When a key column is missing, has no simple type, or has a null or the same key twice.
    """
    check_columns(source.reader.schema, source.description)
    table = open_version(place, location)
    keys = Keys(source.reader.schema, table.schema, on, source.description)
    schema = fit(source.reader.schema, table.schema, source.description)
    way = _replace_rows if len(schema) == len(table.schema) else _merge_columns
    return way(place, location, source, schema, keys, write)


def _replace_rows(place: Place, location: str, source: Source, schema: pa.Schema, keys: Keys, write: Write) -> int:
    """Write all rows as new fragments, and commit them together with the deletion of those that they replace.

    Lance's own merge would hold the whole source in memory.
    """
    uri = place.address(location).uri
    table = open_version(place, location)
    cut = cut_for(place, schema)
    with feeding(place, source, schema, write) as feed, lance_faults(uri):
        rows = pa.RecordBatchReader.from_batches(schema, keys.tap(feed.batches()))
        fragments = write_fragments(
            rows, table, mode="append", max_rows_per_file=cut.rows, max_bytes_per_file=cut.bytes
        )
    columns = _columns(table)

    def replace(newest: lance.LanceDataset) -> lance.Transaction:
        if _columns(newest) != columns:
            raise Conflict(f"another writer changed the columns of {uri} meanwhile: read the new state and try again")
        return replacement(newest, keys.names, matched, fragments)

    try:
        matched = keys.checked()
        return _commit(place, location, write, replace)
    # Other errors may come after a commit that went through, and a version must not lack its files: sweeping finds the rest.
    except (InvalidArgument, Conflict):
        place.remove(location, [f"data/{file.path}" for fragment in fragments for file in fragment.files])
        raise


def _columns(table: lance.LanceDataset) -> tuple[str, list[tuple[str, int]], pa.Schema]:
    """Return what the files that were written rely on: the format, the columns' numbers and types."""
    numbers = [(field.name(), field.id()) for field in table.lance_schema.fields()]
    return table.data_storage_version, numbers, table.schema


def replacement(
    table: lance.LanceDataset, names: list[str], keys: pa.Table, fragments: Sequence[FragmentMetadata]
) -> lance.Transaction:
    """Make the transaction that deletes the rows with some keys and adds fragments; Lance reads the key columns only."""
    transaction, _ = table.merge_insert(names).when_matched_delete().execute_uncommitted(keys)
    deletion = transaction.operation
    if not isinstance(deletion, lance.LanceOperation.Update):
        raise Internal(f"Lance deletes by {type(deletion).__name__} instead of Update - please report this")
    deletion.new_fragments = [*deletion.new_fragments, *fragments]
    return transaction


def _merge_columns(place: Place, location: str, source: Source, schema: pa.Schema, keys: Keys, write: Write) -> int:
    """Let Lance merge, from an unnamed file: the rows may have to be read again after a conflict."""
    with place.spool() as spool:
        with (
            feeding(place, source, schema, write) as feed,
            lance_faults(place.address(location).uri),
            pa.ipc.new_stream(spool, schema) as writer,
        ):
            for batch in keys.tap(feed.batches()):
                writer.write_batch(batch)
        keys.checked()

        def merge(table: lance.LanceDataset) -> lance.Transaction:
            spool.seek(0)
            with closing(pa.ipc.open_stream(spool)) as rows:
                merged = table.merge_insert(keys.names).when_matched_update_all().when_not_matched_insert_all()
                transaction, _ = merged.execute_uncommitted(rows)
            return transaction

        return _commit(place, location, write, merge)


def _commit(place: Place, location: str, write: Write, make: Callable[[lance.LanceDataset], Any]) -> int:
    """Commit a transaction made on the newest version, and make it anew when another writer came first."""
    for attempt in range(1, _ATTEMPTS + 1):
        table = open_version(place, location)
        try:
            with lance_faults(place.address(location).uri):
                transaction = make(table)
                transaction.transaction_properties = properties(write)
                return int(lance.LanceDataset.commit(table, transaction, **commit_arguments(place, location)).version)
        except Conflict:
            if attempt == _ATTEMPTS:
                raise
    raise AssertionError("the last attempt returns or raises")
