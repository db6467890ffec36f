"""Any table, cut into any batches, comes back from its segments: searched by hypothesis."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alluxio_lance.layout import ROWS_PER_PAGE_GROUP, Pages
from alluxio_lance.sidecar.budget import Budget
from alluxio_lance.sidecar.loader import load
from alluxio_lance.sidecar.plan import make_plan

_INT = st.integers(-(2**31), 2**31 - 1)
VALUES = {
    pa.int32(): _INT,
    pa.uint8(): st.integers(0, 255),
    pa.float64(): st.floats(allow_nan=False),
    pa.bool_(): st.booleans(),
    pa.string(): st.text(max_size=20),
    pa.binary(): st.binary(max_size=20),
    pa.binary(3): st.binary(min_size=3, max_size=3),
    pa.date32(): st.dates(),
    pa.list_(pa.int32()): st.lists(_INT, max_size=4),
    pa.list_(pa.int32(), 2): st.lists(_INT, min_size=2, max_size=2),
    pa.list_(pa.list_(pa.bool_(), 2), 2): st.lists(
        st.lists(st.booleans(), min_size=2, max_size=2), min_size=2, max_size=2
    ),
    pa.list_(pa.float32()): st.lists(st.none() | st.floats(width=32, allow_nan=False), max_size=3),
    pa.list_(pa.int32(), 1): st.lists(st.none() | _INT, min_size=1, max_size=1),
    pa.struct([("a", pa.int32())]): st.fixed_dictionaries({"a": st.none() | _INT}),
    pa.list_(pa.string()): st.lists(st.text(max_size=3), max_size=3),
}


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    """Draw a table: a drawn pattern of rows, repeated beyond the border of a shard, and cut off its begin."""
    types = draw(st.lists(st.sampled_from(list(VALUES)), min_size=1, max_size=4))
    pattern = draw(st.integers(1, 12))
    skip = draw(st.integers(0, 9))
    rows = draw(
        st.sampled_from([0, 1, 7, 100, ROWS_PER_PAGE_GROUP - 1, ROWS_PER_PAGE_GROUP, 2 * ROWS_PER_PAGE_GROUP + 5])
    )
    columns = {}
    for number, type in enumerate(types):
        values = VALUES[type] | st.none() if draw(st.booleans()) else VALUES[type]
        drawn = draw(st.lists(values, min_size=pattern, max_size=pattern))
        repeated = (drawn * ((rows + skip) // pattern + 1))[: rows + skip]
        columns[f"c{number}"] = pa.array(repeated, type).slice(skip)
    return pa.table(columns)


def _plain(value: object) -> object:
    """Read booleans as the bytes that segments keep."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return int(value) if isinstance(value, bool) else value


def _values(column: pa.ChunkedArray) -> list[object]:
    chunks = [chunk.storage if isinstance(chunk, pa.ExtensionArray) else chunk for chunk in column.chunks]
    return [_plain(value) for chunk in chunks for value in chunk.to_pylist()]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=tables(), batch_rows=st.sampled_from([1, 3, 500, 4096, 5000, 100_000]))
def test_any_table_comes_back(table, batch_rows, table_double, read_column):
    """Whatever the types, nulls, batch sizes and offsets: the segments hold the same rows, and all memory is told."""
    if batch_rows < 100:
        table = table.slice(0, 300)
    budget = Budget(1 << 30, available=lambda: 1 << 40)
    plan = make_plan(table.schema, table.num_rows, label="datasets/x@v1", shard_bytes=1)
    hot = load(table_double(table, batch_rows), plan, budget, prefer=Pages.SMALL)
    try:
        assert budget.used == sum(column.bytes for column in hot)
        for column in hot:
            expected = table.column(column.column.name)
            assert column.column.null_count == expected.null_count
            if table.num_rows:
                assert _values(read_column(column)) == _values(expected)
    finally:
        for column in hot:
            column.close()
