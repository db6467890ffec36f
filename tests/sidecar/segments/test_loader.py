"""Loads as a whole: what the store must give, what failure leaves, growth, pages, progress."""

from __future__ import annotations

import gc
import resource

import numpy as np
import pyarrow as pa
import pytest

from alluxio_lance.errors import Corrupt, NoSpace, Unavailable
from alluxio_lance.layout import ColumnKind, Pages
from alluxio_lance.sidecar import loader as module
from alluxio_lance.sidecar.budget import Budget
from alluxio_lance.sidecar.fill.column import ColumnFilling
from alluxio_lance.sidecar.loader import load
from alluxio_lance.sidecar.memfd import HUGE_PAGE, free_huge_bytes
from alluxio_lance.sidecar.plan import make_plan

MIB = 1 << 20
ROWS = 10_000


def _table(rows: int = ROWS) -> pa.Table:
    texts = pa.array([f"row {i}" for i in range(rows)], pa.string())
    structs = pa.array([{"a": i} for i in range(rows)], pa.struct([("a", pa.int64())]))
    return pa.table({"x": np.arange(rows), "s": texts, "d": structs})


def _wide(mib: int) -> pa.Table:
    """One column of 4096 bytes a row: 256 rows are a MiB."""
    values = np.arange(mib * MIB, dtype=np.uint32).astype(np.uint8)
    return pa.table({"image": pa.FixedSizeListArray.from_arrays(pa.array(values), 4096)})


def _plan(table: pa.Table, shard_bytes: int = 1):
    return make_plan(table.schema, table.num_rows, label="datasets/x@v3", shard_bytes=shard_bytes)


@pytest.mark.parametrize(
    ("given", "planned", "found"), [(ROWS - 1, ROWS, "9999"), (ROWS + 1, ROWS, "at least"), (1, 0, "at least 1")]
)
def test_rows_that_the_version_does_not_have_are_corrupt(given, planned, found, table_double, budget, memfds):
    """Too few and too many rows raise `Corrupt` with both numbers, and nothing stays allocated."""
    plan = _plan(_table(planned))
    with pytest.raises(Corrupt, match=f"has {planned} rows, but the store gives .*{found}") as refusal:
        load(table_double(_table(given)), plan, budget)
    assert refusal.value.details["expected"] == planned
    assert budget.used == 0
    assert memfds() == []


@pytest.mark.parametrize("column", ["x", "s", "d"])
def test_other_types_than_the_catalog_has_are_corrupt(column, table_double, budget, memfds):
    """A column of another type raises `Corrupt` that names both types."""
    table = _table()
    place = table.schema.get_field_index(column)
    other = table.set_column(place, column, pa.nulls(ROWS, pa.int8()))
    with pytest.raises(Corrupt, match=f"column '{column}' of datasets/x@v3 is .* the store gives int8") as refusal:
        load(table_double(other), _plan(table), budget)
    assert refusal.value.details["found"] == "int8"
    assert (budget.used, memfds()) == (0, [])


def test_a_load_that_does_not_fit_is_refused_before_a_byte_is_read(table_double, memfds):
    """The plan's need is claimed first."""
    table = _table()
    plan = _plan(table)
    small = Budget(plan.need - 1, available=lambda: 1 << 40)
    reader = table_double(table)
    with pytest.raises(NoSpace) as refusal:
        load(reader, plan, small)
    assert refusal.value.details["need"] == plan.need
    assert reader.asked == []
    assert (small.used, memfds()) == (0, [])


def test_rows_longer_than_guessed_claim_more_and_are_refused_without_room(table_double, memfds):
    """A variable column that outgrows its guess takes more of the budget, up to the budget, and then gives all back."""
    table = pa.table({"s": ["x" * 1000] * 20_000})
    plan = make_plan(table.schema, 20_000, label="datasets/x@v3", num_bytes=0)
    enough = Budget(64 * MIB, available=lambda: 1 << 40)
    (hot,) = load(table_double(table), plan, enough)
    assert plan.need < 20_000_000 < hot.bytes == enough.used
    hot.close()
    tight = Budget(10 * MIB, available=lambda: 1 << 40)
    with pytest.raises(NoSpace):
        load(table_double(table), plan, tight)
    assert (tight.used, memfds()) == (0, [])


def test_a_fault_of_the_store_leaves_nothing(table_double, budget, memfds):
    """An error in the middle of the stream comes through, and all memory goes back."""
    batches = iter(range(5))

    def fail_later() -> None:
        if next(batches) == 4:
            raise Unavailable("the store went away", what="store")

    with pytest.raises(Unavailable, match="went away"):
        load(table_double(_table(), 1000, fail_later), _plan(_table()), budget)
    assert (budget.used, memfds()) == (0, [])


