"""A store in a temporary folder, and short ways to say what is written."""

from __future__ import annotations

import pyarrow as pa
import pytest

from alluxio_lance.lifecycle.ports import Source, Write
from alluxio_lance.storage import LanceStore


@pytest.fixture
def store(tmp_path):
    """An empty store."""
    return LanceStore.local(tmp_path / "root")


@pytest.fixture
def write():
    """Make the description of a write."""

    def make(operation="1" * 32, on_progress=None):
        return Write(operation=operation, actor="ada@node", message="because", on_progress=on_progress)

    return make


@pytest.fixture
def source():
    """Make a source of a table, or of batches that a generator yields."""

    def make(data, schema=None):
        if isinstance(data, pa.Table):
            return Source(
                reader=pa.RecordBatchReader.from_batches(data.schema, data.to_batches()), description="the test's table"
            )
        return Source(reader=pa.RecordBatchReader.from_batches(schema, data), description="the test's stream")

    return make


@pytest.fixture
def read(store):
    """Read a whole version."""

    def make(location, version, columns=None):
        with store.open(location, version) as reader:
            names = columns or reader.schema.names
            schema = pa.schema([reader.schema.field(name) for name in names], reader.schema.metadata)
            return pa.Table.from_batches(reader.batches(names), schema)

    return make
