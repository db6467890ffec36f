"""The map-style dataset of a version that does not fit into the sidecar's memory: everything is as if it did."""

from __future__ import annotations

import copy
import os
import pickle
import signal
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from tests.client.test_streaming import eventually, statistics
from tests.conftest import Node, _running
from tests.frameworks.conftest import make_every_kind, with_nulls
from tests.frameworks.torch.test_decoding import encoded
from torch.utils.data import DataLoader

from alluxio.torch import Dataset, View, concat, mix
from alluxio_lance.client.streamed import StreamedVersion
from alluxio_lance.errors import Conflict, Corrupt, InvalidArgument, NoSpace, NotFound, Unavailable

pytestmark = [
    pytest.mark.torch,
    # The watchdog: a wait for memory that nobody frees fails the test.
    pytest.mark.timeout(200),
    # Other rooms' tests load Lance into this process; nothing here forks one that uses it.
    pytest.mark.filterwarnings("ignore:lance is not fork-safe"),
]

ROWS = 20_500
UNIT = 4096
"""Rows of some 2 KiB: six units of almost 9 MiB, of which the last one is short."""
URI = "alluxio://datasets/ondemand"
SMALL = ("--memory-budget", "38MiB", "--disk-budget", "0")
"""Windows of two units."""


def large(rows: int = ROWS, offset: int = 0) -> pa.Table:
    """Make a table with a column of every kind, one that makes it large, and one that tells the row."""
    kinds = make_every_kind(9000)
    number = np.arange(offset, offset + rows)
    wide = pa.FixedShapeTensorArray.from_numpy_ndarray(np.repeat(number.astype(np.float32), 512).reshape(rows, 1, 512))
    found = pa.concat_tables([kinds, kinds, kinds]).slice(0, rows).combine_chunks()
    found = found.append_column("wide", wide).append_column("row", pa.array(number))
    return found.append_column("part", pa.array([{"at": n} for n in number.tolist()]))


@pytest.fixture(scope="module")
def small() -> Iterator[Node]:
    """A sidecar whose budget is smaller than the data."""
    with _running(*SMALL) as node:
        node.register("ondemand", large())
        yield node


@pytest.fixture(scope="module")
def whole(node: Node) -> Iterator[Dataset]:
    """The same version in memory."""
    node.register("ondemand", large())
    with Dataset(URI, address=node.at, stream=False) as dataset:
        yield dataset


@pytest.fixture
def dataset(small: Node) -> Iterator[Dataset]:
    """The version on demand; at the end nothing is held."""
    with Dataset(URI, address=small.at, stream=True) as found:
        yield found
    eventually(lambda: statistics(small).leases == ())
    eventually(lambda: not any(version.leases for version in statistics(small).versions))


def same(one: Any, other: Any) -> bool:
    """Compare what two datasets give."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def rows_of(batches: Any) -> list[int]:
    """Put the rows' numbers together; each row must be the one that its number says."""
    found: list[int] = []
    for batch in batches:
        assert (batch["wide"][:, 0, 7] == batch["row"]).all()
        assert batch["text"] == [f"ä{row % 9000}" for row in batch["row"].tolist()]
        found += batch["row"].tolist()
    return found


# -- opening -----------------------------------------------------------------------------------------------------------


