"""The plan of a load: rows per shard, bytes needed, columns chosen."""

from __future__ import annotations

import pyarrow as pa
import pytest

from alluxio_lance.errors import InvalidArgument, NotFound
from alluxio_lance.sidecar.memfd import HUGE_PAGE
from alluxio_lance.sidecar.plan import make_plan

MIB = 1 << 20


def _plan(*types: pa.DataType, rows: int = 10_000_000, shard_bytes: int = 256 * MIB, num_bytes: int = 0):
    schema = pa.schema([pa.field(f"c{i}", type) for i, type in enumerate(types)])
    return make_plan(schema, rows, label="datasets/x@v1", shard_bytes=shard_bytes, num_bytes=num_bytes)


@pytest.mark.parametrize(
    ("width", "shard_rows"),
    [
        (3 * 64 * 64, 20480),  # 240 MiB, which are whole huge pages
        (3 * 224 * 224, 4096),  # 588 MiB: fewer rows are not possible
        (4096, 65536),  # exactly 256 MiB
        (100_000, 4096),  # whole huge pages would be 65536 rows, far beyond twice the target
        (3, 42 * HUGE_PAGE),  # 252 MiB: rounded down to a multiple of 2 Mi rows
    ],
)
def test_shards_are_whole_pages(width, shard_rows):
    """Shards have a multiple of 4096 rows, and are whole huge pages where the target allows it."""
    plan = _plan(pa.list_(pa.uint8(), width), rows=1 << 40)
    assert plan.shard_rows == shard_rows
    assert plan.shard_rows % 4096 == 0
    if width != 100_000:
        assert plan.shard_rows * width % HUGE_PAGE == 0


def test_the_widest_column_decides():
    """Narrow columns follow the widest one."""
    assert _plan(pa.int64(), pa.list_(pa.uint8(), 4096)).shard_rows == 65536


def test_all_wide_columns_become_whole_huge_pages():
    """The step of the rows serves every column that is large, not just the widest."""
    plan = _plan(pa.list_(pa.uint8(), 3072), pa.list_(pa.uint8(), 800), pa.int64())
    assert plan.shard_rows == 65536  # the widest alone would have 86016, which are no whole huge pages of 800 bytes


@pytest.mark.parametrize(("rows", "shards", "last"), [(0, 0, None), (1, 1, 1), (4096, 1, 4096), (4097, 2, 1)])
def test_rows_of_shards_add_up(rows, shards, last):
    """All shards but the last are full; no rows make no shard."""
    plan = _plan(pa.int8(), rows=rows, shard_bytes=1)
    assert plan.shards == shards
    assert sum(plan.rows_of(shard) for shard in range(shards)) == rows
    if last is not None:
        assert plan.rows_of(shards - 1) == last


def test_rows_of_unknown_length_are_guessed_from_the_store():
    """What the files have beyond the fixed columns is shared among the others; without a clue a row has 16 bytes."""
    plan = _plan(pa.int64(), pa.string(), pa.binary(), rows=1000, num_bytes=1000 * (8 + 2 * 5000))
    assert [column.row_bytes for column in plan.columns] == [8, 5000, 5000]
    assert [column.row_bytes for column in _plan(pa.string(), num_bytes=5).columns] == [16]
    assert [column.row_bytes for column in _plan(pa.string(), rows=0).columns] == [16]


def test_a_table_without_columns_is_no_fault():
    """Such a version has a plan that needs nothing."""
    assert _plan(rows=5).need == 0


def test_columns_are_chosen_in_the_order_asked_for():
    """A narrowed plan keeps the shards, so that columns loaded later fit to those loaded before."""
    plan = _plan(pa.int8(), pa.list_(pa.uint8(), 4096), pa.string())
    narrow = plan.only(["c2", "c0"])
    assert [column.name for column in narrow.columns] == ["c2", "c0"]
    assert narrow.shard_rows == plan.shard_rows
    assert narrow.need == plan.need_of(plan.columns[2]) + plan.need_of(plan.columns[0])


@pytest.mark.parametrize(
    ("names", "error", "words"),
    [(["c0", "d"], NotFound, "no column 'd': its columns are c0, c1"), (["c0", "c0"], InvalidArgument, "named twice")],
)
def test_wrong_wishes_are_refused(names, error, words):
    """A column that does not exist or is named twice is an error that says what there is."""
    with pytest.raises(error, match=words):
        _plan(pa.int8(), pa.int8()).only(names)


def test_two_columns_of_one_name_are_refused():
    """Names must tell columns apart."""
    schema = pa.schema([("a", pa.int8()), ("a", pa.int16())])
    with pytest.raises(InvalidArgument, match="two columns of the same name"):
        make_plan(schema, 1, label="datasets/x@v1")
