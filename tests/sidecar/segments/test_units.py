"""Units: where a version is cut, what a window may be made of, and which units are read in one pass."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest

from alluxio_lance.errors import InvalidArgument, NotFound
from alluxio_lance.layout import PAGE, ColumnKind
from alluxio_lance.sidecar.plan import make_plan
from alluxio_lance.sidecar.units import UNIT_BYTES, Units, runs

MIB = 1 << 20


def _units(schema: pa.Schema, rows: int = 1 << 20, num_bytes: int = 0) -> Units:
    return Units.of(make_plan(schema, rows, label="datasets/x@v1", num_bytes=num_bytes))


def _image(width: int) -> pa.DataType:
    return pa.list_(pa.uint8(), width)


@pytest.mark.parametrize(
    ("schema", "rows"),
    [
        ({"x": _image(12288)}, 682),
        ({"x": _image(12288), "label": pa.int64()}, 512),
        ({"x": _image(150528), "label": pa.int64()}, 512),
        ({"x": _image(150528), "label": pa.uint8()}, 4096),
        ({"x": _image(30 * MIB)}, 1),
        ({"x": _image(3)}, 8 * MIB // 3 // 4096 * 4096),
        ({"label": pa.bool_()}, 8 * MIB),
    ],
)
def test_units_are_whole_pages_of_every_fixed_column(schema, rows):
    """About 8 MiB of the widest column, more only where a narrow one would not fill a page otherwise."""
    units = _units(pa.schema(schema))
    assert units.rows == rows
    for column in units.plan.columns:
        assert units.rows * column.row_bytes % PAGE == 0


def test_random_schemas_are_cut_into_whole_pages():
    """Whatever the widths are; the seed is printed."""
    seed = random.randrange(1 << 32)
    print("seed", seed)  # noqa: T201 - shown when it fails
    chance = random.Random(seed)
    for _ in range(200):
        schema = pa.schema({f"c{n}": _image(chance.randrange(1, 5000)) for n in range(chance.randrange(1, 5))})
        units = _units(schema)
        widest = max(column.row_bytes for column in units.plan.columns)
        assert all(units.rows * column.row_bytes % PAGE == 0 for column in units.plan.columns)
        assert units.rows * widest <= max(UNIT_BYTES, PAGE * widest)


def test_columns_that_are_not_fixed_may_be_cut_anywhere():
    """Their units are as many rows as the store's bytes promise."""
    assert _units(pa.schema({"s": pa.string()}), rows=1000, num_bytes=1000 * 3_000_000).rows == 2


def test_the_cuts_do_not_depend_on_what_is_read():
    """Readers of one column share units with readers of all; a column laid out otherwise changes nothing either."""
    units = _units(pa.schema({"x": _image(12288), "l": pa.list_(pa.int32()), "label": pa.int64()}))
    assert units.only(["label"]).rows == units.rows
    other = units.only(["l", "label"], as_arrow=["l"])
    assert other.rows == units.rows
    assert (other.kind("l"), other.kind("label")) == (ColumnKind.ARROW, ColumnKind.FIXED)
    with pytest.raises(NotFound, match="no column 'z'"):
        units.only(["z"])


def test_a_version_without_rows_has_no_units():
    """And needs nothing."""
    units = _units(pa.schema({"x": _image(12288)}), rows=0)
    assert (units.count, units.need()) == (0, 0)


def test_spans_cover_all_rows():
    """The last unit is shorter."""
    units = _units(pa.schema({"x": _image(12288)}), rows=2000)
    assert [units.span(unit, unit + 1) for unit in range(units.count)] == [(0, 682), (682, 1364), (1364, 2000)]
    assert [units.one(unit).num_rows for unit in range(units.count)] == [682, 682, 636]
    run = units.run(1, 3)
    assert (run.num_rows, run.shards, run.rows_of(1)) == (1318, 2, 636)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ([], "at least one unit"),
        ([3], "no unit 3"),
        ([-1], "no unit -1"),
        ([0, 1, 0], "a unit comes twice"),
        ([2, 0], "unit 2 has fewer rows"),
    ],
)
def test_what_is_no_window(asked, sentence):
    """Each has a sentence."""
    with pytest.raises(InvalidArgument, match=sentence):
        _units(pa.schema({"x": _image(12288)}), rows=2000).check(asked)


def test_a_last_unit_of_full_length_may_be_anywhere():
    """Only a short one must be at the end."""
    _units(pa.schema({"x": _image(12288)}), rows=2 * 682).check([1, 0])
    _units(pa.schema({"x": _image(12288)}), rows=2000).check([1, 0, 2])


@pytest.mark.parametrize(
    ("numbers", "found"),
    [
        ([], []),
        ([4], [(4, 5)]),
        ([7, 3, 4, 5, 9], [(3, 6), (7, 8), (9, 10)]),
        ([2, 1, 0], [(0, 3)]),
    ],
)
def test_consecutive_units_are_one_run(numbers, found):
    """In whatever order they are named."""
    assert list(runs(numbers)) == found