def test_a_warning_says_what_it_costs(small):
    """Once, where the dataset is made: how much too large, what a row loads, and what to use instead."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with Dataset(URI, address=small.at) as dataset:
            assert dataset.streamed
            assert rows_of([dataset.batch([ROWS - 1, 0]), dataset.batch([3])]) == [ROWS - 1, 0, 3]
            assert not dataset.refresh()
            assert rows_of([dataset.batch([4])]) == [4]
    # Others may be about what earlier tests left to be collected.
    (said,) = (one for one in caught if one.category is UserWarning)
    assert said.filename == __file__
    for part in (
        r"datasets/ondemand",
        "is 1.1",
        "times as large as the memory budget",
        "4096 rows, 8.",
        "IterableDataset",
    ):
        assert part in str(said.message)


def test_a_warning_that_is_an_error_leaves_nothing_open(small):
    """Who makes errors of warnings gets no dataset, and has none to close."""
    with pytest.raises(UserWarning, match=r"alluxio\.torch\.IterableDataset"):
        Dataset(URI, address=small.at)
    eventually(lambda: statistics(small).leases == ())


def test_insisting(small):
    """stream=False refuses what does not fit; True reads on demand what would fit, and warns of nothing."""
    with pytest.raises(NoSpace, match="IterableDataset") as caught:
        Dataset(URI, address=small.at, stream=False)
    assert caught.value.details["budget"] == 38 << 20
    with Dataset(URI, ["row", "text"], address=small.at) as dataset:
        assert not dataset.streamed
    with Dataset(URI, ["text", "row"], address=small.at, stream=True) as dataset:
        assert dataset.streamed
        assert dataset.columns == ["text", "row"]
        assert dataset[-1] == {"text": f"ä{(ROWS - 1) % 9000}", "row": torch.tensor(ROWS - 1)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fill_null": {"i64": "x"}}, "does not fit int64"),
        ({"fill_null": {"nothing": 1}}, "none of the columns"),
        ({"filter": "nothing = 1"}, "nothing"),
        ({"decode": {"text": "image"}}, "text"),
    ],
)
def test_what_does_not_fit_the_columns_is_said_at_once(small, options, message):
    """Before a row is read, and nothing stays open."""
    with pytest.raises(InvalidArgument, match=message):
        Dataset(URI, address=small.at, stream=True, **options)
    eventually(lambda: statistics(small).leases == ())


# -- rows --------------------------------------------------------------------------------------------------------------


def test_facts(dataset, whole):
    """What it is does not depend on where it is."""
    for name in ("num_rows", "columns", "schema", "semver", "version", "uri"):
        assert getattr(dataset, name) == getattr(whole, name)
    assert len(dataset) == ROWS
    assert dataset.statistics().gathers == 0


def test_samples(dataset, whole):
    """Each sample is that of the version in memory, by any index; what there is not is an IndexError."""
    for row in (0, 5, UNIT - 1, UNIT, ROWS - 1, -1, -ROWS, 3 * UNIT + 7, 2):
        assert same(dataset[row], whole[row])
    for row in (ROWS, -ROWS - 1):
        with pytest.raises(IndexError, match=f"out of range for {ROWS} rows"):
            dataset[row]
    with pytest.raises(IndexError):
        dataset.batch([0, ROWS])


@pytest.mark.parametrize(
    "rows",
    [
        range(10),
        range(UNIT - 5, UNIT + 5),
        range(0),
        [7, 3, 7, -1, 7],
        [5 * UNIT, 0, 3 * UNIT, 1, -1, UNIT, 2 * UNIT, 0],
        np.random.default_rng(1).integers(0, ROWS, 300),
    ],
    ids=["one unit", "two units", "none", "twice", "more units than fit", "random"],
)
def test_batches(dataset, whole, rows):
    """A batch is that of the version in memory: in the order asked for, every kind of column, from any number of windows."""
    assert same(dataset.batch(rows), whole.batch(rows))


def test_batches_may_be_written_into(dataset):
    """They are nobody else's, whether they are views or copies."""
    for rows in (range(5), [5 * UNIT, 3, 3 * UNIT]):
        batch = dataset.batch(rows)
        kept = batch["wide"].clone()
        batch["wide"].zero_()
        assert torch.equal(dataset.batch(rows)["wide"], kept)


@pytest.mark.parametrize("kind", ["in memory", "on demand", "view of both"])
def test_a_batch_is_written_over_another_one(dataset, whole, kind):
    """Into its tensors, or those of somebody else that are alike; columns that are no tensors are new lists."""
    found = {"in memory": whole, "on demand": dataset, "view of both": concat([whole, dataset])}[kind]
    for first, second in (([3, 1, UNIT], [2 * UNIT + 1, 0, 0]), (range(4), range(7, 11)), ([], [])):
        kept = found.batch(first)
        places = {name: value.data_ptr() for name, value in kept.items() if isinstance(value, torch.Tensor)}
        lists = {name: value for name, value in kept.items() if isinstance(value, list)}
        again = found.batch(second, out=kept)
        assert same(again, found.batch(second))
        for name, value in again.items():
            if isinstance(value, torch.Tensor) and name in {"wide", "row", "bf16"}:
                assert value is kept[name]
                assert value.data_ptr() == places[name]
            elif name in lists:
                assert value is not lists[name]
    for chosen in (np.array([9, 4, UNIT]), np.array([4, 5, 9])):
        assert same(found.batch(chosen, out=found.batch([0, 1, 2])), found.batch(chosen))
    mine = found.batch([1, 2]) | {"wide": torch.empty(2, 1, 512, requires_grad=True)}
    assert found.batch([5, 4], out=mine)["wide"] is mine["wide"]
    assert torch.equal(mine["wide"][:, 0, 0], torch.tensor([5.0, 4.0]))
    with pytest.raises(IndexError):
        found.batch([len(found)], out=mine)


