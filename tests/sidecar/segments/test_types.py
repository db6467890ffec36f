"""Every type of docs/format/segments.md on its way into segments and back, read by independent readers."""

from __future__ import annotations

import datetime as dt
import io
import os
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from alluxio_lance.layout import PAGE, ColumnKind

FIXED, VARIABLE, ARROW = ColumnKind.FIXED, ColumnKind.VARIABLE, ColumnKind.ARROW
DAY = dt.date(2024, 2, 29)
MOMENT = dt.datetime(2024, 2, 29, 12, 30, 1, 5000)  # noqa: DTZ001 - naive timestamps are a type of their own
BFLOAT16 = {b"ARROW:extension:name": b"lance.bfloat16", b"ARROW:extension:metadata": b""}


@dataclass(frozen=True)
class Case:
    """A type, values of it, and what the column must become."""

    type: pa.DataType
    values: list[Any]
    kind: ColumnKind
    dtype: str = ""
    shape: tuple[int, ...] = ()
    null: Any = None
    """What numpy sees in a null slot."""
    metadata: dict[bytes, bytes] | None = None


def _ints(name: str) -> Case:
    info = np.iinfo(name)
    return Case(getattr(pa, name)(), [info.min, info.max, 0, 7], FIXED, name, (), 0)


def _tensor(value_type: pa.DataType, shape: list[int], **options: Any) -> pa.DataType:
    return pa.fixed_shape_tensor(value_type, shape, **options)


