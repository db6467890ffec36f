"""Arrow data in this process: tables, batches, readers, iterables of batches, whatever speaks Arrow's C stream."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any

import pyarrow as pa

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.incoming.source import Source, stream

__all__ = ["open_batches", "open_c_stream", "open_reader", "open_table"]


def open_table(table: pa.Table | pa.RecordBatch) -> Source:
    """Stream a table that is in memory already."""
    whole = pa.Table.from_batches([table]) if isinstance(table, pa.RecordBatch) else table
    return Source(
        reader=stream(whole.schema, whole.to_batches()),
        num_rows=whole.num_rows,
        num_bytes=whole.get_total_buffer_size(),
        description=f"pyarrow.{type(table).__name__}",
    )


def open_reader(reader: pa.RecordBatchReader) -> Source:
    """Take a stream as it is."""
    return Source(reader=reader, description="pyarrow.RecordBatchReader")


def open_c_stream(data: Any) -> Source:
    """Take a stream from any library that exports one."""
    return Source(reader=pa.RecordBatchReader.from_stream(data), description=_type_name(data))


def open_batches(data: Iterable[Any]) -> Source:
    """Take batches one by one; the first one tells the schema."""
    iterator = iter(data)
    first = next(iterator, None)
    if first is None:
        raise InvalidArgument(f"the {_type_name(data)} is empty: without a first batch there is no schema")
    if not isinstance(first, pa.RecordBatch):
        raise InvalidArgument(
            f"the {_type_name(data)} yields {_type_name(first)}: an iterable has to yield pyarrow.RecordBatch"
        )
    schema = first.schema
    return Source(
        reader=stream(schema, (_checked(batch, schema) for batch in chain((first,), iterator))),
        description=f"iterable of record batches ({_type_name(data)})",
    )


def _checked(batch: Any, schema: pa.Schema) -> pa.RecordBatch:
    if not isinstance(batch, pa.RecordBatch):
        raise InvalidArgument(f"an iterable of record batches yields {_type_name(batch)} in its middle")
    if not batch.schema.equals(schema):
        raise InvalidArgument(
            f"a batch in the middle has another schema ({_columns(batch.schema)}) than the first one "
            f"({_columns(schema)})"
        )
    return batch


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name}: {field.type}" for field in schema)


def _type_name(data: Any) -> str:
    return f"{type(data).__module__}.{type(data).__qualname__}".removeprefix("builtins.")