def test_a_batch_of_plain_columns_is_gathered_over_another_one(node, whole):
    """The short way, of a dataset that has nothing but rows of a fixed width without nulls."""
    with Dataset(whole.uri, ["wide", "row"], address=node.at) as plain:
        kept = plain.batch(np.array([3, 2, 1]))
        again = plain.batch(np.array([9, 4, UNIT]), out=kept)
        assert all(again[name] is kept[name] for name in ("wide", "row"))
        assert again["row"].tolist() == again["wide"][:, 0, 5].tolist() == [9, 4, UNIT]
        with pytest.raises(IndexError):
            plain.batch(np.array([9, 4, ROWS]), out=kept)
        with pytest.raises(InvalidArgument, match="no tensor for column 'row'"):
            plain.batch(np.array([9, 4, 1]), out={"wide": kept["wide"]})


@pytest.mark.parametrize("kind", ["in memory", "on demand", "view of both"])
@pytest.mark.parametrize(
    "wrong",
    [
        torch.empty(3, 1, 512),
        torch.empty(2, 1, 512, dtype=torch.float64),
        torch.empty(2, 1, 1024)[:, :, ::2],
        torch.empty(2, 1, 512, device="meta"),
        np.empty((2, 1, 512), np.float32),
        None,
    ],
    ids=["rows", "type", "strides", "device", "no tensor", "nothing"],
)
def test_what_a_batch_cannot_be_written_over(dataset, whole, kind, wrong):
    """The sentence says of which column, what it is and what it should be."""
    found = {"in memory": whole, "on demand": dataset, "view of both": concat([whole, dataset])}[kind]
    out = found.batch([1, 2]) | {"wide": wrong}
    with pytest.raises(InvalidArgument, match=r"'wide'.* give what an earlier batch of 2 rows returned"):
        found.batch([1, 2], out=out)


def test_what_needs_everything_is_refused(dataset):
    """Whole columns are not in memory: the sentence names the ways out."""
    for read in (dataset.tensor, dataset.numpy, dataset.valid):
        with pytest.raises(NoSpace, match=r"columns=\[…\].*MEMORY_BUDGET.*batch\(range.*IterableDataset"):
            read("wide")
        with pytest.raises(NotFound, match="no column 'nothing'"):
            read("nothing")
    assert dataset.batch(range(100))["wide"].shape == (100, 1, 512)


def test_nulls(small, nulls, node):
    """They are as in memory, with fill_null and without it."""
    small.register("nulls", with_nulls())
    fill = {"i": 7, "t": True, "text": "none", "list": [9], "when": 0}
    for options in ({}, {"fill_null": fill}):
        with (
            Dataset("alluxio://datasets/nulls", address=small.at, stream=True, **options) as dataset,
            Dataset(nulls, address=node.at, **options) as other,
        ):
            for row in range(3):
                assert str(dataset[row]) == str(other[row])
            if options:
                assert str(dataset.batch([2, 1, 0])) == str(other.batch([2, 1, 0]))
            else:
                with pytest.raises(InvalidArgument, match="fill_null"):
                    dataset.batch([2, 1, 0])


def test_lists_with_null_items_in_a_late_unit(small):
    """The column is laid out otherwise from that unit on; a batch of both has all rows, each as its window gives it."""
    number = np.arange(ROWS)
    pairs = [[n, n + 1] for n in number.tolist()]
    pairs[ROWS - 3] = [None, 5]
    wide = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(ROWS * 2048, np.uint8)), 2048)
    small.register("gaps", pa.table({"pair": pa.array(pairs, pa.list_(pa.int64(), 2)), "wide": wide, "row": number}))
    with Dataset("alluxio://datasets/gaps", address=small.at, stream=True) as dataset:
        rows = [2 * UNIT, ROWS - 3, 0, 4 * UNIT]
        batch = dataset.batch(rows)
        assert batch["row"].tolist() == rows
        assert [None if pair is None else list(map(as_number, pair)) for pair in batch["pair"]] == [
            pairs[n] for n in rows
        ]


