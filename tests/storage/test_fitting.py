"""Which data fit into a table, and the sentence for those that do not."""

from __future__ import annotations

import time

import pyarrow as pa
import pytest

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.storage.fitting import fit, fit_batches

LOCATION = "datasets/a.lance"
TENSOR = pa.fixed_shape_tensor(pa.uint8(), [2])
FITS = [
    (pa.int64(), pa.int32()),
    (pa.int64(), pa.uint32()),
    (pa.uint64(), pa.uint8()),
    (pa.float64(), pa.float16()),
    (pa.string(), pa.large_string()),
    (pa.large_string(), pa.string_view()),
    (pa.large_binary(), pa.binary()),
    (pa.string(), pa.dictionary(pa.int32(), pa.string())),
    (pa.int64(), pa.null()),
    (pa.list_(pa.int64()), pa.large_list(pa.int32())),
    (pa.list_(pa.float32(), 2), pa.list_(pa.float16(), 2)),
    (pa.struct([("a", pa.int64())]), pa.struct([("a", pa.int32())])),
    (TENSOR, pa.list_(pa.uint8(), 2)),
    (pa.list_(pa.uint8(), 2), TENSOR),
]
DIFFERS = [
    (pa.int32(), pa.int64()),
    (pa.int32(), pa.uint32()),
    (pa.uint32(), pa.int32()),
    (pa.float32(), pa.float64()),
    (pa.float64(), pa.int8()),
    (pa.int64(), pa.bool_()),
    (pa.string(), pa.binary()),
    (pa.dictionary(pa.int32(), pa.string()), pa.string()),
    (pa.timestamp("us"), pa.timestamp("ns")),
    (pa.list_(pa.int8()), pa.list_(pa.int16())),
    (pa.list_(pa.int8(), 2), pa.list_(pa.int8(), 3)),
    (pa.struct([("a", pa.int64())]), pa.struct([("b", pa.int64())])),
    (TENSOR, pa.fixed_shape_tensor(pa.uint8(), [1, 2])),
]
SAMPLES = {pa.int8(): 1}


@pytest.mark.parametrize(("table", "given"), FITS, ids=str)
def test_types_that_lose_nothing_are_converted(table, given):
    """Wider numbers, larger strings, decoded dictionaries, nulls: the values stay the same."""
    schema = fit(pa.schema([("a", given)]), pa.schema([("a", table)]), "")
    batch = pa.RecordBatch.from_arrays([pa.nulls(2, given)], schema=pa.schema([("a", given)]))
    (converted,) = fit_batches([batch], schema, "")
    assert converted.schema.field("a").type == table
    assert converted.num_rows == 2


@pytest.mark.parametrize(("table", "given"), DIFFERS, ids=str)
def test_types_that_could_lose_something_are_refused(table, given):
    """Narrowing is not done silently; the sentence has both types."""
    with pytest.raises(InvalidArgument) as caught:
        fit(pa.schema([("a", given)]), pa.schema([("a", table)]), "x.csv")
    assert f"column 'a' is {given} here and {table} in the table" in str(caught.value)
    assert str(caught.value).startswith("x.csv does not fit")


def test_all_differences_are_named_at_once():
    """Missing, too many, other type: one message."""
    table = pa.schema([pa.field("a", pa.int8(), nullable=False), ("b", pa.int8()), ("c", pa.int8())])
    with pytest.raises(InvalidArgument) as caught:
        fit(pa.schema([("b", pa.string()), ("z", pa.int8())]), table, "")
    assert caught.value.details["faults"] == [
        "column 'a' (int8) is missing and may not be null",
        "column 'b' is string here and int8 in the table",
        "column 'z' is not in the table",
    ]


def test_columns_take_the_order_of_the_table():
    """Only the columns that are given, in the table's order; equal ones are not copied."""
    table = pa.schema([("a", pa.int64()), ("b", pa.int64()), ("c", pa.int64())])
    batch = pa.record_batch({"c": [1], "a": [2]})
    (fitted,) = fit_batches([batch], fit(batch.schema, table, ""), "")
    assert fitted.to_pydict() == {"a": [2], "c": [1]}
    assert fitted.column("a").buffers()[1].address == batch.column("a").buffers()[1].address


def test_a_value_that_cannot_be_converted_is_told(store, write, source):
    """A type may fit where a single value does not."""
    inner = pa.field("x", pa.int64(), nullable=False)
    table = pa.table({"s": pa.array([{"x": 1}], pa.struct([inner]))})
    store.create(LOCATION, source(table), write())
    with pytest.raises(InvalidArgument, match="column 's' of the test's table cannot be converted"):
        store.append(LOCATION, source(pa.table({"s": [{"x": None}]})), write())


def test_an_append_may_have_other_types_than_the_table(store, write, source, read):
    """Rows of a frame library with large strings and small integers land in the table's own types."""
    store.create(
        LOCATION, source(pa.table({"i": pa.array([1], pa.int64()), "s": pa.array(["a"], pa.string())})), write()
    )
    given = pa.table({"s": pa.array(["b"], pa.large_string()), "i": pa.array([2], pa.int8())})
    assert read(LOCATION, store.append(LOCATION, source(given), write())).to_pylist() == [
        {"i": 1, "s": "a"},
        {"i": 2, "s": "b"},
    ]


def test_thousands_of_columns_are_fitted_in_no_time():
    """The time grows with the number of columns, not with its square."""
    schema = pa.schema([(f"c{number}", pa.int64()) for number in range(10_000)])
    start = time.process_time()
    assert fit(schema, schema, "wide").equals(schema)
    assert time.process_time() - start < 2
