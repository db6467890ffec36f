"""The shares of ranks and workers: disjoint, complete, equally many, and continued by any other number of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alluxio_lance.client.epochs.share import Share

ranks = st.sampled_from([1, 2, 3, 8])


def read(rows: int, start: int, batch_size: int, world_size: int, drop_last: bool, steps: int | None = None):
    """Read with all ranks, some steps or to the end; return the places, and where all have come to."""
    shares = [Share(rows, start, batch_size, rank, world_size, drop_last) for rank in range(world_size)]
    assert len({share.batches for share in shares}) == 1
    count = shares[0].batches if steps is None else min(steps, shares[0].batches)
    places = [share.positions(batch).tolist() for batch in range(count) for share in shares]
    return places, shares[0].consumed(count)


@given(st.integers(0, 200), st.integers(1, 17), ranks, st.booleans())
def test_an_epoch_is_complete_and_disjoint(rows, batch_size, world_size, drop_last):
    """Every place comes once; what makes ranks even comes a second time, and what drop_last drops is less than a step."""
    places, stop = read(rows, 0, batch_size, world_size, drop_last)
    flat = [place for batch in places for place in batch]
    if drop_last:
        assert flat == list(range(rows - rows % (batch_size * world_size)))
        assert all(len(batch) == batch_size for batch in places)
        return
    assert set(flat) == set(range(rows))
    assert flat[:rows] == list(range(rows))
    assert len(flat) - rows < world_size
    assert stop == rows
    assert len({len(batch) for batch in places[-world_size:]}) <= 1


@given(st.integers(1, 200), st.integers(1, 9), ranks, st.integers(0, 20), st.integers(1, 9), ranks)
def test_another_number_of_ranks_goes_on(rows, batch_size, before, steps, other_size, after):
    """After some steps of some ranks, others read exactly the rest of the order, in order."""
    first, position = read(rows, 0, batch_size, before, True, steps)
    rest, stop = read(rows, position, other_size, after, False)
    flat = [place for batch in [*first, *rest] for place in batch]
    assert flat[:rows] == list(range(rows))
    assert set(flat[rows:]) <= set(range(rows))
    assert len(flat) - rows < after
    assert stop == rows


@given(st.integers(0, 200), st.integers(1, 9), ranks, st.integers(1, 5))
def test_workers_by_turns_give_the_order_of_one(rows, batch_size, world_size, workers):
    """Worker w of N makes batches w, w + N, …; a loader that asks them by turns gets those of a single process."""
    share = Share(rows, 0, batch_size, world_size - 1, world_size, drop_last=False)
    queues = [list(range(worker, share.batches, workers)) for worker in range(workers)]
    turns = [queues[turn % workers].pop(0) for turn in range(share.batches)]
    assert turns == list(range(share.batches))


def test_few_rows_and_many_ranks():
    """Ranks without a row of their own get one that comes a second time."""
    assert read(1, 0, 4, 3, False)[0] == [[0], [0], [0]]
    assert read(5, 0, 4, 3, False)[0] == [[0, 1], [2, 3], [4, 4]]
    assert read(0, 0, 4, 3, False) == ([], 0)


def test_more_batches_than_there_are():
    """Where a rank has come to after more batches than it has cannot be said."""
    share = Share(10, 0, 4, 0, 1, drop_last=False)
    assert [share.consumed(batches) for batches in range(4)] == [0, 4, 8, 10]
    with pytest.raises(ValueError, match="4 batches were taken of 3"):
        share.consumed(4)