def as_number(value: Any) -> int | None:
    """Make a number of a tensor."""
    return None if value is None else int(value)


def test_no_rows(small):
    """A version without rows has empty batches, and no row."""
    small.register("empty", large(1).slice(0, 0))
    with Dataset("alluxio://datasets/empty", address=small.at, stream=True) as dataset:
        assert len(dataset) == 0
        assert dataset.batch([])["wide"].shape == (0, 1, 512)
        assert list(dataset.take(0).batch([])) == dataset.columns
        with pytest.raises(IndexError, match="out of range for 0 rows"):
            dataset[0]


def test_pictures(small):
    """Decoded ones come as in memory; one that cannot be decoded is named by its number in the version."""
    photos = [encoded(np.zeros((4, 5, 3), np.uint8))] * ROWS
    photos[3 * UNIT + 2] = b"no picture"
    wide = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(ROWS * 2048, np.uint8)), 2048)
    small.register("photos", pa.table({"photo": pa.array(photos, pa.binary()), "wide": wide}))
    with Dataset("alluxio://datasets/photos", address=small.at, stream=True, decode={"photo": "image"}) as dataset:
        assert dataset[5]["photo"].shape == (3, 4, 5)
        assert dataset.batch([5 * UNIT, 1, 2 * UNIT])["photo"].shape == (3, 3, 4, 5)
        for read in (lambda: dataset[3 * UNIT + 2], lambda: dataset.batch([0, 1, 3 * UNIT + 2])):
            with pytest.raises(Corrupt, match=f"row {3 * UNIT + 2} of column 'photo'") as caught:
                read()
            assert caught.value.details["row"] == 3 * UNIT + 2


# -- the loader --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shuffle", [False, True])
def test_an_epoch_without_workers(dataset, shuffle):
    """Every row once, in the sampler's order."""
    loader = DataLoader(dataset, batch_size=700, shuffle=shuffle, generator=torch.Generator().manual_seed(3))
    found = rows_of(loader)
    assert sorted(found) == list(range(ROWS))
    assert (found == list(range(ROWS))) is not shuffle


def double(sample: dict[str, Any]) -> int:
    """Transform a sample."""
    return int(sample["row"]) * 2


def rows_only(batch: dict[str, Any]) -> dict[str, Any]:
    """Transform a batch."""
    return {"row": batch["row"] + 1}


def gathered(rows: Any) -> list[int]:
    """Collate as a user would who knows only of samples."""
    return [int(row["row"]) for row in rows]


@pytest.mark.parametrize("start_method", ["fork", "spawn", "forkserver"])
def test_an_epoch_with_workers(dataset, small, start_method):
    """Every row once, from more workers than windows fit; they end with nothing held."""
    rows_of([dataset.batch([0, UNIT])])
    options = {"num_workers": 2, "multiprocessing_context": start_method, "timeout": 100}
    loader = DataLoader(dataset, batch_size=1500, shuffle=True, **options)
    assert sorted(rows_of(loader)) == list(range(ROWS))
    assert rows_of(DataLoader(dataset, batch_size=3000, **options)) == list(range(ROWS))
    del loader
    eventually(lambda: [lease.connections <= 3 for lease in statistics(small).leases] == [True])


def test_transforms_in_workers(dataset):
    """Of samples and of batches; a collate function of the user's own sees samples."""
    options = {"num_workers": 2, "multiprocessing_context": "fork", "timeout": 100}
    dataset.transform = double
    rows = [5 * UNIT, 2, 3 * UNIT, 7, 0, UNIT]
    assert dataset.__getitems__(rows) == [row * 2 for row in rows]
    assert [int(n) for batch in DataLoader(dataset, sampler=rows, batch_size=4, **options) for n in batch] == [
        row * 2 for row in rows
    ]
    dataset.transform, dataset.batch_transform = None, rows_only
    loader = DataLoader(dataset, sampler=rows, batch_size=4, **options)
    assert [n for batch in loader for n in batch["row"].tolist()] == [row + 1 for row in rows]
    dataset.batch_transform = None
    loader = DataLoader(dataset, sampler=rows, batch_size=4, collate_fn=gathered, **options)
    assert [n for batch in loader for n in batch] == rows