NAN, NAT = float("nan"), np.datetime64("NaT")
CASES = {
    **{name: _ints(name) for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")},
    "float16": Case(pa.float16(), [np.float16(x) for x in (0.5, -2, 1024)], FIXED, "float16", (), NAN),
    "float32": Case(pa.float32(), [0.5, -2.0, float("inf")], FIXED, "float32", (), NAN),
    "float64": Case(pa.float64(), [0.1, -2.0, 1e300], FIXED, "float64", (), NAN),
    "bfloat16": Case(
        pa.binary(2), [b"\x80\x3f", b"\x00\xc0", b"\x01\x02"], FIXED, "bfloat16", (), b"\xc0\x7f", BFLOAT16
    ),
    "bool": Case(pa.bool_(), [True, False, False, True, True], FIXED, "bool", (), False),
    "bool8": Case(pa.bool8(), [1, 0, 0], FIXED, "bool", (), False),
    "date32": Case(pa.date32(), [DAY, dt.date(1, 1, 1), dt.date(9999, 12, 31)], FIXED, "datetime64[ms]", (), NAT),
    "date64": Case(pa.date64(), [DAY, dt.date(1960, 1, 1)], FIXED, "datetime64[ms]", (), NAT),
    "timestamp[us]": Case(pa.timestamp("us"), [MOMENT], FIXED, "datetime64[us]", (), NAT),
    "timestamp[s, UTC]": Case(
        pa.timestamp("s", "UTC"), [MOMENT.replace(microsecond=0, tzinfo=dt.UTC)], FIXED, "datetime64[s]", (), NAT
    ),
    "timestamp[ns]": Case(pa.timestamp("ns"), [MOMENT], FIXED, "datetime64[ns]", (), NAT),
    "duration": Case(pa.duration("ms"), [dt.timedelta(days=3, milliseconds=1)], FIXED, "timedelta64[ms]", (), NAT),
    "time32": Case(pa.time32("s"), [dt.time(1, 2, 3)], FIXED, "int32", (), 0),
    "time64": Case(pa.time64("us"), [dt.time(1, 2, 3, 4)], FIXED, "int64", (), 0),
    "fixed_size_binary": Case(pa.binary(5), [b"abcde", b"\0\1\2\3\4"], FIXED, "S5", (), b"\0" * 5),
    "fixed_size_list": Case(pa.list_(pa.float32(), 3), [[1, 2, 3], [4, 5, 6]], FIXED, "float32", (3,), NAN),
    "fixed_size_list of bool": Case(
        pa.list_(pa.bool_(), 3), [[True, False, True], [False, False, True]], FIXED, "bool", (3,), False
    ),
    "fixed_size_list of bfloat16": Case(
        pa.list_(pa.field("item", pa.binary(2), metadata=BFLOAT16), 2),
        [[b"\x80\x3f", b"\x00\xc0"]],
        FIXED,
        "bfloat16",
        (2,),
        b"\xc0\x7f",
    ),
    "nested fixed_size_list": Case(
        pa.list_(pa.list_(pa.int16(), 2), 2), [[[1, 2], [3, 4]], [[5, 6], [7, 8]]], FIXED, "int16", (2, 2), 0
    ),
    "tensor": Case(_tensor(pa.uint8(), [2, 1, 3]), [[1, 2, 3, 4, 5, 6]], FIXED, "uint8", (2, 1, 3), 0),
    "tensor of bool": Case(_tensor(pa.bool_(), [2, 2]), [[True, False, False, True]], FIXED, "bool", (2, 2), False),
    "tensor, identity": Case(
        _tensor(pa.int32(), [1, 2], permutation=[0, 1], dim_names=["a", "b"]), [[1, 2]], FIXED, "int32", (1, 2), 0
    ),
    "string": Case(pa.string(), ["", "a", "héllo", "x" * 100], VARIABLE, "string"),
    "large_string": Case(pa.large_string(), ["", "ü"], VARIABLE, "string"),
    "string_view": Case(pa.string_view(), ["", "short", "longer than twelve bytes"], VARIABLE, "string"),
    "binary": Case(pa.binary(), [b"", b"\0", b"abc"], VARIABLE, "binary"),
    "large_binary": Case(pa.large_binary(), [b"", b"abc"], VARIABLE, "binary"),
    "binary_view": Case(pa.binary_view(), [b"", b"longer than twelve bytes"], VARIABLE, "binary"),
    "list": Case(pa.list_(pa.int32()), [[], [1], [2, 3, 4]], VARIABLE, "int32"),
    "large_list": Case(pa.large_list(pa.float64()), [[], [1.5, 2.5]], VARIABLE, "float64"),
    "list of bool": Case(pa.list_(pa.bool_()), [[True], [], [False, True, True]], VARIABLE, "bool"),
    "list of date": Case(pa.list_(pa.date32()), [[DAY, DAY], []], VARIABLE, "datetime64[ms]"),
    "list with null items": Case(pa.list_(pa.int32()), [[1, None], []], ARROW),
    "fixed_size_list with null items": Case(pa.list_(pa.int32(), 2), [[1, None], [1, 2]], ARROW),
    "nested list with null lists": Case(pa.list_(pa.list_(pa.int8(), 1), 2), [[[1], None]], ARROW),
    "tensor, permuted": Case(_tensor(pa.int32(), [1, 2], permutation=[1, 0]), [[1, 2]], ARROW),
    "list of strings": Case(pa.list_(pa.string()), [["a"], []], ARROW),
    "list of opaque": Case(pa.list_(pa.binary(2)), [[b"ab"], []], ARROW),
    "empty fixed_size_list": Case(pa.list_(pa.int8(), 0), [[]], ARROW),
    "empty fixed_size_binary": Case(pa.binary(0), [b""], ARROW),
    "struct": Case(pa.struct([("a", pa.int8()), ("b", pa.string())]), [{"a": 1, "b": "x"}], ARROW),
    "map": Case(pa.map_(pa.string(), pa.int8()), [[("a", 1)], []], ARROW),
    "dictionary": Case(pa.dictionary(pa.int8(), pa.string()), ["a", "b"], ARROW),
    "decimal": Case(pa.decimal128(5, 2), [Decimal("1.25")], ARROW),
    "uuid": Case(pa.uuid(), [b"0123456789abcdef"], ARROW),
    "foreign extension": Case(pa.int8(), [1, 2], ARROW, metadata={b"ARROW:extension:name": b"somebody.else"}),
}
ROWS = {"one row": 1, "one less": 4095, "one shard": 4096, "one more": 4097, "several": 8192 + 17}


def _column(case: Case, rows: int, *, nulls: bool) -> pa.Array:
    """Repeat the values, and a null, as a slice that does not begin where its buffers do."""
    values = [*case.values, None] if nulls else case.values
    count = rows + 3
    repeated = (values * (-(-count // len(values))))[:count]
    storage = case.type.storage_type if isinstance(case.type, pa.BaseExtensionType) else case.type
    if isinstance(storage, pa.DictionaryType):
        return pa.array(repeated, storage.value_type).dictionary_encode().cast(storage).slice(3)
    array = pa.array(repeated, storage)
    return (array if storage is case.type else pa.ExtensionArray.from_storage(case.type, array)).slice(3)


def _table(case: Case, rows: int, *, nulls: bool) -> pa.Table:
    column = _column(case, rows, nulls=nulls)
    return pa.Table.from_arrays([column], schema=pa.schema([pa.field("c", case.type, metadata=case.metadata)]))


def _plain(column: pa.ChunkedArray) -> list[Any]:
    """Read values without the Python types of extensions."""
    chunks = [chunk.storage if isinstance(chunk, pa.ExtensionArray) else chunk for chunk in column.chunks]
    return [value for chunk in chunks for value in chunk.to_pylist()]


def _expected(table: pa.Table, case: Case) -> list[Any]:
    values = _plain(table.column(0))
    if case.kind is not ARROW and "bool" in case.dtype:  # one byte each in segments
        return [value if value is None else np.asarray(value).astype(np.int8).tolist() for value in values]
    return values


def _found(column: pa.ChunkedArray, case: Case) -> list[Any]:
    values = _plain(column)
    if case.kind is not ARROW and case.dtype == "bool":
        return [value if value is None else np.asarray(value).astype(np.int8).tolist() for value in values]
    return values


@pytest.mark.parametrize("nulls", [False, True], ids=["full", "nulls"])
@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_values_come_back_as_they_went_in(case, rows, nulls, load_table, read_column):
    """Each type lands in its kind of column, and pyarrow reads from the segments what was in the table."""
    table = _table(case, rows, nulls=nulls)
    (hot,) = load_table(table, batch_rows=1001)
    column = hot.column
    if rows > len(case.values):  # null items may be beyond the rows otherwise
        assert (column.kind, column.dtype, column.shape) == (case.kind, case.dtype, case.shape)
    assert [segment.rows for segment in column.segments] == [4096] * (rows // 4096) + [rows % 4096] * (rows % 4096 > 0)
    assert column.null_count == table.column(0).null_count
    assert _found(read_column(hot), case) == _expected(table, case)
    assert pa.ipc.read_schema(pa.py_buffer(column.schema)) == table.schema


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_an_empty_table_has_types_and_no_segments(case, load_table):
    """Without rows there is nothing to map, but the column is described."""
    (hot,) = load_table(_table(case, 1, nulls=False).slice(0, 0))
    assert hot.column.segments == ()
    assert hot.descriptors == ()
    assert hot.bytes == 0
    assert pa.ipc.read_schema(pa.py_buffer(hot.column.schema)).field(0).type == case.type


def _numpy_dtype(case: Case) -> np.dtype[Any]:
    return np.dtype({"bfloat16": "V2"}.get(case.dtype, case.dtype.replace("S", "V")))


FIXED_CASES = {name: case for name, case in CASES.items() if case.kind is FIXED}


@pytest.mark.parametrize("case", FIXED_CASES.values(), ids=FIXED_CASES)
def test_numpy_reads_fixed_columns_without_arrow(case, load_table, map_segment):
    """The data region alone, read by numpy, has the values; null slots hold NaN, NaT or zero as the table says."""
    table = _table(case, 4096 + 999, nulls=True)
    (hot,) = load_table(table)
    present = np.asarray(table.column(0).is_valid())
    dtype = _numpy_dtype(case)
    parts, bits = [], []
    for segment, fd in zip(hot.column.segments, hot.descriptors, strict=True):
        buffer = map_segment(segment, fd)
        assert segment.data.offset % PAGE == segment.validity.offset % PAGE == 0
        items = segment.rows * int(np.prod(case.shape, dtype=int))
        parts.append(np.frombuffer(buffer, dtype, items, segment.data.offset).reshape(segment.rows, *case.shape))
        packed = np.frombuffer(buffer, np.uint8, segment.validity.length, segment.validity.offset)
        bits.append(np.unpackbits(packed, bitorder="little")[: segment.rows])
    values = np.concatenate(parts)
    np.testing.assert_array_equal(np.concatenate(bits).astype(bool), present)
    holes = values[~present]
    if dtype.kind == "V":
        assert {item.tobytes() for item in holes.reshape(-1)} == {case.null}
    elif case.null is NAN:
        assert np.isnan(holes).all()
    elif case.null is NAT:
        assert np.isnat(holes).all()
    else:
        assert not holes.any()
    expected = [value for value in _expected(table, case) if value is not None]
    seen = values[present]
    if dtype.kind == "V":
        assert [item.tobytes() for item in seen.reshape(-1)] == list(np.asarray(expected, object).reshape(-1))
    elif dtype.kind == "M":
        naive = [v.replace(tzinfo=None) if isinstance(v, dt.datetime) else v for v in expected]
        np.testing.assert_array_equal(seen, np.array(naive, dtype))
    elif case.dtype in ("int32", "int64") and isinstance(expected[0], dt.time):
        factor = 1 if case.dtype == "int32" else 1_000_000
        seconds = [(v.hour * 3600 + v.minute * 60 + v.second) * factor + v.microsecond for v in expected]
        assert seen.tolist() == seconds
    else:
        np.testing.assert_array_equal(seen, np.array(expected, dtype).reshape(seen.shape))


REGION_CASES = {name: case for name, case in CASES.items() if case.kind is not ARROW}


@pytest.mark.parametrize("case", REGION_CASES.values(), ids=REGION_CASES)
def test_reading_is_zero_copy_and_on_pages(case, load_table, map_segment):
    """The buffers of the batch that pyarrow reads are the mapped pages themselves, at the places the layout names."""
    (hot,) = load_table(_table(case, 5000, nulls=True))
    for segment, fd in zip(hot.column.segments, hot.descriptors, strict=True):
        buffer = map_segment(segment, fd)
        assert segment.length == os.fstat(fd).st_size
        assert segment.length % PAGE == 0
        reader = pa.ipc.open_file(buffer)
        assert reader.num_record_batches == 1
        found = [b for b in reader.get_batch(0).column(0).buffers() if b is not None and b.size]
        places = {(b.address - buffer.address, b.size) for b in found}
        regions = (segment.data, segment.offsets, segment.validity)
        assert places == {(region.offset, region.length) for region in regions if region.length}
        assert all(place % PAGE == 0 for place, _ in places)


POLARS = ["int8", "uint64", "float32", "bool", "date64", "timestamp[us]", "duration", "string", "binary", "list"]
POLARS += ["fixed_size_list", "struct", "list of strings", "list with null items"]


@pytest.mark.parametrize("name", POLARS)
def test_polars_reads_the_same_file(name, load_table, read_column):
    """A second implementation of Arrow IPC, in Rust, reads the bytes of each segment to the same values."""
    case = CASES[name]
    table = _table(case, 5000, nulls=True)
    (hot,) = load_table(table)
    files = [os.pread(fd, segment.length, 0) for segment, fd in zip(hot.column.segments, hot.descriptors, strict=True)]
    frames = [pl.read_ipc(io.BytesIO(file)) for file in files]
    found = pl.concat(frames).get_column("c").to_list()
    expected = _found(read_column(hot), case)
    if name == "date64":
        expected = [value and dt.datetime(value.year, value.month, value.day) for value in expected]  # noqa: DTZ001 - polars has no date64 and takes naive timestamps
    assert found == expected
