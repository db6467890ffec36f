"""A version that is larger than the sidecar's budget as a tf.data.Dataset: orders, batches, values, iterators."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import Node

from alluxio_lance.client.streamed import StreamedVersion
from alluxio_lance.client.table import Table
from alluxio_lance.errors import InvalidArgument, NoSpace

tf = pytest.importorskip("tensorflow")

from tests.frameworks.tf.streaming import KINDS, ROWS, UNIT, URI, keys, numbers, planned, small_node  # noqa: E402 - imports TensorFlow

pytestmark = [
    pytest.mark.tf,
    # The watchdog: a wait for memory that nobody frees fails the test.
    pytest.mark.timeout(300),
]

SOME = ["f64", "wide"]


@pytest.fixture(scope="module")
def small() -> Iterator[Node]:
    """A sidecar whose budget is less than half of the data."""
    with small_node() as node:
        yield node


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """An error that a test expects keeps the iterator that raised it, and so a window, until it is collected."""
    yield
    gc.collect()


@pytest.fixture
def taken(monkeypatch) -> list[Table]:
    """The windows that were taken; each must have been given back when the test has let go of everything."""
    tables: list[Table] = []
    window = StreamedVersion.window

    def noted(self: StreamedVersion, units: Any, **options: Any) -> Table:
        tables.append(window(self, units, **options))
        return tables[-1]

    monkeypatch.setattr(StreamedVersion, "window", noted)
    return tables


def opened(node: Node, **options: Any) -> Any:
    """Open the numbers of the rows and the column that makes them large."""
    from alluxio.tf import Dataset

    return Dataset(URI, **{"address": node.at, "batch_size": 1000, "columns": SOME, **options})


def held(tables: list[Table]) -> int:
    """Count the windows that were not given back."""
    return sum(not table.lease.closed for table in tables)


def mappings() -> int:
    """Count the sealed memory that this process has mapped."""
    return sum("memfd:alluxio-lance" in line for line in Path("/proc/self/maps").read_text().splitlines())


def test_what_does_not_fit_is_streamed(small):
    """By itself, in the orders of the plans of the keys that are drawn; batches that lie in two windows are whole."""
    dataset = opened(small, shuffle=True, seed=7)
    assert dataset.cardinality() == 21
    assert dataset.element_spec == {
        "f64": tf.TensorSpec((None,), "float64"),
        "wide": tf.TensorSpec((None, 512), "float32"),
    }
    first, second = keys(7, 2)
    epoch = [batch["f64"].numpy().astype(int).tolist() for batch in dataset]
    assert [len(batch) for batch in epoch] == [*[1000] * 20, 500]
    assert list(chain(*epoch)) == planned(small, first)
    assert numbers(dataset) == planned(small, second) != planned(small, first)


def test_in_the_order_of_the_table(small):
    """Without shuffle, in each epoch."""
    dataset = opened(small)
    assert numbers(dataset) == numbers(dataset) == list(range(ROWS))


def test_orders_without_a_seed(small):
    """Each dataset has its own, and every row once."""
    one, two = (numbers(opened(small, shuffle=True)) for _ in range(2))
    assert sorted(one) == sorted(two) == list(range(ROWS))
    assert one != two


@pytest.mark.parametrize("shuffle", [False, True])
def test_values_are_those_of_the_version_in_memory(small, shuffle):
    """Columns of every kind have the same types and values as where all is in memory, behind the borders of windows, too."""
    from alluxio.tf import Dataset

    whole = Dataset(URI, 1000, address=small.at, stream=True, shuffle=shuffle, seed=1)
    kinds = [name for name in whole.element_spec if name != "wide"]
    memory = Dataset(URI, ROWS, columns=kinds, address=small.at, stream=False)
    assert {name: whole.element_spec[name] for name in kinds} == memory.element_spec
    (rows,) = memory
    for batch in whole:
        order = tf.cast(batch["f64"], tf.int64)
        for name in kinds:
            expected, found = tf.gather(rows[name], order), batch[name]
            if isinstance(found, tf.RaggedTensor):
                assert (found.row_splits.numpy() == expected.row_splits.numpy()).all()
                found, expected = found.values, expected.values
            np.testing.assert_array_equal(found.numpy(), expected.numpy())


@pytest.mark.parametrize("size", [4096, 5000, 9000, ROWS + 1])
@pytest.mark.parametrize("drop", [False, True])
def test_batches_of_any_size(small, size, drop):
    """Batches that need more than a window, too, have the rows that the whole order has, cut into pieces."""
    dataset = opened(small, batch_size=size, shuffle=True, seed=2, drop_remainder=drop, columns=["f64"], window_units=1)
    order = planned(small, keys(2, 1)[0])
    pieces = [order[start : start + size] for start in range(0, ROWS, size)]
    expected = [piece for piece in pieces if len(piece) == size or not drop]
    assert dataset.cardinality() == len(expected)
    assert dataset.element_spec["f64"].shape.as_list() == [size if drop else None]
    assert [batch["f64"].numpy().astype(int).tolist() for batch in dataset] == expected


@pytest.mark.parametrize("shuffle", [False, True])
def test_single_rows(small, shuffle):
    """Without a batch size each row is an element, of every kind, in the order of the plan."""
    from alluxio.tf import Dataset

    dataset = Dataset(URI, address=small.at, shuffle=shuffle, seed=3)
    assert dataset.cardinality() == ROWS
    assert dataset.element_spec["list"] == tf.TensorSpec((None,), "int32")
    order = planned(small, keys(3, 1)[0], shuffle=shuffle)
    # The first rows of the second window, among them.
    for place, row in dataset.enumerate().skip(UNIT - 2).take(4):
        number = order[int(place)]
        assert row["f64"] == number
        assert row["text"] == f"ä{number % KINDS}".encode()
        assert row["list"].numpy().tolist() == list(range(number % KINDS % 4))
        assert row["wide"].shape == (512,)


def test_windows_of_ones_own(small, taken):
    """A window of all that fits is let go before the next one is taken; one that does not fit says so."""
    dataset = opened(small, shuffle=True, seed=4, window_units=2)
    assert numbers(dataset) == planned(small, keys(4, 1)[0], 2)
    assert len(taken) == 3
    with pytest.raises(tf.errors.ResourceExhaustedError, match=r"NoSpace: .*budget"):
        next(iter(opened(small, window_units=6)))


def test_insisting(small, taken):
    """stream=False says what is missing; what fits is streamed when told, and otherwise not."""
    with pytest.raises(NoSpace, match="budget"):
        opened(small, stream=False)
    order = [int(row) for batch in opened(small, columns=["f64"]) for row in batch["f64"].numpy()]
    assert order == list(range(ROWS))
    assert not taken
    assert [int(row) for batch in opened(small, columns=["f64"], stream=True) for row in batch["f64"].numpy()] == order
    assert taken


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"window_units": 0}, "window_units=0"),
        ({"window_units": 1, "stream": False}, "give only one"),
        ({"fill_null": {"other": 1}}, "fill_null names 'other'"),
        ({"decode": "image"}, "no binary column"),
    ],
)
def test_wrong_calls(small, options, said):
    """What cannot be is said when the dataset is opened, before anything is loaded."""
    with pytest.raises(InvalidArgument, match=said):
        opened(small, **options)


def test_python_runs_once_for_each_window(small, taken):
    """However many batches there are; the pages that a batch shows are its own."""
    batches = list(opened(small, batch_size=16))
    assert len(batches) == 1282
    assert len(taken) == 6
    assert held(taken) == 0
    assert [int(batch["wide"][0, 0]) for batch in batches] == list(range(0, ROWS, 16))


def test_memory_comes_back_when_an_epoch_ends(small, taken):
    """Of the windows, whatever is kept of the batches; the version stays leased by the dataset."""
    before = mappings()
    dataset = opened(small, shuffle=True)
    kept = list(dataset)
    assert held(taken) == 0
    assert mappings() == before
    assert sum(len(batch["f64"]) for batch in kept) == ROWS


def test_memory_comes_back_when_an_epoch_is_broken_off(small, taken):
    """The window that was read goes with its iterator, and others can have all the room."""
    before = mappings()
    dataset = opened(small, shuffle=True, window_units=2)
    for _ in range(3):
        iterator = iter(dataset)
        next(iterator)
        assert held(taken) == 1
        del iterator
        gc.collect()
        assert held(taken) == 0
        assert mappings() == before


def test_iterators_side_by_side(small, taken):
    """Two iterators of one dataset, in one epoch or in different ones, each have windows of their own."""
    dataset = opened(small, shuffle=True, seed=5)
    orders = [planned(small, key) for key in keys(5, 2)]
    one = iter(dataset)
    found: list[list[int]] = [[], []]
    found[0] += numbers([next(one) for _ in range(7)])
    for batches in zip(chain(one), dataset, strict=False):
        for place, batch in enumerate(batches):
            found[place] += numbers([batch])
    del one, batches, batch
    gc.collect()
    assert found[0] == orders[0]
    assert found[1] == orders[1][: len(found[1])]
    assert held(taken) == 0
    ordered = opened(small, columns=["f64"], stream=True)
    for pair in zip(ordered, ordered, strict=True):
        assert (pair[0]["f64"].numpy() == pair[1]["f64"].numpy()).all()


def test_a_function_keeps_the_version(small):
    """A tf.function that reads it may be all that is left of a dataset."""

    def reading(dataset: Any) -> Any:
        return tf.function(
            lambda: dataset.reduce(tf.constant(0, tf.float64), lambda found, batch: found + batch["f64"][0])
        )

    total = reading(opened(small, columns=["f64"], stream=True, batch_size=1))
    assert total() == ROWS * (ROWS - 1) / 2


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("batches", [3, 13, 30])
def test_a_saved_iterator_goes_on_where_it_was(small, tmp_path, taken, shuffle, batches):
    """In a dataset that was opened anew, also behind a window's border, and into the next epochs with a seed."""

    def begun() -> Any:
        return iter(
            opened(small, batch_size=700, columns=["f64"], stream=True, shuffle=shuffle, seed=6, window_units=1).repeat(
                3
            )
        )

    iterator = begun()
    for _ in range(batches):
        next(iterator)
    saved = tf.train.Checkpoint(iterator=iterator).save(str(tmp_path / "at"))
    rest = [batch["f64"].numpy().tolist() for batch in iterator]
    again = begun()
    del taken[:]
    tf.train.Checkpoint(iterator=again).restore(saved)
    assert [batch["f64"].numpy().tolist() for batch in again] == rest
    assert len(rest) == 90 - batches
    # The batches are what is saved, and not the windows that they are made from.
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 700 * 8 * 40


