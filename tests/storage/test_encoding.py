"""The file format by schema, and schemas as users see them."""

from __future__ import annotations

import lance
import pyarrow as pa
import pytest

from alluxio_lance.storage.encoding import file_version, is_fixed_width, stored_schema, user_schema

STRUCT = pa.struct([("a", pa.int64())])
SURE = pa.field("s", pa.struct([pa.field("a", pa.int64())]), nullable=False)
TENSOR = pa.fixed_shape_tensor(pa.uint8(), [2, 2])
LOCATION = "datasets/a.lance"

VALUES = [
    ("2.0", pa.field("x", pa.int32()), [1, None]),
    ("2.0", pa.field("x", pa.bool_()), [True, None]),
    ("2.0", pa.field("x", pa.float16()), [1.0, 2.0]),
    ("2.0", pa.field("x", pa.string()), ["a", None]),
    ("2.0", pa.field("x", pa.large_binary()), [b"a", None]),
    ("2.0", pa.field("x", pa.timestamp("us", "UTC")), [1, None]),
    ("2.0", pa.field("x", pa.decimal128(5, 2)), [None, None]),
    ("2.0", pa.field("x", pa.binary(3)), [b"abc", None]),
    ("2.0", pa.field("x", pa.list_(pa.float32(), 2)), [[1, 2], None]),
    ("2.0", pa.field("x", pa.list_(pa.list_(pa.int8(), 2), 2)), [[[1, 2], [3, 4]]]),
    ("2.0", pa.field("x", pa.list_(pa.string())), [["a", None], None, []]),
    ("2.0", pa.field("x", pa.large_list(pa.int16())), [[1], None]),
    ("2.0", pa.field("x", pa.dictionary(pa.int32(), pa.string())), ["a", "b", "a"]),
    ("2.0", SURE, [{"a": 1}, {"a": None}]),
    ("2.0", pa.field("x", pa.list_(SURE)), [[{"a": 1}], None, []]),
    ("2.2", pa.field("x", STRUCT), [{"a": 1}, None]),
    ("2.2", pa.field("x", pa.list_(STRUCT)), [[{"a": 1}, None], None]),
    ("2.2", pa.field("s", pa.struct([("inner", STRUCT)]), nullable=False), [{"inner": None}]),
    ("2.2", pa.field("x", pa.map_(pa.string(), pa.int64())), [[("a", 1)], None]),
]


@pytest.mark.parametrize(("version", "field", "values"), VALUES, ids=lambda value: str(value)[:40])
def test_the_format_fits_the_schema_and_holds_its_values(store, write, source, read, version, field, values):
    """Each type goes into the fastest format that can hold it, and comes back equal, with a plain schema."""
    table = pa.Table.from_arrays([pa.array(values, field.type)], schema=pa.schema([field]))
    assert file_version(table.schema) == version
    store.create(LOCATION, source(table), write())
    assert lance.dataset(store.absolute(LOCATION)).data_storage_version == version
    back = read(LOCATION, 1)
    assert back.to_pylist() == table.to_pylist()
    assert back.schema.field(0).metadata is None
    assert back.schema.field(0).nullable == field.nullable


def test_tensors_keep_their_shape(store, write, source, read):
    """A fixed shape tensor comes back as one."""
    storage = pa.FixedSizeListArray.from_arrays(pa.array(range(8), pa.uint8()), 4)
    table = pa.table({"t": pa.ExtensionArray.from_storage(TENSOR, storage)})
    assert file_version(table.schema) == "2.0"
    store.create(LOCATION, source(table), write())
    assert read(LOCATION, 1).equals(table)


def test_views_are_stored_as_their_large_siblings(store, write, source, read):
    """Lance has no views; the values stay."""
    arrays = [pa.array(["a", None], pa.string_view()), pa.array([b"a", None], pa.binary_view())]
    table = pa.table({"s": arrays[0], "b": arrays[1]})
    store.create(LOCATION, source(table), write())
    back = read(LOCATION, 1)
    assert back.schema.types == [pa.large_string(), pa.large_binary()]
    assert back.to_pylist() == table.to_pylist()


@pytest.mark.parametrize(
    ("type_", "fixed"),
    [
        (pa.int8(), True),
        (pa.bool_(), True),
        (pa.decimal256(40, 2), True),
        (pa.binary(4), True),
        (TENSOR, True),
        (pa.list_(pa.list_(pa.float64(), 3), 2), True),
        (pa.list_(pa.string(), 2), False),
        (pa.string(), False),
        (pa.list_(pa.int8()), False),
        (pa.dictionary(pa.int8(), pa.int8()), False),
        (STRUCT, False),
    ],
)
def test_fixed_width_means_the_same_bits_in_every_row(type_, fixed):
    """Numbers, fixed binary, and fixed lists of them."""
    assert is_fixed_width(type_) is fixed


def test_hints_are_ours_alone(store, write, source):
    """In 2.2 fixed-width columns are stored uncompressed; nobody sees the hint, and hints of others do not stay."""
    schema = pa.schema(
        [
            pa.field("n", pa.int64(), metadata={"unit": "m", "lance-encoding:compression": "zstd"}),
            pa.field("m", pa.map_(pa.string(), pa.int64()), metadata={"lance-encoding:blob": "true"}),
            pa.field("l", pa.list_(pa.field("item", pa.int8(), metadata={"lance-encoding:x": "1"}))),
        ],
        metadata={"z": "1", "a": "2"},
    )
    stored = stored_schema(schema)
    assert stored.field("n").metadata == {b"unit": b"m", b"lance-encoding:compression": b"none"}
    assert stored.field("m").metadata is None
    assert stored.field("l").type.value_field.metadata is None
    seen = user_schema(stored)
    assert seen.field("n").metadata == {b"unit": b"m"}
    assert list(seen.metadata) == [b"a", b"z"]
    table = pa.Table.from_arrays(
        [pa.array([1]), pa.array([[("a", 1)]], schema[1].type), pa.array([[1]], schema[2].type)], schema=schema
    )
    store.create(LOCATION, source(table), write())
    with store.open(LOCATION, 1) as reader:
        assert reader.schema.equals(seen, check_metadata=True)
    found = pa.ipc.read_schema(pa.py_buffer(store.snapshot(LOCATION, 1, {}).schema))
    assert found.equals(seen, check_metadata=True)


def test_nested_types_survive_the_cleaning():
    """Structs, maps, lists and fixed lists are rebuilt as they were."""
    fields = [
        pa.field("s", pa.struct([pa.field("a", pa.int8(), nullable=False), pa.field("b", pa.string_view())])),
        pa.field("m", pa.map_(pa.string(), pa.list_(pa.int8()), keys_sorted=True)),
        pa.field("f", pa.list_(pa.field("item", pa.int8(), nullable=False), 3)),
        pa.field("L", pa.large_list(pa.large_list(pa.int8()))),
        pa.field("t", TENSOR),
    ]
    schema = pa.schema(fields)
    assert user_schema(schema).equals(schema, check_metadata=True)
    assert stored_schema(schema).field("s").type.field("b").type == pa.large_string()
