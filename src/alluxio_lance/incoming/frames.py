"""Data frames of pandas and polars, in slices. Neither library is imported here: who has a frame has its library."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, Final

import pyarrow as pa

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.incoming.source import Source, stream

__all__ = ["is_pandas", "is_polars", "open_pandas", "open_polars"]

_ROWS: Final = 1 << 16
_PANDAS_NOTE: Final = b"pandas"


def is_pandas(data: Any) -> bool:
    """Tell whether this is a pandas DataFrame."""
    return _is(data, "pandas", {"DataFrame"})


def is_polars(data: Any) -> bool:
    """Tell whether this is a polars DataFrame or LazyFrame."""
    return _is(data, "polars", {"DataFrame", "LazyFrame"})


def _is(data: Any, package: str, names: set[str]) -> bool:
    return any(kind.__module__.partition(".")[0] == package and kind.__name__ in names for kind in type(data).__mro__)


def open_pandas(frame: Any) -> Source:
    """Convert slice by slice. NaN becomes null; a named or other than plain index becomes a column."""
    index = None if _has_index(frame) else False
    try:
        # pandas' own note in the metadata names its version: the same data would get another content hash.
        whole = pa.Schema.from_pandas(frame, preserve_index=index)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise InvalidArgument(f"the pandas DataFrame has a column that Arrow has no type for: {error}") from error
    noted = {key: value for key, value in (whole.metadata or {}).items() if key != _PANDAS_NOTE}
    schema = whole.with_metadata(noted or None)

    def batches() -> Iterator[pa.RecordBatch]:
        for start in range(0, len(frame), _ROWS):
            part = pa.RecordBatch.from_pandas(frame.iloc[start : start + _ROWS], schema=schema, preserve_index=index)
            yield pa.RecordBatch.from_arrays(part.columns, schema=schema)

    return Source(reader=stream(schema, batches()), num_rows=len(frame), description="pandas DataFrame")


def _has_index(frame: Any) -> bool:
    return frame.index.names != [None] or type(frame.index).__name__ != "RangeIndex"


def open_polars(frame: Any) -> Source:
    """Convert slice by slice; a LazyFrame is computed by the streaming engine, batch by batch."""
    polars = sys.modules["polars"]
    oldest = polars.CompatLevel.oldest()
    lazy = isinstance(frame, polars.LazyFrame)
    columns = frame.collect_schema() if lazy else frame.schema
    schema = polars.DataFrame(schema=columns).to_arrow(compat_level=oldest).schema

    def batches() -> Iterator[pa.RecordBatch]:
        parts = frame.collect_batches(maintain_order=True) if lazy else frame.iter_slices(_ROWS)
        for part in parts:
            yield from part.to_arrow(compat_level=oldest).cast(schema).to_batches()

    name = "LazyFrame" if lazy else "DataFrame"
    return Source(
        reader=stream(schema, batches()), num_rows=None if lazy else frame.height, description=f"polars {name}"
    )
