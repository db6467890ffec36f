"""Mixtures: proportions in any stretch, each row once, the same order for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alluxio_lance.client.views.mixing import mixed_order
from alluxio_lance.errors import InvalidArgument

SOURCES = st.lists(st.tuples(st.integers(1, 60), st.floats(0.1, 5)), min_size=1, max_size=4)


@given(SOURCES, st.integers())
def test_until_the_first_runs_out(sources, seed):
    """No row comes twice, and the last one is the last of a source that was read in full."""
    lengths, weights = zip(*sources, strict=True)
    which, rows = mixed_order(lengths, weights, seed, "first_exhausted")
    assert len({*zip(which.tolist(), rows.tolist(), strict=True)}) == len(which)
    full = [k for k, length in enumerate(lengths) if (which == k).sum() == length]
    assert which[-1] in full
    assert all(rows[which == k].max(initial=0) < length for k, length in enumerate(lengths))
    check_proportions(which, weights)


@given(SOURCES, st.integers())
def test_until_all_have_run_out(sources, seed):
    """Each row of each source comes, and in each pass over a source each comes once; one source ends with its last."""
    lengths, weights = zip(*sources, strict=True)
    which, rows = mixed_order(lengths, weights, seed, "all_exhausted")
    for k, length in enumerate(lengths):
        own = rows[which == k]
        assert len(own) >= length
        for start in range(0, len(own), length):
            part = own[start : start + length]
            assert len(set(part.tolist())) == len(part)
    assert any((which == k).sum() == length and which[-1] == k for k, length in enumerate(lengths))
    check_proportions(which, weights)


def check_proportions(which, weights):
    """Among the first n rows each source has its share of n, give or take the number of sources."""
    places = np.arange(1, len(which) + 1)
    for k, weight in enumerate(weights):
        found = np.cumsum(which == k)
        assert (abs(found - places * weight / sum(weights)) <= len(weights)).all()


def test_the_order_is_the_same_for_ever():
    """Written down, so that no release of numpy changes it; another seed gives another one."""
    which, rows = mixed_order([6, 3], [2, 1], 5, "first_exhausted")
    assert which.tolist() == [0, 1, 0, 0, 1, 0, 0, 1]
    assert rows.tolist() == ORDER
    assert mixed_order([6, 3], [2, 1], 6, "first_exhausted")[1].tolist() != ORDER
    assert mixed_order([6, 3], [200, 100], 5, "first_exhausted")[1].tolist() == ORDER


ORDER = [5, 1, 0, 3, 0, 1, 4, 2]


def test_each_pass_and_each_source_has_an_order_of_its_own():
    """Two sources of the same length are not in step, nor two passes."""
    which, rows = mixed_order([50, 50, 200], [1, 1, 1], 0, "all_exhausted")
    first, second = rows[which == 0], rows[which == 1]
    assert not np.array_equal(first[:50], second[:50])
    assert not np.array_equal(first[:50], first[50:100])


@pytest.mark.parametrize(
    ("lengths", "weights", "stopping", "reason"),
    [
        ([], [], "first_exhausted", "0 datasets"),
        ([3], [1, 2], "first_exhausted", "1 datasets .* not by 2"),
        ([3, 4], [1, 0], "first_exhausted", "not 0"),
        ([3, 4], [1, -1], "first_exhausted", "not -1"),
        ([3, 4], [1, float("inf")], "first_exhausted", "not inf"),
        ([3, 4], [1, float("nan")], "first_exhausted", "not nan"),
        ([3, 4], [1, "1"], "first_exhausted", "not '1'"),
        ([3, 0], [1, 1], "first_exhausted", "dataset 1 of the mixture has no rows"),
        ([3, 4], [1, 1], "never", "'first_exhausted' or 'all_exhausted', not at 'never'"),
        ([1000, 1000], [1, 1e-9], "all_exhausted", "differ less"),
    ],
)
def test_mixtures_that_are_none(lengths, weights, stopping, reason):
    """Each is refused with what it is."""
    with pytest.raises(InvalidArgument, match=reason):
        mixed_order(lengths, weights, 0, stopping)


def test_weights_of_numpy_are_numbers():
    """Of any width: counts of rows are often made with it."""
    wanted = mixed_order([30, 40], [3, 1], 0, "first_exhausted")
    for weights in (np.array([3, 1]), np.array([3, 1], np.float32)):
        assert np.array_equal(mixed_order([30, 40], weights, 0, "first_exhausted"), wanted)
