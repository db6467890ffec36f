"""Columns of every type, read from segments that the sidecar's own loader filled: values, nulls, views, gathers."""

from __future__ import annotations

import datetime as dt
import decimal
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from alluxio_lance.client import fixed
from alluxio_lance.client.arrow import ArrowColumn
from alluxio_lance.client.fixed import FixedColumn
from alluxio_lance.client.room import POOL
from alluxio_lance.client.variable import VariableColumn
from alluxio_lance.errors import Corrupt, NotFound, Unavailable

ROWS = 9000
"""More than two groups of 4096 rows: three shards."""
CHOSEN = np.array([0, 8999, 4095, 4096, 4096, -1, 8192, 17, -9000], np.int64)
RNG = np.random.default_rng(0)
ABSENT = RNG.random(ROWS) < 0.2


def column_of(make_table, array: pa.Array, field: pa.Field | None = None):
    """Lay an array out as the only column of a version."""
    schema = pa.schema([field or pa.field("c", array.type)])
    return make_table(pa.table([array], schema=schema)).column("c")


NUMBERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64"]
FIXED = {
    **{name: np.arange(ROWS).astype(name) for name in NUMBERS},
    "bool": np.arange(ROWS) % 3 == 0,
    "timestamp": np.arange(ROWS).astype("datetime64[us]"),
    "duration": np.arange(ROWS).astype("timedelta64[ns]"),
}


@pytest.mark.parametrize("nulls", [False, True])
@pytest.mark.parametrize("name", FIXED)
def test_scalars_of_fixed_width(make_table, name, nulls):
    """Every fixed-width scalar reads back by array, row, view and gather; null slots hold 0, NaN or NaT."""
    wanted = FIXED[name]
    column = column_of(make_table, pa.array(wanted, mask=ABSENT if nulls else None))
    assert isinstance(column, FixedColumn)
    if nulls:
        hole = np.array("NaT", wanted.dtype) if wanted.dtype.kind in "mM" else np.nan if wanted.dtype.kind == "f" else 0
        wanted = np.where(ABSENT, np.array(hole, wanted.dtype), wanted)
    assert column.array.dtype == wanted.dtype
    np.testing.assert_array_equal(column.array, wanted)
    np.testing.assert_array_equal(column.view(4000, 8500), wanted[4000:8500])
    np.testing.assert_array_equal(column.take(CHOSEN), wanted[CHOSEN])
    np.testing.assert_array_equal(column.row(-1), wanted[-1])
    np.testing.assert_array_equal(column.present(), ~ABSENT if nulls else np.ones(ROWS, np.bool_))
    assert (column.validity is not None) == nulls


def test_dates_are_milliseconds(make_table):
    """Dates, which Arrow keeps in days of 32 bits, become datetime64[ms]."""
    days = [dt.date(2024, 1, 1), None, dt.date(1969, 12, 31)]
    array = column_of(make_table, pa.array(days)).array
    assert array.dtype == "datetime64[ms]"
    assert array.astype(str).tolist() == ["2024-01-01T00:00:00.000", "NaT", "1969-12-31T00:00:00.000"]


@pytest.mark.parametrize("nulls", [False, True])
def test_rows_with_a_shape(make_table, nulls):
    """Fixed-size lists, nested ones and tensors have the shape of their rows."""
    values = RNG.random((ROWS, 2, 3)).astype(np.float32)
    inner = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), 3)
    nested = pa.FixedSizeListArray.from_arrays(inner, 2, mask=pa.array(ABSENT) if nulls else None)
    column = column_of(make_table, nested)
    wanted = np.where(ABSENT[:, None, None], np.float32("nan"), values) if nulls else values
    assert column.array.shape == (ROWS, 2, 3)
    np.testing.assert_array_equal(column.array, wanted)
    np.testing.assert_array_equal(column.take(CHOSEN), wanted[CHOSEN])
    assert column.row(5).shape == (2, 3)
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(values)
    np.testing.assert_array_equal(column_of(make_table, tensors).view(1, 9), values[1:9])