def test_a_cancelled_load_ends_at_the_next_batch(table_double, budget, memfds):
    """The question is asked before every batch, and a yes ends the load with `Unavailable`."""
    answers = iter([False, False, True])
    with pytest.raises(Unavailable, match="datasets/x@v3 was cancelled"):
        load(table_double(_table()), _plan(_table()), budget, cancelled=lambda: next(answers))
    assert (budget.used, memfds()) == (0, [])


def test_only_columns_with_null_items_are_read_again(table_double, budget):
    """A list whose items turn out to be null late is laid out as ARROW in a second pass over that column alone."""
    lists = [[1, 2]] * 9_000 + [[None]] * 1_000
    table = pa.table({"x": np.arange(ROWS), "l": pa.array(lists, pa.list_(pa.int32()))})
    reader = table_double(table)
    hot = load(reader, _plan(table), budget)
    assert [(column.column.name, column.column.kind) for column in hot] == [
        ("x", ColumnKind.FIXED),
        ("l", ColumnKind.ARROW),
    ]
    assert reader.asked == [["x", "l"], ["l"]]
    assert budget.used == sum(column.bytes for column in hot)
    for column in hot:
        column.close()


def test_a_pass_without_a_column_left_ends_early(table_double, budget):
    """When every column must be read again nothing more is read in the first pass."""
    table = pa.table({"l": pa.array([[None]] * ROWS, pa.list_(pa.int32()))})
    seen: list[int] = []
    (hot,) = load(table_double(table, 1000, lambda: seen.append(1)), _plan(table), budget)
    assert len(seen) == 1 + 10
    hot.close()


def test_progress_counts_up_to_all_rows(table_double, budget):
    """Every batch is told, and the last report has all rows and bytes."""
    told = []
    hot = load(table_double(_table()), _plan(_table()), budget, on_progress=told.append)
    rows = [progress.rows for progress in told]
    assert rows == sorted(rows)
    assert (told[-1].step, told[-1].rows, told[-1].total_rows) == ("load", ROWS, ROWS)
    assert 8 * ROWS < told[-1].bytes <= told[-1].total_bytes
    for column in hot:
        column.close()


@pytest.mark.parametrize("column", ["x", "s", "d"])
def test_a_refusal_of_the_kernel_is_no_space_and_leaves_nothing(column, table_double, budget, memfds):
    """Whichever kind of column meets a limit of the kernel (here the largest file), `NoSpace` says so."""
    table = _table().select([column])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
    try:
        with pytest.raises(NoSpace, match="the kernel has no memory for alluxio-lance:datasets/x@v3"):
            load(table_double(table), _plan(table), budget)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (budget.used, memfds()) == (0, [])


@pytest.mark.parametrize("broken", [0, 2, 5])
def test_a_shard_without_memory_ends_the_load_and_frees_all_others(broken, table_double, budget, memfds, monkeypatch):
    """Memory is taken ahead of the rows: what was taken for shards that never come goes back, too."""
    start = ColumnFilling._open

    def opened(filling, shard):
        if shard == broken:
            raise NoSpace("no memory", need=1)
        return start(filling, shard)

    monkeypatch.setattr(ColumnFilling, "_open", opened)
    table = _wide(96)
    plan = _plan(table, shard_bytes=16 * MIB)
    assert plan.shards == 6
    with pytest.raises(NoSpace, match="no memory"):
        load(table_double(table), plan, budget)
    assert (budget.used, memfds()) == (0, [])


def test_segments_have_ids_of_their_own(load_table):
    """No two segments of one run have the same id."""
    ids = [s.id for _ in range(2) for hot in load_table(_table()) for s in hot.column.segments]
    assert len(set(ids)) == len(ids) == 18


def test_memfds_tell_what_they_are(load_table, memfds):
    """The name of each memfd has resource, version, column and shard."""
    load_table(_table())
    assert sorted(memfds())[:3] == [f"/memfd:alluxio-lance:datasets/x@v3:d:{shard} (deleted)" for shard in range(3)]


