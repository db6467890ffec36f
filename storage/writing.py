"""The writes: a first version, more rows, other rows, an older version again."""

from __future__ import annotations

from typing import Any, Final, Literal

import lance
import pyarrow as pa

from alluxio_lance.errors import AlreadyExists
from alluxio_lance.lifecycle.ports import Source, Write
from alluxio_lance.storage.cutting import cut_for
from alluxio_lance.storage.encoding import file_version, stored_schema
from alluxio_lance.storage.faults import lance_faults
from alluxio_lance.storage.feed import Feed, feeding
from alluxio_lance.storage.fitting import check_columns, fit
from alluxio_lance.storage.opening import commit_arguments, lance_arguments, open_latest, open_version
from alluxio_lance.storage.place import Place

__all__ = ["append", "create", "overwrite", "properties", "restore", "writer_of"]

_OPERATION: Final = "alluxio-lance.operation"
_ACTOR: Final = "alluxio-lance.actor"
_MESSAGE: Final = "__lance_commit_message"


def properties(write: Write) -> dict[str, str]:
    """Return what a transaction says about itself."""
    said = {_OPERATION: write.operation, _ACTOR: write.actor}
    return said | {_MESSAGE: write.message} if write.message else said


def writer_of(table: lance.LanceDataset, version: int) -> str | None:
    """Return which operation a version's transaction names; None when it names none."""
    said = table.read_transaction(version)
    return None if said is None else (said.transaction_properties or {}).get(_OPERATION)


def create(place: Place, location: str, source: Source, write: Write) -> int:
    """Write the first version."""
    check_columns(source.reader.schema, source.description)
    if open_latest(place, location) is not None:
        raise AlreadyExists(f"there is a table at {place.address(location).uri} already: update it")
    schema = stored_schema(source.reader.schema)
    with feeding(place, source, schema, write) as feed:
        return _write(place, location, feed, schema, "create", write, data_storage_version=file_version(schema))


def overwrite(place: Place, location: str, source: Source, write: Write) -> int:
    """Replace all rows; the schema may change."""
    check_columns(source.reader.schema, source.description)
    open_version(place, location)
    schema = stored_schema(source.reader.schema)
    with feeding(place, source, schema, write) as feed:
        return _write(place, location, feed, schema, "overwrite", write, data_storage_version=file_version(schema))


def append(place: Place, location: str, source: Source, write: Write) -> int:
    """Add rows at the end."""
    check_columns(source.reader.schema, source.description)
    table = open_version(place, location)
    schema = fit(source.reader.schema, table.schema, source.description)
    with feeding(place, source, schema, write) as feed:
        return _write(place, location, feed, schema, "append", write)


def _write(
    place: Place,
    location: str,
    feed: Feed,
    schema: pa.Schema,
    mode: Literal["create", "append", "overwrite"],
    write: Write,
    **arguments: Any,
) -> int:
    uri = place.address(location).uri
    cut = cut_for(place, schema)
    with lance_faults(uri):
        table = lance.write_dataset(
            feed.reader(),
            uri,
            mode=mode,
            max_rows_per_file=cut.rows,
            max_bytes_per_file=cut.bytes,
            transaction_properties=properties(write),
            **lance_arguments(place, location),
            **commit_arguments(place, location),
            **arguments,
        )
    return int(table.version)


def restore(place: Place, location: str, version: int, write: Write) -> int:
    """Commit the content of an older version as the newest one; no data are moved."""
    open_version(place, location, version)
    latest = open_version(place, location)
    transaction = lance.Transaction(
        read_version=latest.version,
        operation=lance.LanceOperation.Restore(version),
        transaction_properties=properties(write),
    )
    with lance_faults(place.address(location).uri):
        return int(lance.LanceDataset.commit(latest, transaction, **commit_arguments(place, location)).version)
