"""The table of data that a process may have in its memory, and the choice of one row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from alluxio_lance.incoming.arrow_data import open_batches, open_c_stream, open_reader, open_table
from alluxio_lance.incoming.frames import is_pandas, is_polars, open_pandas, open_polars
from alluxio_lance.incoming.hugging_face import is_hugging_face, open_hugging_face
from alluxio_lance.incoming.source import Source

__all__ = ["IN_MEMORY", "InMemory", "find_kind"]


@dataclass(frozen=True, slots=True)
class InMemory:
    """One kind of data in this process; it has neither formats nor options."""

    accepts: str
    """What it is, in the words of the message that lists all kinds."""
    recognises: Callable[[Any], bool]
    open: Callable[[Any], Source]


def _is_table(data: Any) -> bool:
    return isinstance(data, pa.Table | pa.RecordBatch)


def _is_reader(data: Any) -> bool:
    return isinstance(data, pa.RecordBatchReader)


def _speaks_arrow(data: Any) -> bool:
    return hasattr(data, "__arrow_c_stream__")


def _is_iterable(data: Any) -> bool:
    return isinstance(data, Iterable) and not isinstance(data, bytes | bytearray | memoryview | Mapping)


# The first row that recognises the data opens them; the libraries' own frames come before what they can export.
IN_MEMORY: Final = (
    InMemory("a pyarrow Table or RecordBatch", _is_table, open_table),
    InMemory("a pyarrow RecordBatchReader", _is_reader, open_reader),
    InMemory("a pandas DataFrame", is_pandas, open_pandas),
    InMemory("a polars DataFrame or LazyFrame", is_polars, open_polars),
    InMemory("a Hugging Face datasets.Dataset", is_hugging_face, open_hugging_face),
    InMemory("an object with Arrow's C stream", _speaks_arrow, open_c_stream),
    InMemory("an iterable of pyarrow RecordBatches", _is_iterable, open_batches),
)


def find_kind(data: Any) -> InMemory | None:
    """Return the first row that recognises the data; None when none does."""
    return next((kind for kind in IN_MEMORY if kind.recognises(data)), None)
