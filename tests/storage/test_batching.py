"""Cutting and joining streams of batches."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from alluxio_lance.storage.batching import rechunk

TARGET = 8000


def numbers(rows, start=0):
    """Make a batch of 8 bytes a row."""
    return pa.record_batch({"i": pa.array(np.arange(start, start + rows))})


@pytest.mark.parametrize(
    "sizes",
    [
        [100_000],
        [1] * 3000,
        [1],
        [],
        [0, 0, 5, 0],
        [1000, 1],
        [1000, 1, 1000, 1],
        [7, 5000, 3, 1500, 1, 1, 1],
        [999] * 5,
    ],
)
def test_rows_keep_their_order_and_batches_their_size(sizes):
    """Whatever the source's batches are: all rows, in order, about the target, never a single row among many."""
    starts = np.cumsum([0, *sizes])
    batches = list(rechunk([numbers(n, start) for n, start in zip(sizes, starts, strict=False)], TARGET))
    assert [value for batch in batches for value in batch.column(0).to_pylist()] == list(range(sum(sizes)))
    assert all(batch.nbytes <= 1.5 * TARGET for batch in batches)
    assert all(batch.nbytes >= TARGET // 4 for batch in batches[:-1])
    assert all(batch.num_rows >= 2 for batch in batches) or sum(sizes) < 2


def test_large_batches_are_cut_without_a_copy():
    """The pieces lie in the source's own memory."""
    whole = numbers(100_000)
    start = whole.column(0).buffers()[1].address
    for batch in rechunk([whole], TARGET):
        assert start <= batch.column(0).buffers()[1].address < start + whole.nbytes


def test_wide_rows_go_in_pairs():
    """A row larger than the target is not alone in its batch, unless it is alone in the stream."""
    wide = pa.record_batch({"b": pa.array([b"x" * 20_000] * 5)})
    assert [batch.num_rows for batch in rechunk([wide], TARGET)] == [2, 3] or [
        batch.num_rows for batch in rechunk([wide], TARGET)
    ] == [3, 2]
    singles = [wide.slice(number, 1) for number in range(5)]
    assert [batch.num_rows for batch in rechunk(singles, TARGET)] == [2, 3]
    assert [batch.num_rows for batch in rechunk(singles[:1], TARGET)] == [1]


def test_uneven_rows_are_cut_again():
    """One end of the batch has almost all the bytes: it is cut finer than the other."""
    values = [b"x"] * 900 + [b"y" * 1000] * 100
    batches = list(rechunk([pa.record_batch({"b": pa.array(values)})], TARGET))
    assert [value for batch in batches for value in batch.column(0).to_pylist()] == values
    assert max(batch.nbytes for batch in batches) <= 2.5 * TARGET


def test_a_large_dictionary_is_not_cut_for_ever():
    """A dictionary that every piece carries does not lead to pieces of two rows."""
    words = pa.array([f"{number:0100d}" for number in range(1000)])
    batch = pa.record_batch({"d": pa.DictionaryArray.from_arrays(pa.array(np.arange(1000), pa.int32()), words)})
    batches = list(rechunk([batch], TARGET))
    assert sum(each.num_rows for each in batches) == 1000
    assert min(each.num_rows for each in batches) > 20
