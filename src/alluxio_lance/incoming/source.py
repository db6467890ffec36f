"""Data on their way in: what the importers of every kind of data make of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa

__all__ = ["Source", "stream"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A schema and a stream of batches that can be read once."""

    reader: pa.RecordBatchReader
    num_rows: int | None = None
    """When it is known beforehand, for progress bars."""
    num_bytes: int | None = None
    description: str = ""
    """Where the data come from, for messages: ``/data/train.parquet``, ``pyarrow.Table``."""


def stream(schema: pa.Schema, batches: Iterable[pa.RecordBatch] | Iterator[pa.RecordBatch]) -> pa.RecordBatchReader:
    """Make a reader of batches that are produced one by one."""
    return pa.RecordBatchReader.from_batches(schema, batches)
