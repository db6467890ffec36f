"""Chosen rows alone as a tf.data.Dataset, in memory and in windows: orders, batches, values, saved iterators, what is refused."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.client.epochs.test_plan import documented
from tests.client.test_streaming import eventually, statistics
from tests.conftest import Node

from alluxio_lance.client.epochs.plan import EpochPlan
from alluxio_lance.client.streamed import StreamedVersion
from alluxio_lance.errors import InvalidArgument

tf = pytest.importorskip("tensorflow")

from tests.frameworks.tf.streaming import KINDS, ROWS, UNIT, URI, keys, small_node  # noqa: E402 - imports TensorFlow
from tests.frameworks.tf.test_streamed_columns import PICTURES, photos  # noqa: E402 - imports TensorFlow

pytestmark = [
    pytest.mark.tf,
    # The watchdog: a wait for memory that nobody frees fails the test.
    pytest.mark.timeout(300),
]

FILTER = "text LIKE '%3' AND (f64 < 7000 OR f64 >= 17000)"
"""By a column that is opened in few tests. Of the units 2 and 3 it chooses nothing."""
CHOSEN = [row for row in range(ROWS) if row % 10 == 3 and (row < 7000 or row >= 17000)]
BOTH = pytest.mark.parametrize("stream", [False, True], ids=["memory", "windows"])


@pytest.fixture(scope="module")
def small() -> Iterator[Node]:
    """A sidecar whose budget is less than half of the data; a column of numbers fits."""
    with small_node() as node:
        yield node


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """An error that a test expects keeps the iterator that raised it, and so a window, until it is collected."""
    yield
    gc.collect()


def opened(node: Node, filter: str | None = FILTER, **options: Any) -> Any:
    """Open the numbers of the rows; streamed, in windows of one unit."""
    from alluxio.tf import Dataset

    units = {"window_units": 1} if options.get("stream") else {}
    return Dataset(URI, **{"address": node.at, "columns": ["f64"], "filter": filter, **units, **options})


def numbers(dataset: Any) -> list[int]:
    """Read an epoch of rows or batches."""
    return [int(row) for element in dataset for row in np.atleast_1d(element["f64"].numpy())]


def planned(node: Node, key: int) -> list[int]:
    """Compute the order of an epoch in plain Python, as docs/streaming.md has it."""
    with StreamedVersion.open(URI, ["f64"], node.at) as stream:
        plan = EpochPlan(stream.layout.content_hash, ROWS, stream.unit_rows, 1, shuffle=True, seed=0, epoch=key)
    return documented(plan, CHOSEN)[1]


# -- the order -----------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("size", [None, 7])
def test_each_chosen_row_comes_once(small, stream, shuffle, size):
    """In each epoch, in as many elements as are announced; without shuffle in the order of the table."""
    dataset = opened(small, stream=stream, shuffle=shuffle, batch_size=size)
    first, second = list(dataset), numbers(dataset)
    assert len(first) == dataset.cardinality() == -(-len(CHOSEN) // (size or 1))
    assert sorted(numbers(first)) == sorted(second) == CHOSEN
    if shuffle:
        assert CHOSEN != numbers(first) != second != CHOSEN
    else:
        assert numbers(first) == second == CHOSEN


@BOTH
def test_a_seed_repeats_the_orders(small, stream):
    """Those of all epochs, in datasets that are opened anew."""
    one, two = (opened(small, stream=stream, shuffle=True, seed=7, batch_size=64) for _ in range(2))
    orders = [numbers(one), numbers(one)]
    assert [numbers(two), numbers(two)] == orders
    assert numbers(opened(small, stream=stream, shuffle=True, seed=8, batch_size=64)) not in orders


@pytest.mark.parametrize("size", [None, 64, 500])
@pytest.mark.parametrize("drop", [False, True])
def test_windows_have_the_order_of_the_plan(small, size, drop):
    """Of the chosen rows alone; batches that lie in several windows are whole, those larger than a window, too."""
    dataset = opened(small, stream=True, shuffle=True, seed=7, batch_size=size, drop_remainder=drop)
    for key in keys(7, 2):
        order = planned(small, key)
        rows = size or 1
        pieces = [order[start : start + rows] for start in range(0, len(order), rows)]
        expected = [piece for piece in pieces if len(piece) == rows or not drop]
        assert [numbers([element]) for element in dataset] == expected
        assert dataset.cardinality() == len(expected)


def test_rows_are_shuffled_over_the_version_in_memory(small):
    """Neighbours among the chosen rows do not stay neighbours, and come from anywhere."""
    order = numbers(opened(small, stream=False, shuffle=True, seed=1, batch_size=100))
    assert sorted(order) == CHOSEN
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 0.2
    assert min(order[:100]) < 7000
    assert max(order[:100]) >= 17000


@BOTH
@pytest.mark.parametrize("shuffle", [False, True])
def test_a_filter_that_chooses_all_changes_nothing(small, stream, shuffle):
    """The order is that without one."""
    everything, plain = (
        opened(small, filter, stream=stream, shuffle=shuffle, seed=3, batch_size=1000) for filter in ("true", None)
    )
    assert numbers(everything) == numbers(plain)


@BOTH
def test_a_last_batch_that_is_left_out(small, stream):
    """Of chosen rows, which makes the dimension static."""
    dataset = opened(small, stream=stream, shuffle=True, batch_size=100, drop_remainder=True)
    assert dataset.cardinality() == len(CHOSEN) // 100
    assert dataset.element_spec == {"f64": tf.TensorSpec((100,), "float64")}
    assert [len(batch["f64"]) for batch in dataset] == [100] * (len(CHOSEN) // 100)


@BOTH
def test_shards_are_disjoint_and_complete(small, stream):
    """Processes with the same seed share the batches of chosen rows."""
    shards = [
        numbers(opened(small, stream=stream, shuffle=True, seed=8, batch_size=7).shard(3, place)) for place in range(3)
    ]
    assert [len(rows) for rows in shards] == [350] * 3
    assert sorted(chain(*shards)) == CHOSEN


@BOTH
def test_a_saved_iterator_goes_on_where_it_was(small, stream, tmp_path):
    """In the middle of an epoch, in a dataset that was opened anew, and into the next epoch."""

    def begun() -> Any:
        return iter(opened(small, stream=stream, shuffle=True, seed=6, batch_size=64).repeat(2))

    iterator = begun()
    # In windows: behind the border of the first one, which has some 400 rows.
    taken = numbers([next(iterator) for _ in range(8)])
    saved = tf.train.Checkpoint(iterator=iterator).save(str(tmp_path / "at"))
    rest = numbers(iterator)
    again = begun()
    tf.train.Checkpoint(iterator=again).restore(saved)
    assert numbers(again) == rest
    assert sorted(taken + rest) == sorted(CHOSEN * 2)


# -- what is loaded, and what is read of it ------------------------------------------------------------------------


def test_units_without_chosen_rows_are_not_loaded(small, monkeypatch):
    """They are in no window that is asked for, nor asked for ahead."""
    asked: set[int] = set()
    window, ahead = StreamedVersion.window, StreamedVersion.ahead

    def spied_window(self: StreamedVersion, units: list[int], **options: Any) -> Any:
        asked.update(units)
        return window(self, units, **options)

    def spied_ahead(self: StreamedVersion, units: list[int]) -> None:
        asked.update(units)
        ahead(self, units)

    monkeypatch.setattr(StreamedVersion, "window", spied_window)
    monkeypatch.setattr(StreamedVersion, "ahead", spied_ahead)
    dataset = opened(small, columns=["f64", "wide"], shuffle=True, batch_size=64)
    assert not asked, "nothing is loaded before it is read"
    for batch in dataset:
        assert (batch["wide"].numpy() == batch["f64"].numpy()[:, None]).all()
    assert asked == {row // UNIT for row in CHOSEN} == {0, 1, 4, 5}


@BOTH
@pytest.mark.parametrize("shuffle", [False, True])
def test_values_of_every_kind(small, stream, shuffle):
    """Columns of every kind have the types and values of the same rows without a filter, and rows by themselves, too."""
    from alluxio.tf import Dataset

    kinds = small_kinds(small)
    (rows,) = Dataset(URI, ROWS, columns=kinds, address=small.at, stream=False)
    dataset = opened(small, stream=stream, shuffle=shuffle, columns=kinds, batch_size=100)
    assert {name: spec.dtype for name, spec in dataset.element_spec.items()} == {
        name: rows[name].dtype for name in kinds
    }
    seen: list[int] = []
    for batch in dataset:
        order = tf.cast(batch["f64"], tf.int64)
        seen += order.numpy().tolist()
        for name in kinds:
            expected, found = tf.gather(rows[name], order), batch[name]
            if isinstance(found, tf.RaggedTensor):
                assert (found.row_splits.numpy() == expected.row_splits.numpy()).all()
                found, expected = found.values, expected.values
            np.testing.assert_array_equal(found.numpy(), expected.numpy())
    assert sorted(seen) == CHOSEN
    for row in opened(small, stream=stream, shuffle=shuffle, columns=kinds).take(3):
        number = int(row["f64"])
        assert row["text"] == f"ä{number % KINDS}".encode()
        assert row["list"].numpy().tolist() == list(range(number % KINDS % 4))


def small_kinds(node: Node) -> list[str]:
    """Name the columns that fit into memory."""
    with StreamedVersion.open(URI, address=node.at) as stream:
        return [column.name for column in stream.layout.columns if column.name != "wide"]


@BOTH
def test_nulls_that_are_not_chosen_need_no_value(small, stream):
    """Only those in the rows that are read do."""
    from alluxio.tf import Dataset

    number = np.arange(100)
    some = pa.array(number, mask=number % 2 == 1)
    texts = pa.array([None if row % 2 else str(row) for row in range(100)])
    small.register(f"odd{stream}", pa.table({"number": number, "some": some, "text": texts}))

    def reading(filter: str) -> Any:
        return Dataset(
            f"alluxio://datasets/odd{stream}", 7, address=small.at, stream=stream, filter=filter, shuffle=True
        )

    batches = list(reading("some IS NOT NULL AND number > 50"))
    found = [int(row) for batch in batches for row in batch["some"]]
    assert sorted(found) == list(range(52, 100, 2))
    assert [text for batch in batches for text in batch["text"].numpy()] == [b"%d" % row for row in found]
    with pytest.raises((InvalidArgument, tf.errors.InvalidArgumentError), match=r"column 'some' .* has nulls"):
        list(reading("number > 50"))


@BOTH
def test_pictures(small, stream):
    """Those of chosen rows are decoded; one that is none is said with its row of the version, if it is read."""
    from alluxio.tf import Dataset

    name = f"photos{stream}"
    number = np.arange(1300)
    small.register(name, pa.table({"photo": photos(wrong=900), "number": number}))

    def reading(filter: str) -> Any:
        uri = f"alluxio://datasets/{name}"
        return Dataset(uri, 16, shuffle=True, address=small.at, stream=stream, filter=filter, decode="image")

    seen: list[int] = []
    for batch in reading("number >= 800 AND number <> 900"):
        rows = batch["number"].numpy()
        assert (batch["photo"].numpy() == PICTURES[rows % 7]).all()
        seen += rows.tolist()
    assert sorted(seen) == [*range(800, 900), *range(901, 1300)]
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[row\] \[900\] \[of column .*photo.* no whole"):
        list(reading("number >= 895"))


# -- what may be chosen --------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("size", [None, 7])
def test_nothing_chosen(small, stream, shuffle, size):
    """An empty dataset of the same types, epoch after epoch."""
    dataset = opened(small, "f64 < 0", stream=stream, shuffle=shuffle, batch_size=size)
    assert dataset.cardinality() == 0
    assert dataset.element_spec == opened(small, stream=stream, shuffle=shuffle, batch_size=size).element_spec
    assert [list(dataset), list(dataset), list(dataset.repeat(2))] == [[], [], []]


@BOTH
@pytest.mark.parametrize(
    ("filter", "message"),
    [("nope = 1", "nope, which is no column"), ("f64 = 'x'", "could not"), (3, "expression in SQL")],
)
def test_a_wrong_filter_is_said_and_leaves_no_lease(small, stream, filter, message):
    """When the dataset is made, and not when it is read."""
    gc.collect()
    eventually(lambda: statistics(small).leases == ())
    with pytest.raises(InvalidArgument, match=message):
        opened(small, filter, stream=stream)
    eventually(lambda: statistics(small).leases == ())


@BOTH
def test_the_lease_ends_with_the_dataset(small, stream):
    """The numbers of its chosen rows, which are read meanwhile, keep it no longer."""
    gc.collect()
    eventually(lambda: statistics(small).leases == ())
    dataset = opened(small, stream=stream, shuffle=True, batch_size=64)
    assert sorted(numbers(dataset)) == CHOSEN
    assert len(statistics(small).leases) == 1
    del dataset
    gc.collect()
    eventually(lambda: statistics(small).leases == ())