def test_opaque_bytes_are_uint8(make_table):
    """fixed_size_binary(n) reads as uint8 of shape (n,), a list of them with one side more."""
    array = pa.array([b"%05d" % number for number in range(ROWS)], pa.binary(5))
    column = column_of(make_table, array)
    assert column.take(CHOSEN).shape == (len(CHOSEN), 5)
    assert column.row(4096).tobytes() == b"04096"
    pairs = column_of(make_table, pa.FixedSizeListArray.from_arrays(array, 5))
    assert pairs.array.shape == (ROWS // 5, 5, 5)
    assert pairs.row(1)[2].tobytes() == b"00007"


def test_bfloat16_is_uint16_in_numpy(make_table):
    """Numpy has no bfloat16: the bits come as uint16, and the element keeps the name."""
    bits = (np.arange(ROWS, dtype=np.float32).view(np.uint32) >> 16).astype(np.uint16)
    storage = pa.FixedSizeBinaryArray.from_buffers(pa.binary(2), ROWS, [None, pa.py_buffer(bits)])
    field = pa.field("c", pa.binary(2), metadata={b"ARROW:extension:name": b"lance.bfloat16"})
    column = column_of(make_table, storage, field)
    assert (column.element.name, column.element.has_hole) == ("bfloat16", True)
    np.testing.assert_array_equal(column.take(CHOSEN), bits[CHOSEN])


TEXTS = [None if absent else f"ä{number}" * (number % 3) for number, absent in enumerate(ABSENT)]


@pytest.mark.parametrize("type_", [pa.string(), pa.large_string(), pa.binary(), pa.large_binary()])
@pytest.mark.parametrize("nulls", [False, True])
def test_strings_and_binary(make_table, type_, nulls):
    """Strings read as str, binary as bytes, nulls as None."""
    texts = TEXTS if nulls else [text or "" for text in TEXTS]
    wanted = texts if "string" in str(type_) else [None if text is None else text.encode() for text in texts]
    column = column_of(make_table, pa.array(texts, pa.string()).cast(type_))
    assert isinstance(column, VariableColumn)
    assert column.take(CHOSEN).rows() == [wanted[index] for index in CHOSEN]
    assert column.whole().rows() == wanted
    assert column.row(-2) == wanted[-2]
    np.testing.assert_array_equal(column.present(), ~ABSENT if nulls else np.ones(ROWS, np.bool_))


@pytest.mark.parametrize("nulls", [False, True])
@pytest.mark.parametrize("type_", [pa.list_(pa.int16()), pa.large_list(pa.float64()), pa.list_(pa.bool_())])
def test_lists_of_numbers(make_table, type_, nulls):
    """Lists of numbers read as arrays of the item's dtype; joined, they need no copy of the values."""
    one, zero = (True, False) if type_.value_type == pa.bool_() else (1, 0)
    lists = [None if nulls and ABSENT[row] else [one if row % 2 else zero] * (row % 4) for row in range(ROWS)]
    column = column_of(make_table, pa.array(lists, type_))
    found = column.take(CHOSEN).rows()
    assert [None if row is None else row.tolist() for row in found] == [lists[index] for index in CHOSEN]
    values, starts, lengths = column.joined()
    joined = [values[start : start + length].tolist() for start, length in zip(starts, lengths, strict=True)]
    assert joined == [row or [] for row in lists]


def test_everything_else_is_arrow(make_table):
    """Structs, decimals, lists of strings and lists with null items read as pyarrow's Python objects."""
    rows = [None if row % 5 == 0 else row for row in range(ROWS)]
    table = make_table(
        pa.table(
            {
                "struct": pa.array([None if row is None else {"a": row} for row in rows]),
                "decimal": pa.array([None if row is None else decimal.Decimal(row) for row in rows]),
                "texts": pa.array([None if row is None else [str(row)] for row in rows]),
                "holes": pa.array([None if row is None else [row, None] for row in rows]),
            }
        )
    )
    wanted = {
        "struct": lambda row: {"a": row},
        "decimal": decimal.Decimal,
        "texts": lambda row: [str(row)],
        "holes": lambda row: [row, None],
    }
    for name, make in wanted.items():
        column = table.column(name)
        assert isinstance(column, ArrowColumn)
        assert column.take(CHOSEN) == [None if rows[index] is None else make(rows[index]) for index in CHOSEN]
        assert column.row(-1) == make(rows[-1])
        assert column.present().tolist() == [row is not None for row in rows]


@pytest.mark.parametrize(
    "array", [pa.array([1]), pa.array(["a"]), pa.array([{"a": 1}])], ids=["fixed", "text", "arrow"]
)
@pytest.mark.parametrize("index", [1, -2])
def test_rows_that_are_not_there(make_table, array, index):
    """A row outside raises IndexError from each kind of column, one by one and in a batch."""
    column = column_of(make_table, array)
    with pytest.raises(IndexError, match=f"index {index} is out of range for 1 rows"):
        column.row(index)
    with pytest.raises(IndexError, match=f"index {index} is out of range for 1 rows"):
        column.take(np.array([0, index]))


@pytest.mark.parametrize(
    "type_", [pa.int32(), pa.list_(pa.int8(), 3), pa.string(), pa.list_(pa.int8()), pa.struct([("a", pa.int8())])]
)
def test_no_rows(make_table, type_):
    """A version without rows has empty columns of the right type."""
    column = column_of(make_table, pa.array([], type_))
    assert len(column.take(np.empty(0, np.int64))) == 0
    assert len(column.present()) == 0
    if isinstance(column, FixedColumn):
        assert len(column.array) == len(column.view(0, 0)) == 0
    if isinstance(column, VariableColumn):
        assert [len(part) for part in column.joined()] == [0, 0, 0]


def pixels(make_table, rows: int = ROWS, side: int = 3072) -> FixedColumn:
    """Make a column of rows that are not whole pages."""
    values = pa.array(RNG.integers(0, 256, rows * side, np.uint8))
    return column_of(make_table, pa.FixedSizeListArray.from_arrays(values, side))


def smaps_of(address: int) -> str:
    """Return the kernel's description of the mapping that has this address."""
    for part in Path("/proc/self/smaps").read_text().split("VmFlags"):
        head = next((line for line in part.splitlines() if re.match("[0-9a-f]+-[0-9a-f]+ ", line)), "0-0 ")
        start, stop = (int(edge, 16) for edge in head.split()[0].split("-"))
        if start <= address < stop:
            return part
    raise AssertionError(f"nothing is mapped at {address:x}")


def kibibytes(part: str, key: str) -> int:
    """Read a line of smaps."""
    return int(part[part.index(f"{key}:") :].split()[1])


def test_a_view_moves_no_byte(make_table):
    """Contiguous rows come as the mapped pages themselves: the counters see no copy, the process no new memory."""
    column = pixels(make_table)
    view = column.view(4000, 4200)
    assert view.sum() > 0
    statistics = column._counters.statistics()
    assert (statistics.gathered_bytes, statistics.viewed_bytes) == (0, view.nbytes)
    part = smaps_of(view.ctypes.data)
    assert "memfd:alluxio-lance" in part
    assert kibibytes(part, "Anonymous") == 0


def test_writing_into_what_was_handed_out_changes_nothing_else(make_table):
    """Views, gathers and rows may be written into: the dataset and later batches keep their values."""
    column = pixels(make_table)
    before = column.array.copy()
    for handed in (column.view(10, 300), column.take(CHOSEN), column.row(3)):
        handed[...] = 0
    assert not column.array.flags.writeable
    np.testing.assert_array_equal(column.array, before)
    np.testing.assert_array_equal(column.view(10, 300), before[10:300])


def test_large_rows_are_views(make_table):
    """A row of 128 KiB and more is mapped rather than copied."""
    column = pixels(make_table, rows=3, side=200_000)
    before = column.array[1].copy()
    row = column.row(1)
    row[:] = 0
    assert column._counters.statistics().views == 1
    np.testing.assert_array_equal(column.array[1], before)


def test_a_refused_mapping_becomes_a_copy(make_table, monkeypatch):
    """Where the kernel allows no further mapping (vm.max_map_count) a view is a copy, and is counted."""
    column = pixels(make_table)
    wanted = column.array[5:9].copy()

    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(fixed, "map_joined", refuse)
    np.testing.assert_array_equal(column.view(5, 9), wanted)
    assert column._counters.statistics().refused_views == 1


def test_gathers_reuse_their_memory(make_table):
    """A batch that is dropped leaves its memory to the next one."""
    column = pixels(make_table)
    POOL.clear()
    address = column.take(CHOSEN).ctypes.data
    assert column.take(CHOSEN).ctypes.data == address


def test_page_tables_are_filled_once_enough_was_read(make_table):
    """After a 64th of the column was gathered the next gather maps the whole of it; not the first one, however large."""
    column = pixels(make_table)
    column.take(np.arange(300))
    address = column.array.ctypes.data
    assert kibibytes(smaps_of(address), "Rss") < 4096 * 3072 // 1024
    column.take(np.arange(3))
    assert kibibytes(smaps_of(address), "Rss") >= 4096 * 3072 // 1024


def test_offsets_that_contradict_themselves_are_corrupt(make_table, monkeypatch):
    """A segment whose offsets are not in order raises Corrupt with the column's name."""
    column = column_of(make_table, pa.array(["a"]))

    class Broken:
        def measure(self, *args: object) -> int:
            raise ValueError("the offsets of a shard are out of order")

    monkeypatch.setattr(column, "_ragged", Broken())
    with pytest.raises(Corrupt, match="column 'c': the offsets"):
        column.row(0)


def test_names_and_the_end(make_table):
    """An unknown column is NotFound with the names there are; a closed version is Unavailable; arrays live on."""
    table = make_table(pa.table({"a": [1, 2], "b": ["x", "y"]}))
    array = table.column("a").view(0, 2)
    with pytest.raises(NotFound, match="no column 'c', it has a, b"):
        table.column("c")
    assert table.schema == pa.schema({"a": pa.int64(), "b": pa.string()})
    with table:
        assert table.rows == 2
    with pytest.raises(Unavailable, match="was closed"):
        table.column("a")
    assert array.tolist() == [1, 2]
