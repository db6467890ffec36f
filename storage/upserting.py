"""The upsert: checked against itself, spooled, merged, and merged again when another writer came first."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import IO, Final

import lance
import pyarrow as pa

from alluxio_lance.errors import Conflict, InvalidArgument
from alluxio_lance.lifecycle.ports import Source, Write
from alluxio_lance.storage.faults import lance_faults
from alluxio_lance.storage.feed import Feed, feeding
from alluxio_lance.storage.fitting import check_columns, fit
from alluxio_lance.storage.opening import open_version
from alluxio_lance.storage.place import Place
from alluxio_lance.storage.writing import properties

__all__ = ["upsert"]

_ATTEMPTS: Final = 10
"""Merges are computed anew after a conflict. Writers of ours hold a lock; only strangers can come in between."""


def upsert(place: Place, location: str, source: Source, on: Sequence[str], write: Write) -> int:
    """Replace the rows whose key matches and add the others.

    The source is spooled to an unnamed file on the place's disk: it is checked to its end before anything changes, and
    can be merged again after a conflict. The key columns are held in memory for the check.

    Raises
    ------
    InvalidArgument
        When a key column is missing, has no simple type, or has a null or the same key twice.
    """
    check_columns(source.reader.schema, source.description)
    table = open_version(place, location)
    keys = _key_columns(source.reader.schema, table.schema, on, source.description)
    schema = fit(source.reader.schema, table.schema, source.description)
    with place.spool() as spool:
        with feeding(place, source, schema, write) as feed, lance_faults(place.address(location).uri):
            _check_keys(_spool(feed, spool, schema, keys), source.description)
        return _merge_until_first(place, location, spool, keys, write)


def _key_columns(source: pa.Schema, table: pa.Schema, on: Sequence[str], description: str) -> list[str]:
    keys = [on] if isinstance(on, str) else list(dict.fromkeys(on))
    if not keys:
        raise InvalidArgument("an upsert needs key columns: give on='id' or on=['a', 'b']")
    for where, schema in (("the table", table), (description or "the data", source)):
        for key in keys:
            if key not in schema.names:
                raise InvalidArgument(f"the key column {key!r} is not in {where}, which has {', '.join(schema.names)}")
    for key in keys:
        type_ = table.field(key).type
        if pa.types.is_nested(type_) or isinstance(type_, pa.BaseExtensionType) or pa.types.is_dictionary(type_):
            raise InvalidArgument(f"column {key!r} is {type_}: keys are numbers, strings, binary, dates or booleans")
    return keys


def _spool(feed: Feed, spool: IO[bytes], schema: pa.Schema, keys: list[str]) -> pa.Table:
    """Write the source as an Arrow IPC stream and return its key columns."""
    found: list[pa.RecordBatch] = []
    with pa.ipc.new_stream(spool, schema) as writer:
        for batch in feed.batches():
            writer.write_batch(batch)
            found.append(
                batch.select(keys).take(pa.array(range(0), pa.int64()))
                if not batch.num_rows
                else _copy(batch.select(keys))
            )
    spool.flush()
    return pa.Table.from_batches(found, pa.schema([schema.field(key) for key in keys]))


def _copy(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Let go of the source's buffers, of which a slice would hold the whole."""
    return pa.concat_batches([batch, batch.slice(0, 0)])


def _check_keys(keys: pa.Table, description: str) -> None:
    where = description or "the data"
    for name in keys.column_names:
        if keys.column(name).null_count:
            raise InvalidArgument(f"the key column {name!r} of {where} has a null, which matches no row")
    counts = keys.group_by(keys.column_names).aggregate([([], "count_all")])
    twice = counts.filter(pa.compute.greater(counts.column("count_all"), 1))
    if twice.num_rows:
        example = ", ".join(f"{name}={twice.column(name)[0].as_py()!r}" for name in keys.column_names)
        raise InvalidArgument(
            f"{where} has {twice.num_rows} keys more than once, such as {example}: keep one row of each",
            duplicates=twice.num_rows,
        )


def _merge_until_first(place: Place, location: str, spool: IO[bytes], keys: list[str], write: Write) -> int:
    for _ in range(_ATTEMPTS - 1):
        try:
            return _merge(place, location, spool, keys, write)
        except Conflict:
            continue
    return _merge(place, location, spool, keys, write)


def _merge(place: Place, location: str, spool: IO[bytes], keys: list[str], write: Write) -> int:
    table = open_version(place, location)
    spool.seek(0)
    with lance_faults(place.address(location).uri), closing(pa.ipc.open_stream(spool)) as rows:
        builder = table.merge_insert(keys).when_matched_update_all().when_not_matched_insert_all()
        transaction, _ = builder.execute_uncommitted(rows)
        transaction.transaction_properties = properties(write)
        return int(lance.LanceDataset.commit(table, transaction).version)
