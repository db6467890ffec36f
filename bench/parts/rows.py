"""Rows for the parts: registered with a sidecar as a stream, so that ten million of them need no memory here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import pyarrow as pa

from alluxio_lance import ResourceManager

__all__ = ["register", "uri_of"]

_BLOCK_BYTES: Final = 8 << 20


def register(address: str, name: str, count: int, row_bytes: int, seed: int = 0) -> str:
    """Register random rows ``uint8[row_bytes]`` and an int64 ``label`` that counts them; returns the URI."""
    schema = pa.schema({"data": pa.list_(pa.uint8(), row_bytes), "label": pa.int64()})
    reader = pa.RecordBatchReader.from_batches(schema, _batches(count, row_bytes, seed))
    with ResourceManager.connect(address) as manager:
        manager.register_resource("datasets", name, reader)
    return uri_of(name)


def uri_of(name: str) -> str:
    """Return the URI of the active version."""
    return f"alluxio://datasets/{name}"


def _batches(count: int, row_bytes: int, seed: int) -> Iterator[pa.RecordBatch]:
    random = np.random.default_rng(seed)
    step = max(1, _BLOCK_BYTES // row_bytes)
    for start in range(0, count, step):
        rows = min(step, count - start)
        data = pa.array(np.frombuffer(random.bytes(rows * row_bytes), np.uint8))
        yield pa.record_batch(
            {
                "data": pa.FixedSizeListArray.from_arrays(data, row_bytes),
                "label": np.arange(start, start + rows, dtype=np.int64),
            }
        )