def test_samples_of_a_batch_are_asked_for_together(dataset, monkeypatch):
    """Whoever makes the batch of them: as few windows as fit, not one for each row."""
    asked: list[tuple[int, ...]] = []
    window = StreamedVersion.window
    monkeypatch.setattr(
        StreamedVersion, "window", lambda self, units: asked.append(tuple(units)) or window(self, units)
    )
    rows = [0, UNIT, 2 * UNIT, 3 * UNIT] * 5
    assert [int(row["row"]) for row in dataset.__getitems__(rows)] == rows
    assert asked == [(0, 1), (2, 3)]


def end(iterator: Any) -> None:
    """Kill the worker, and read on."""
    os.kill(iterator._workers[0].pid, signal.SIGKILL)
    list(iterator)


def test_a_killed_worker_holds_nothing(small, dataset):
    """What it held is free, and the dataset reads on in this process."""
    iterator = iter(DataLoader(dataset, batch_size=10, num_workers=1, multiprocessing_context="fork", timeout=100))
    assert rows_of([next(iterator)]) == list(range(10))
    with pytest.raises(RuntimeError, match=r"killed by signal|exited unexpectedly"):
        end(iterator)
    del iterator
    eventually(lambda: not any(version.leases for version in statistics(small).versions))
    assert rows_of([dataset.batch([ROWS - 1])]) == [ROWS - 1]


# -- filters and views -------------------------------------------------------------------------------------------------


def test_a_filter(small):
    """The dataset has only the rows that it chooses, from whichever units."""
    chosen = [row for row in range(ROWS) if row % 1000 == 3 or row > ROWS - 5]
    expression = f"row % 1000 = 3 OR row > {ROWS - 5}"
    with Dataset(URI, address=small.at, stream=True, filter=expression) as dataset:
        assert len(dataset) == len(chosen)
        assert rows_of(DataLoader(dataset, batch_size=7)) == chosen
        assert int(dataset[-2]["row"]) == chosen[-2]
        with pytest.raises(IndexError):
            dataset[len(chosen)]


def test_views(dataset, whole):
    """Taken, filtered and split ones read as those of the version in memory."""
    rows = [ROWS - 1, 5, 3 * UNIT, 5]
    for made in (
        lambda found: found.take(rows),
        lambda found: found.filter("row % 777 = 5").take(20),
        lambda found: found.split({"some": 0.002, "most": 0.9}, seed=4)["some"],
        lambda found: found.split({"some": 0.002}, seed=4, key="text")["some"],
        lambda found: found.split({"some": 0.002}, seed=4, key="row")["some"].filter("flag"),
    ):
        view, other = made(dataset), made(whole)
        assert isinstance(view, View)
        assert len(view) == len(other)
        everything = list(range(len(view)))
        assert same(view.batch(everything), other.batch(everything))
        assert same(view[-1], other[-1])
        with pytest.raises(NoSpace, match="on demand"):
            view.tensor("wide")
        with pytest.raises(NoSpace, match="on demand"):
            view.valid("text")


def test_a_view_with_a_transform(dataset):
    """Samples are read together and transformed one by one, in the order asked for."""
    view = dataset.take([4 * UNIT, 2, 9, 2 * UNIT])
    view.transform = double
    assert view.__getitems__([0, 1, 3, 2, -1]) == [8 * UNIT, 4, 4 * UNIT, 18, 4 * UNIT]
    assert view[1] == 4


