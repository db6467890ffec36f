"""Real Lance tables on their way into segments: what the store streams is what the segments hold."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from alluxio_lance.layout import ColumnKind
from alluxio_lance.lifecycle.ports import Write
from alluxio_lance.sidecar.loader import load
from alluxio_lance.sidecar.plan import make_plan
from alluxio_lance.storage import LanceStore

ROWS = 9000


@pytest.fixture(scope="module")
def table() -> pa.Table:
    """A table with a column of every kind."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (ROWS, 3, 8, 8), dtype=np.uint8)
    return pa.table(
        {
            "image": pa.FixedShapeTensorArray.from_numpy_ndarray(images),
            "label": pa.array([None if i % 11 == 0 else i % 10 for i in range(ROWS)], pa.int64()),
            "half": pa.array(random.normal(size=ROWS).astype(np.float16)),
            "good": pa.array([None if i % 7 == 0 else i % 3 == 0 for i in range(ROWS)]),
            "caption": pa.array([None if i % 13 == 0 else "é" * (i % 17) for i in range(ROWS)]),
            "tokens": pa.array([list(range(i % 5)) for i in range(ROWS)], pa.list_(pa.int32())),
            "box": pa.array([None if i % 4 == 0 else [i, 1, 2, 3] for i in range(ROWS)], pa.list_(pa.float32(), 4)),
            "meta": pa.array([{"source": "a", "year": i} for i in range(ROWS)]),
        }
    )


def test_a_table_of_lance_comes_back(tmp_path, table, budget, read_column):
    """Every column of a table that was written, appended to and read through Lance has its rows in shared memory."""
    store = LanceStore.local(tmp_path)
    write = Write(operation="0" * 32, actor="me@here", message="")
    location = "datasets/x.lance"
    store.create(location, store.source(table.slice(0, 5000), format=None, options={}), write)
    version = store.append(location, store.source(table.slice(5000), format=None, options={}), write)
    reader = store.open(location, version)
    plan = make_plan(reader.schema, reader.num_rows, label="datasets/x@v2", shard_bytes=1)
    hot = load(reader, plan, budget)
    reader.close()
    kinds = {column.column.name: column.column.kind for column in hot}
    assert kinds.pop("meta") is ColumnKind.ARROW
    assert kinds.pop("caption") is kinds.pop("tokens") is ColumnKind.VARIABLE
    assert set(kinds.values()) == {ColumnKind.FIXED}
    for column in hot:
        found = pa.chunked_array(
            [c.storage if isinstance(c, pa.ExtensionArray) else c for c in read_column(column).chunks]
        )
        expected = table.column(column.column.name)
        if isinstance(expected.type, pa.BaseExtensionType):
            expected = pa.chunked_array([chunk.storage for chunk in expected.chunks])
        assert found.cast(expected.type).equals(expected), column.column.name
        column.close()
