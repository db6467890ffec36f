"""How many threads copy a batch, and where its memory comes from."""

from __future__ import annotations

import gc
import os

import numpy as np
import pyarrow as pa
import pytest

from alluxio_lance.client import fixed, gathering
from alluxio_lance.client.fixed import FixedColumn
from alluxio_lance.client.gathering import SETTING, follow, gather_threads
from alluxio_lance.client.room import POOL, room
from alluxio_lance.client.variable import VariableColumn
from alluxio_lance.errors import InvalidArgument

UINT8 = np.dtype(np.uint8)


def test_one_thread_by_default(monkeypatch):
    """Without the setting or a framework a batch is copied by the thread that asks for it."""
    monkeypatch.delenv(SETTING, raising=False)
    monkeypatch.setattr(gathering._Framework, "threads", None)
    assert gather_threads() == 1


@pytest.mark.parametrize(("says", "threads"), [(1, 1), (3, 3), (64, 4)])
def test_as_many_as_the_framework_copies_with(monkeypatch, says, threads):
    """Few of them, no more than processors, and the setting has the last word."""
    monkeypatch.delenv(SETTING, raising=False)
    monkeypatch.setattr(gathering._Framework, "threads", None)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    follow(lambda: says)
    assert gather_threads() == threads
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert gather_threads() == 1
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setenv(SETTING, "7")
    assert gather_threads() == 7


def test_no_more_threads_than_processors(monkeypatch):
    """The setting is bounded by the processors that this process may use."""
    mine = os.sched_getaffinity(0)
    monkeypatch.setenv(SETTING, "9999")
    assert gather_threads() == len(mine)
    try:
        os.sched_setaffinity(0, {min(mine)})
        assert gather_threads() == 1
    finally:
        os.sched_setaffinity(0, mine)


@pytest.mark.parametrize("value", ["", "0", "-1", "two", "1.5", "²", "9" * 5000])
def test_settings_that_are_no_number_of_threads(monkeypatch, value):
    """A setting that cannot be is named, with what to give instead."""
    monkeypatch.setenv(SETTING, value)
    with pytest.raises(InvalidArgument, match=f"{SETTING} is .* give the number of threads"):
        gather_threads()


def test_large_batches_are_copied_by_several_threads(make_table, monkeypatch):
    """The setting reaches the gather of a column where a batch is large, and small ones stay with one thread."""
    values = np.random.default_rng(0).integers(0, 256, 6000 * 3000, np.uint8)
    column = make_table(pa.table({"c": pa.FixedSizeListArray.from_arrays(pa.array(values), 3000)})).column("c")
    assert isinstance(column, FixedColumn)
    asked: list[int] = []
    plain = fixed.gather

    def watched(*args: object, threads: int) -> None:
        asked.append(threads)
        plain(*args, threads=threads)

    monkeypatch.setattr(fixed, "gather", watched)
    monkeypatch.setattr(fixed, "gather_threads", lambda: 3)
    for count in (10, 2000):
        indices = np.random.default_rng(count).integers(0, 6000, count)
        np.testing.assert_array_equal(column.take(indices), values.reshape(6000, 3000)[indices])
    assert asked == [1, 3]


def test_arrays_are_shaped_and_writable():
    """Room of any size has the shape and dtype asked for, and may be written into."""
    for shape, dtype in (((0, 3), "f4"), ((5,), "M8[us]"), ((100, 50, 20), "f8"), ((40_000,), "?")):
        made = room(shape, np.dtype(dtype))
        assert (made.shape, made.dtype) == (shape, dtype)
        made[...] = made.dtype.type(1) if dtype != "M8[us]" else np.datetime64(1, "us")


def test_memory_is_not_used_again_while_any_view_lives():
    """A slice, a reshape, a view of another dtype or a memoryview keeps the block; without them it is the next array's."""
    for view in (
        lambda array: array[-1:],
        lambda array: array.reshape(-1, 2)[1],
        lambda array: array.view(np.int64),
        lambda array: memoryview(array)[7:9],
    ):
        POOL.clear()
        array = room((100_000,), UINT8)
        address, kept = array.ctypes.data, view(array)
        del array
        gc.collect()
        other = room((100_000,), UINT8)
        assert other.ctypes.data != address
        del kept
        assert room((100_000,), UINT8).ctypes.data == address


def test_strings_leave_their_memory_to_the_next_batch(make_table):
    """The values of rows of different lengths lie in reused memory, too; rows that were handed out keep theirs."""
    texts = [f"{number:040}" * (number % 3) for number in range(9000)]
    column = make_table(pa.table({"c": texts})).column("c")
    assert isinstance(column, VariableColumn)
    order = np.random.default_rng(0).permutation(9000)
    POOL.clear()
    first = column.take(order)
    address = first.values.ctypes.data
    second = column.take(order)
    assert second.values.ctypes.data != address
    rows = first.rows()
    del first
    assert column.take(order).values.ctypes.data == address
    assert rows == [texts[index] for index in order]