def test_shards_are_disjoint_and_complete(small):
    """Processes with the same seed read the same windows, and share their batches."""
    shards = [opened(small, shuffle=True, seed=8).shard(3, place) for place in range(3)]
    found = [numbers(shard) for shard in shards]
    assert [len(rows) for rows in found] == [7000, 7000, 6500]
    assert sorted(chain(*found)) == list(range(ROWS))


def test_a_strategy_distributes_it(small):
    """``experimental_distribute_dataset`` takes it, and every row comes once."""
    strategy = tf.distribute.MirroredStrategy(["/cpu:0"])
    dataset = strategy.experimental_distribute_dataset(opened(small, shuffle=True, seed=1))
    assert sorted(numbers(dataset)) == list(range(ROWS))


def test_keras_fits(small):
    """A model learns from it, knows its steps, and reads another order in the second epoch."""
    seen: list[float] = []
    dataset = opened(small, batch_size=256, shuffle=True, seed=0)

    def pair(batch: Any) -> Any:
        tf.py_function(lambda number: seen.append(float(number)), [batch["f64"][0]], [])
        return batch["wide"] / ROWS, batch["f64"] / ROWS

    model = tf.keras.Sequential([tf.keras.layers.Input((512,)), tf.keras.layers.Dense(1)])
    model.compile(optimizer=tf.keras.optimizers.SGD(1e-3), loss="mse")
    history = model.fit(dataset.map(pair), epochs=2, verbose=0).history["loss"]
    assert history[1] < history[0]
    assert len(seen) == 2 * 81
    assert seen[:81] != seen[81:]