def test_the_need_of_fixed_columns_is_exact_to_the_page(table_double, budget):
    """What a plan says of FIXED columns is what they take, but for the bitmap that no null needed."""
    schema = pa.schema([pa.field("x", pa.int64(), nullable=False), pa.field("y", pa.int32())])
    table = pa.table({"x": np.arange(ROWS), "y": [None, 1] * (ROWS // 2)}, schema=schema)
    plan = _plan(table)
    hot = load(table_double(table), plan, budget, prefer=Pages.SMALL)
    assert plan.need == sum(column.bytes for column in hot)
    for column in hot:
        column.close()


def _assert_pages(hot, pages: Pages, unit: int, values: np.ndarray, read_column) -> None:
    segments = hot.column.segments
    assert {segment.pages for segment in segments} == {pages}
    assert all(segment.data.offset % unit == 0 for segment in segments)
    assert all(segment.data.length % HUGE_PAGE == 0 for segment in segments[:-1])
    column = read_column(hot)
    np.testing.assert_array_equal(np.concatenate([c.flatten().to_numpy() for c in column.chunks]), values)


def test_large_segments_lie_on_reserved_pages(reserved_pages, load_table, read_column):
    """With enough reserved pages all shards of a wide column lie on them, the values at a multiple of 2 MiB."""
    table = _wide(17)
    (hot,) = load_table(table, prefer=Pages.HUGE)
    assert [segment.rows for segment in hot.column.segments] == [4096, 256]
    _assert_pages(hot, Pages.HUGE, HUGE_PAGE, table["image"].combine_chunks().flatten().to_numpy(), read_column)
    assert hot.bytes == sum(segment.length for segment in hot.column.segments)


@pytest.mark.parametrize("batch_rows", [100, 1000, 4096, 5000])
def test_values_that_are_read_right_into_reserved_pages(
    reserved_pages, budget, table_double, read_column, batch_rows, memfds
):
    """They are not copied again, whatever the batches; those of two shards, and other columns, come as ever."""
    wide = _wide(17)
    labels = pa.array(np.arange(wide.num_rows), pa.int64())
    table = wide.append_column("label", labels).append_column("text", pa.array([str(label) for label in labels]))
    reader = table_double(table, batch_rows)
    plan = make_plan(table.schema, table.num_rows, label="datasets/x@v3", shard_bytes=1)
    columns = load(reader, plan, budget, prefer=Pages.HUGE)
    assert [column.column.segments[0].pages for column in columns] == [Pages.HUGE, Pages.SMALL, Pages.SMALL]
    within = sum(min(batch_rows, 4096 - start) == batch_rows for start in range(0, 4096, batch_rows)) * batch_rows
    # The first batch may come before there is any memory.
    assert reader.placed >= (within - batch_rows) * table["image"].type.list_size
    assert reader.placed % table["image"].type.list_size == 0
    for column, name in zip(columns, table.column_names, strict=True):
        assert read_column(column).to_pylist() == table[name].to_pylist()
        column.close()


def test_a_load_that_fails_with_rows_right_in_reserved_pages(reserved_pages, budget, table_double, memfds):
    """Whoever still has arrays over the memory can read them; the budget is free, and nothing of ours is left."""
    table = _wide(17)
    reader, kept = table_double(table, 1000), []
    plain = reader.batches

    def failing(*arguments, **options):
        for batch in plain(*arguments, **options):
            kept.append(batch)
            yield batch
            if len(kept) == 3:
                raise Unavailable("the disk is gone", what="disk")

    reader.batches = failing
    plan = make_plan(table.schema, table.num_rows, label="datasets/x@v3", shard_bytes=1)
    with pytest.raises(Unavailable, match="the disk is gone"):
        load(reader, plan, budget, prefer=Pages.HUGE)
    assert reader.placed
    assert budget.used == 0
    assert kept[0]["image"].equals(table["image"][:1000].combine_chunks())
    kept.clear()
    gc.collect()
    assert memfds() == []


def test_large_segments_lie_on_transparent_pages(transparent_pages, load_table, read_column):
    """Where only transparent pages are allowed they are used, the values at a multiple of 2 MiB."""
    table = _wide(17)
    (hot,) = load_table(table, prefer=Pages.TRANSPARENT)
    _assert_pages(hot, Pages.TRANSPARENT, HUGE_PAGE, table["image"].combine_chunks().flatten().to_numpy(), read_column)


def test_long_strings_lie_on_transparent_pages(transparent_pages, load_table, read_column):
    """Variable columns use transparent pages too, when the store's size says that they are large."""
    table = pa.table({"s": [f"{i:01000}" for i in range(9000)]})
    plan = make_plan(table.schema, 9000, label="datasets/x@v3", num_bytes=9_000_000)
    assert plan.columns[0].row_bytes == 1000
    room = Budget(1 << 30, available=lambda: 1 << 40)

    class Reader:
        def batches(self, columns, *, rows=None, batch_bytes=0, into=None):
            return iter(table.to_batches(max_chunksize=999))

    (hot,) = load(Reader(), plan, room, prefer=Pages.TRANSPARENT)
    assert {segment.pages for segment in hot.column.segments} == {Pages.TRANSPARENT}
    assert read_column(hot).to_pylist() == table["s"].to_pylist()
    hot.close()


def test_reserved_pages_that_somebody_else_took_are_done_without(load_table, monkeypatch, read_column):
    """Pages counted as free and gone when they are wanted are no fault: the column falls back to the next best."""
    if free_huge_bytes():
        pytest.skip("this machine has reserved pages to give")
    monkeypatch.setattr(module, "free_huge_bytes", lambda: 1 << 40)
    table = _wide(17)
    (hot,) = load_table(table, prefer=Pages.HUGE)
    assert {segment.pages for segment in hot.column.segments} <= {Pages.SMALL, Pages.TRANSPARENT}
    _assert_pages(
        hot, hot.column.segments[0].pages, 4096, table["image"].combine_chunks().flatten().to_numpy(), read_column
    )
