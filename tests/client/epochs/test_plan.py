"""The plan of an epoch: complete, the same for everybody, and the same in every release."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alluxio_lance.client.epochs.chosen import Chosen
from alluxio_lance.client.epochs.permutation import permutation
from alluxio_lance.client.epochs.plan import EpochPlan
from alluxio_lance.client.views.numbers import RowNumbers

HASH = "3f" * 32


@st.composite
def plans(draw: st.DrawFn) -> EpochPlan:
    """Make plans of few rows in units and windows of any size."""
    return EpochPlan(
        content_hash=draw(st.sampled_from([HASH, "a0" * 32])),
        rows=draw(st.integers(0, 300)),
        unit_rows=draw(st.integers(1, 64)),
        window_units=draw(st.integers(1, 9)),
        shuffle=draw(st.booleans()),
        seed=draw(st.integers(0, (1 << 63) - 1)),
        epoch=draw(st.integers(0, 5)),
    )


@st.composite
def filtered(draw: st.DrawFn) -> EpochPlan:
    """Make plans of some of the rows: scattered, neighbours, whole units, none or all."""
    plan = draw(plans())
    some = st.lists(st.integers(0, max(plan.rows - 1, 0)), unique=True, max_size=plan.rows).map(sorted)
    ends = st.tuples(st.integers(0, plan.rows), st.integers(0, plan.rows)).map(sorted)
    rows = draw(st.one_of(some, ends.map(lambda both: list(range(*both)))))
    return replace(plan, chosen=chosen(rows))


def chosen(rows: list[int]) -> Chosen:
    """Choose rows."""
    return Chosen("a filter", RowNumbers(np.array(rows, np.int64)))


def order_of(plan: EpochPlan) -> np.ndarray:
    """Write the whole order out, as row numbers."""
    parts = [plan.row_numbers(window, plan.order(window)) for window in plan.windows]
    return np.concatenate([np.empty(0, np.int64), *parts])


@given(plans())
def test_every_row_is_in_the_order_once(plan):
    """The order is a permutation of the rows; without shuffle it is that of the table."""
    order = order_of(plan)
    assert sorted(order.tolist()) == list(range(plan.rows))
    if not plan.shuffle:
        assert order.tolist() == list(range(plan.rows))


@given(plans())
def test_windows_are_what_can_be_held(plan):
    """No window has too many units, sizes differ by one at most, and the short last unit is the last of its window."""
    sizes = [len(window.units) for window in plan.windows]
    last = (plan.rows - 1) // plan.unit_rows
    place = 0
    for window in plan.windows:
        assert window.start == place
        assert last not in window.units[:-1]
        assert (window.units != last).all() or window.rows % plan.unit_rows == plan.rows % plan.unit_rows
        place = window.stop
    assert place == plan.rows
    assert not sizes or (max(sizes) <= plan.window_units and max(sizes) - min(sizes) <= 1)


@given(plans())
def test_places_are_found(plan):
    """Each place of the order is known to lie in its window."""
    places = np.arange(plan.rows)
    wanted = [window.number for window in plan.windows for _ in range(window.rows)]
    assert (plan.windows_of(places).tolist() if plan.rows else []) == wanted


def test_the_order_is_the_same_in_every_release():
    """Fixed seeds give fixed orders: a saved state must find its order again, years later and on another machine."""
    plan = EpochPlan(HASH, 20, 3, 3, shuffle=True, seed=7, epoch=2)
    assert order_of(plan).tolist() == [5, 14, 13, 4, 3, 12, 6, 7, 8, 18, 19, 2, 0, 17, 10, 11, 9, 15, 1, 16]


def philox(key: int, count: int) -> list[int]:
    """Make words of Philox 4x64-10 as its paper describes it."""
    mask, words = (1 << 64) - 1, []
    for block in range(1, -(-count // 4) + 1):
        c0, c1, c2, c3, k0, k1 = block, 0, 0, 0, key & mask, key >> 64
        for _ in range(10):
            left, right = 0xD2E7470EE14C6C93 * c0, 0xCA5A826395121157 * c2
            c0, c1, c2, c3 = (right >> 64) ^ c1 ^ k0, right & mask, (left >> 64) ^ c3 ^ k1, left & mask
            k0, k1 = (k0 + 0x9E3779B97F4A7C15) & mask, (k1 + 0xBB67AE8584CAA73B) & mask
        words += [c0, c1, c2, c3]
    return words[:count]


@pytest.mark.parametrize("count", [1, 2, 7, 64, 1000])
def test_permutations_are_those_of_the_documented_algorithm(count):
    """docs/streaming.md says enough to write it anew: this is a second one, in plain Python."""
    assert permutation(count, "key", 5).tolist() == permuted(count, "key", 5)


def permuted(count: int, *key: int | str) -> list[int]:
    """Permute numbers as docs/streaming.md says."""
    digest = hashlib.sha256("\n".join(map(str, ("alluxio-lance epoch plan 1", *key))).encode()).digest()
    bits = max(count - 1, 0).bit_length()
    words = philox(int.from_bytes(digest[:16], "little"), count)
    return [number for _, number in sorted((word >> bits, number) for number, word in enumerate(words))]


def documented(plan: EpochPlan, rows: list[int]) -> tuple[list[list[int]], list[int]]:
    """Write the units of each window, and the order of some ascending rows, as docs/streaming.md says."""
    key = (plan.content_hash, plan.seed, plan.epoch)
    by_unit: dict[int, list[int]] = {}
    for row in rows:
        by_unit.setdefault(row // plan.unit_rows, []).append(row)
    units = list(by_unit)
    if plan.shuffle:
        units = [units[place] for place in permuted(len(units), *key, "units")]
    windows, order = [], []
    count = -(-len(units) // plan.window_units)
    for k in range(count):
        dealt = units[k * len(units) // count : (k + 1) * len(units) // count]
        dealt.sort(key=lambda unit: unit == (plan.rows - 1) // plan.unit_rows)
        inside = [row for unit in dealt for row in by_unit[unit]]
        windows.append(dealt)
        order += [inside[place] for place in permuted(len(inside), *key, "window", k)] if plan.shuffle else inside
    return windows, order


@given(st.one_of(plans(), filtered()))
def test_orders_are_those_of_the_documented_algorithm(plan):
    """With chosen rows and without, in windows of units: all of it once more, in plain Python."""
    rows = list(range(plan.rows)) if plan.chosen is None else plan.chosen.numbers.all().tolist()
    windows, order = documented(plan, rows)
    assert [window.units.tolist() for window in plan.windows] == windows
    assert order_of(plan).tolist() == order
    assert len(order) == plan.places == len(rows)


@given(plans())
def test_a_filter_that_chooses_all_changes_nothing(plan):
    """The order is that without one, to the last row."""
    everything = replace(plan, chosen=chosen(list(range(plan.rows))))
    assert order_of(everything).tolist() == order_of(plan).tolist()
    assert everything.places == plan.places
    assert everything.window_rows == plan.window_rows


@given(filtered())
def test_chosen_rows_and_no_others_are_in_the_order(plan):
    """Each once, in windows whose units all have some; without shuffle in the order of the table."""
    wanted = plan.chosen.numbers.all().tolist()
    order = order_of(plan).tolist()
    assert sorted(order) == wanted
    assert plan.shuffle or order == wanted
    units = [unit for window in plan.windows for unit in window.units.tolist()]
    assert sorted(units) == sorted({row // plan.unit_rows for row in wanted})
    assert all(0 < window.rows <= plan.window_rows for window in plan.windows)


@given(filtered())
def test_places_among_chosen_rows_are_found(plan):
    """Each place of the order is known to lie in its window, and those of a window are numbers within its units."""
    wanted = [window.number for window in plan.windows for _ in range(window.rows)]
    places = np.arange(plan.places)
    assert (plan.windows_of(places).tolist() if plan.places else []) == wanted
    for window in plan.windows:
        within = plan.order(window)
        assert len(within) == window.rows
        assert 0 <= within.min() <= within.max() < len(window.units) * plan.unit_rows


def test_the_order_of_chosen_rows_is_the_same_in_every_release():
    """As without a filter: a saved state must find it again."""
    rows = [0, 1, 4, 9, 10, 11, 13, 18, 19]
    plan = EpochPlan(HASH, 20, 3, 2, shuffle=True, seed=8, epoch=2, chosen=chosen(rows))
    assert order_of(plan).tolist() == [19, 18, 4, 11, 9, 10, 1, 13, 0]


@pytest.mark.parametrize("change", [{"seed": 8}, {"epoch": 3}, {"content_hash": "00" * 32}])
def test_another_epoch_seed_or_version_has_another_order(change):
    """All three go into the order, of the units and of the rows within a window."""
    fields = {"content_hash": HASH, "rows": 4000, "unit_rows": 100, "window_units": 10, "seed": 7, "epoch": 2}
    one, two = EpochPlan(**fields, shuffle=True), EpochPlan(**{**fields, **change}, shuffle=True)
    assert order_of(one).tolist() != order_of(two).tolist()
    assert one.windows[0].units.tolist() != two.windows[0].units.tolist()
    assert one.order(one.windows[0]).tolist() != two.order(two.windows[0]).tolist()


def test_windows_are_shuffled_differently():
    """Windows of the same size have orders of their own."""
    plan = EpochPlan(HASH, 4000, 100, 10, shuffle=True, seed=7, epoch=2)
    orders = {tuple(plan.order(window).tolist()) for window in plan.windows}
    assert len(orders) == len(plan.windows) == 4


def test_permutations_are_uniform():
    """All orders of four come up equally often, and each place of a longer one is any number."""
    counts: dict[tuple[int, ...], int] = {}
    for seed in range(4800):
        order = tuple(permutation(4, seed).tolist())
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 24
    # Chi-squared with 23 degrees of freedom is below 49.7 with a probability of 0.999; the keys are fixed.
    assert sum((count - 200) ** 2 / 200 for count in counts.values()) < 49.7
    first = np.array([permutation(1000, "first", seed)[0] for seed in range(2000)])
    assert abs(first.mean() - 499.5) < 4 * 288.7 / np.sqrt(2000)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 64, 65])
def test_permutations_of_any_length(count):
    """A permutation has each number once, whatever the length."""
    assert sorted(permutation(count, "n", count).tolist()) == list(range(count))