def test_a_key_that_does_not_fit_either(small, node):
    """A split by a column that is larger than the budget reads it unit by unit: the parts are the same."""
    number = np.arange(ROWS)
    keys = pa.table({"key": [f"{n:02048}" for n in number.tolist()], "row": number})
    uri, other = (each.register("ondemand-keys", keys).uri for each in (small, node))
    with Dataset(uri, ["row"], address=small.at) as dataset, Dataset(other, ["row"], address=node.at) as whole:
        parts, wanted = (each.split({"a": 0.3, "b": 0.6}, seed=1, key="key") for each in (dataset, whole))
        for name, part in parts.items():
            assert torch.equal(part.tensor("row"), wanted[name].tensor("row"))
        backwards = dataset.take(range(ROWS - 1, 0, -50)).split({"a": 0.3}, seed=1, key="key")["a"].tensor("row")
        assert set(backwards.tolist()) <= set(parts["a"].tensor("row").tolist())


def test_datasets_put_together(dataset, small, whole):
    """Of two on demand, and of one beside one in memory: a batch holds the windows of one after the other."""
    with Dataset(URI, address=small.at, stream=True) as second:
        both, wanted = concat([dataset, second]), concat([whole, whole])
        rows = [ROWS + 3, 3, ROWS + 5 * UNIT, 4 * UNIT, 2 * ROWS - 1, 1]
        assert same(both.batch(rows), wanted.batch(rows))
        assert same(both[ROWS + 1], wanted[ROWS + 1])
        beside = concat([whole.take(100), dataset.take(100)])
        assert same(beside.batch([199, 0, 100, 99]), wanted.batch([99, 0, 0, 99]))
        mixed = mix([dataset.take(40), second.take([5 * UNIT, 7])], [2, 1], seed=3)
        assert max(rows_of(DataLoader(mixed, batch_size=2))) == 5 * UNIT
        both.transform = double
        assert both.__getitems__(rows) == [row % ROWS * 2 for row in rows]


# -- copies, versions and the end --------------------------------------------------------------------------------------


def test_copies(dataset):
    """Pickled and copied ones read the same, and hold the version when the first one is closed."""
    rows_of([dataset.batch([0])])
    copied, another = pickle.loads(pickle.dumps(dataset)), copy.deepcopy(dataset)
    dataset.close()
    for each in (copied, another):
        assert each.streamed
        assert rows_of([each.batch([5 * UNIT, 3])]) == [5 * UNIT, 3]
        each.close()


def test_closed(small):
    """It says so, to every reader, and cannot be pickled; a second close does nothing."""
    dataset = Dataset(URI, address=small.at, stream=True)
    kept = dataset.batch([1, 2])
    dataset.close()
    dataset.close()
    for read in (lambda: dataset[0], lambda: dataset.batch([1]), lambda: pickle.dumps(dataset)):
        with pytest.raises(Unavailable, match="was closed - open it again"):
            read()
    assert kept["row"].tolist() == [1, 2]


def test_refresh(make_node):
    """It moves to the version that is active now, on demand or in memory as that fits; views of the old one say so."""
    node = make_node(*SMALL)
    node.register("ondemand", large())
    with pytest.warns(UserWarning, match="IterableDataset"):
        undecided = Dataset(URI, address=node.at)
    with Dataset(URI, address=node.at, stream=True) as dataset, undecided:
        view = dataset.take(3)
        node.update("ondemand", large(ROWS - 9, 7), mode="overwrite")
        # Warnings are errors here: of a dataset that was read on demand before there is none.
        assert undecided.refresh()
        assert dataset[0]["row"] == 0
        assert dataset.refresh()
        assert not dataset.refresh()
        assert (len(dataset), int(dataset[0]["row"]), int(undecided[-1]["row"])) == (ROWS - 9, 7, ROWS - 3)
        with pytest.raises(Conflict, match="make the view anew"):
            view[0]
        node.update("ondemand", large(5), mode="overwrite")
        assert undecided.refresh()
        assert not undecided.streamed
        assert undecided.tensor("row").tolist() == [0, 1, 2, 3, 4]
        node.update("ondemand", large(), mode="overwrite")
        with pytest.warns(UserWarning, match="times as large"):
            assert undecided.refresh()
        assert undecided.streamed


def test_the_end_of_the_sidecar(make_node):
    """What is held is read on; the next window is missed in a sentence."""
    node = make_node(*SMALL)
    node.register("ondemand", large())
    with Dataset(URI, address=node.at, stream=True) as dataset:
        first = dataset[0]
        node.kill()
        assert same(first["text"], "ä0")
        with pytest.raises(Unavailable):
            dataset[5 * UNIT]
