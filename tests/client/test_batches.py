"""What a batch is made of: the selection of rows, and what stands in for nulls."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from alluxio_lance.client.filling import prepare_fill
from alluxio_lance.client.selecting import Selection, read_fixed
from alluxio_lance.errors import InvalidArgument

BFLOAT16 = pa.field("bf", pa.binary(2), metadata={b"ARROW:extension:name": b"lance.bfloat16"})
DATA = pa.table(
    [
        pa.array([1, None, 3], pa.int8()),
        pa.array([True, None, False]),
        pa.array([1.5, None, 3]),
        pa.array([0, None, 2], pa.timestamp("s")),
        pa.array([[1, 2], None, [5, 6]], pa.list_(pa.uint8(), 2)),
        pa.array([b"ab", None, b"cd"], pa.binary(2)),
        pa.array([b"\0\0", None, b"\0\0"], pa.binary(2)),
        pa.array(["a", None, "c"]),
        pa.array([b"a", None, b"c"]),
        pa.array([[1], None, [2, 3]], pa.list_(pa.int32())),
        pa.array([{"x": 1}, None, None]),
    ],
    schema=pa.schema(
        [
            ("i", pa.int8()),
            ("t", pa.bool_()),
            ("f", pa.float64()),
            ("d", pa.timestamp("s")),
            ("v", pa.list_(pa.uint8(), 2)),
            ("o", pa.binary(2)),
            BFLOAT16,
            ("s", pa.string()),
            ("b", pa.binary()),
            ("l", pa.list_(pa.int32())),
            ("a", pa.struct([("x", pa.int64())])),
        ]
    ),
)


@pytest.mark.parametrize(
    ("indices", "resolved", "contiguous"),
    [
        ([], [], True),
        ([4], [4], True),
        (range(2, 6), [2, 3, 4, 5], True),
        (np.array([7, 8, 9], np.uint8), [7, 8, 9], True),
        (np.array([9, 3], np.uint64), [9, 3], False),
        (np.array([-1, 3], np.int32), [9, 3], False),
        (np.array([1, 0, 3, 0, 5])[::2], [1, 3, 5], False),
        ([np.int64(4), 5], [4, 5], True),
        ((4, 5), [4, 5], True),
        ([-2, -1], [8, 9], True),
        ([-1, 0], [9, 0], False),
        ([2, 4, 3, 5], [2, 4, 3, 5], False),
        ([3, 3], [3, 3], False),
        ([2, 3, 3, 5], [2, 3, 3, 5], False),
        ([3, 2], [3, 2], False),
    ],
)
def test_which_rows(indices, resolved, contiguous):
    """Negative indices are resolved, and neighbours in order are known as such."""
    selection = Selection.of(indices, 10)
    assert selection.indices.tolist() == resolved
    assert selection.contiguous == contiguous
    assert len(selection) == len(resolved)


@pytest.mark.parametrize(
    ("indices", "bad"),
    [
        ([0, 10], 10),
        ([-11], -11),
        ([2**63], 2**63),
        (range(8, 12), 10),
        (np.array([2**64 - 1], np.uint64), 2**64 - 1),
        (np.array([-128], np.int8), -128),
    ],
)
def test_rows_outside(indices, bad):
    """An index outside raises IndexError and names the first one."""
    with pytest.raises(IndexError, match=f"index {bad} is out of range for 10 rows"):
        Selection.of(indices, 10)


def test_a_selection_keeps_its_rows():
    """What becomes of the array that the rows were given in changes nothing."""
    rows = np.array([3, 1, 2])
    selection = Selection.of(rows, 10)
    rows[:] = 99
    assert selection.indices.tolist() == [3, 1, 2]


@pytest.mark.parametrize("indices", [[1.5], [True], [[1]], ["a"], [2**70]])
def test_what_is_no_row(indices):
    """Anything but a flat sequence of integers is refused rather than rounded."""
    with pytest.raises(InvalidArgument, match="flat sequence of integers"):
        Selection.of(indices, 10)


@pytest.mark.parametrize(
    ("name", "value", "stored"),
    [
        ("i", -1, -1),
        ("t", True, True),
        ("f", 7, 7.0),
        ("d", np.datetime64("1970-01-02"), np.datetime64("1970-01-02", "s")),
        ("d", 5, np.datetime64(5, "s")),
        ("v", 9, [9, 9]),
        ("v", [8, 9], [8, 9]),
        ("o", b"xy", [120, 121]),
        ("bf", 1.0, 0x3F80),
        ("bf", 1.00390625, 0x3F80),
        ("bf", 1.01171875, 0x3F82),
    ],
)
def test_values_for_nulls(make_table, name, value, stored):
    """A value for nulls is written in the column's own type, rounded to the nearest even bfloat16 where need be."""
    table = make_table(DATA)
    column = table.column(name)
    fill = prepare_fill({name: value}, table.columns)[name]
    for indices in ([0, 1], [1, 0, 2]):
        selection = Selection.of(indices, 3)
        batch = read_fixed(column, selection, fill, "uri")
        np.testing.assert_array_equal(batch[indices.index(1)], np.asarray(stored, batch.dtype))
        np.testing.assert_array_equal(batch[indices.index(0)], column.array[0])
    assert column.array[1].tolist() != np.asarray(stored).tolist()


@pytest.mark.parametrize(("name", "value"), [("s", "none"), ("b", b""), ("l", [1, 2]), ("l", []), ("a", {"x": 0})])
def test_values_for_nulls_of_any_size(make_table, name, value):
    """Strings, bytes, lists and nested values take a value of their kind."""
    fill = prepare_fill({name: value}, make_table(DATA).columns)[name]
    assert (fill.tolist() if name == "l" else fill) == value


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("nope", 1, "none of the columns i, t,"),
        ("i", 200, "does not fit int8"),
        ("i", 1.5, "does not fit int8"),
        ("i", "x", "does not fit int8"),
        ("t", 2, "does not fit bool"),
        ("v", [1, 2, 3], "does not fit uint8"),
        ("v", -1, "does not fit uint8"),
        ("o", b"xyz", "does not fit S2"),
        ("d", "never", "does not fit"),
        ("s", b"x", "does not fit string"),
        ("b", "x", "does not fit binary"),
        ("l", 5, "does not fit int32"),
        ("l", [1.5], "does not fit int32"),
    ],
)
def test_values_that_do_not_fit(make_table, name, value, why):
    """A value that the column's type cannot hold is refused when the dataset is opened."""
    with pytest.raises(InvalidArgument, match=why):
        prepare_fill({name: value}, make_table(DATA).columns)


@pytest.mark.parametrize("name", ["i", "t", "v", "o"])
def test_nulls_without_a_value(make_table, name):
    """A batch with a null that its type cannot say is an error that names fill_null; one without is none."""
    column = make_table(DATA).column(name)
    with pytest.raises(InvalidArgument, match=rf'fill_null={{"{name}": value}}'):
        read_fixed(column, Selection.of([0, 1], 3), None, "alluxio://datasets/x@v1")
    assert len(read_fixed(column, Selection.of([0, 2], 3), None, "uri")) == 2


@pytest.mark.parametrize("name", ["f", "d"])
def test_nulls_that_the_type_can_say(make_table, name):
    """Floats and moments need no value: NaN and NaT are in the data."""
    batch = read_fixed(make_table(DATA).column(name), Selection.of([0, 1], 3), None, "uri")
    assert np.isnan(batch).tolist() == [False, True]
