"""The iterable dataset with a filter: the chosen rows alone, in memory and in windows, with ranks, workers and states."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.client.epochs.test_plan import documented
from tests.client.test_streaming import eventually, statistics
from tests.conftest import Node, _running
from tests.frameworks.torch.test_iterable_streamed import LARGE, ROWS, SMALL, UNIT, URI, large
from torch.utils.data import DataLoader

from alluxio.torch import Dataset, IterableDataset
from alluxio_lance.client.epochs.chosen import Chosen
from alluxio_lance.client.epochs.plan import EpochPlan
from alluxio_lance.client.streamed import StreamedVersion
from alluxio_lance.client.views import numbers as numbers_module
from alluxio_lance.client.views.numbers import RowNumbers
from alluxio_lance.errors import InvalidArgument
from alluxio_lance.frameworks.torch.iterable import _patience

LIMIT_S = 400
"""Far more than a scene takes on a machine with other work."""

pytestmark = [
    pytest.mark.torch,
    # The watchdog: a wait for memory that nobody frees fails the test.
    pytest.mark.timeout(LIMIT_S + 20),
    # Other rooms' tests load Lance into this process; nothing here forks one that uses it.
    pytest.mark.filterwarnings("ignore:lance is not fork-safe"),
]

FILTER = "text LIKE '%3' AND (f64 < 7000 OR f64 >= 17000)"
"""By a column that is not opened here. Of the units 2 and 3 it chooses nothing."""
CHOSEN = [row for row in range(ROWS) if row % 10 == 3 and (row < 7000 or row >= 17000)]


@pytest.fixture(scope="module")
def small() -> Iterator[Node]:
    """A sidecar whose budget is half of the data."""
    with _running(*SMALL) as node:
        node.register("large", large())
        yield node


@pytest.fixture(scope="module")
def roomy() -> Iterator[Node]:
    """A sidecar in whose memory all of the same data is."""
    with _running(*LARGE) as node:
        node.register("large", large())
        yield node


def opened(node: Node, filter: str | None = FILTER, **options: Any) -> IterableDataset:
    """Open the numbers of the rows beside the column that makes them large."""
    chosen = {"columns": ["image", "f64"], "batch_size": 64, "address": node.at, "filter": filter, **options}
    return IterableDataset(URI, **chosen)


def numbers(batches: Any) -> list[int]:
    """Put the rows' numbers together; each row must be the one that its number says."""
    found: list[int] = []
    for batch in batches:
        assert (batch["image"] == batch["f64"][:, None, None]).all()
        found += batch["f64"].int().tolist()
    return found


def planned(dataset: IterableDataset, epoch: int, rows: list[int] = CHOSEN, **changes: Any) -> list[int]:
    """Compute an epoch's order in plain Python from what a state says, as docs/streaming.md has it."""
    fields = {
        name: dataset.state_dict()[name] for name in ("content_hash", "unit_rows", "window_units", "shuffle", "seed")
    }
    return documented(EpochPlan(**{**fields, **changes}, rows=ROWS, epoch=epoch), rows)[1]


# -- the order -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shuffle", [True, False])
def test_in_windows(small, shuffle):
    """The order is the documented one of the chosen rows, epoch after epoch; batches that lie in two windows are whole."""
    with opened(small, shuffle=shuffle, seed=3) as dataset:
        assert dataset.streamed
        assert dataset.num_rows == len(CHOSEN)
        assert len(dataset) == -(-len(CHOSEN) // 64)
        for epoch in range(2):
            batches = list(dataset)
            assert [len(batch["f64"]) for batch in batches[:-1]] == [64] * (len(dataset) - 1)
            assert numbers(batches) == planned(dataset, epoch)


@pytest.mark.parametrize("shuffle", [True, False])
def test_in_memory(roomy, shuffle):
    """All chosen rows are one window; they are those of the map-style dataset."""
    with opened(roomy, shuffle=shuffle) as dataset, Dataset(URI, ["f64"], address=roomy.at, filter=FILTER) as other:
        assert not dataset.streamed
        assert dataset.window_rows == dataset.num_rows == len(CHOSEN)
        found = numbers(dataset)
        assert found == planned(dataset, 0)
        assert sorted(found) == CHOSEN == other.numpy("f64").astype(int).tolist()


def test_without_a_filter_nothing_has_changed(small):
    """The order is the documented one of all rows, and so is that of a filter that chooses all."""
    with opened(small, None) as dataset, opened(small, "true") as everything:
        assert numbers(dataset) == planned(dataset, 0, list(range(ROWS)))
        assert numbers(everything) == planned(dataset, 0, list(range(ROWS)))


def test_samples(small):
    """Without a batch size samples come one by one, in the same order."""
    with opened(small, batch_size=None) as dataset:
        assert len(dataset) == len(CHOSEN)
        assert [int(sample["f64"]) for sample in islice(dataset, 900)] == planned(dataset, 0)[:900]


@pytest.mark.parametrize("window_units", [1, 2])
def test_units_without_chosen_rows_are_not_loaded(small, monkeypatch, window_units):
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
    with opened(small, window_units=window_units) as dataset:
        assert sorted(numbers(dataset)) == CHOSEN
    assert asked == {row // UNIT for row in CHOSEN} == {0, 1, 4, 5}


def test_the_memory_is_that_of_the_units_with_chosen_rows(make_node):
    """On a node that has nothing else the sidecar holds one unit in the end: the other five were never there."""
    node = make_node(*SMALL)
    node.register("large", large())
    with opened(node, "f64 BETWEEN 5000 AND 6000") as dataset:
        assert sorted(numbers(dataset)) == list(range(5000, 6001))
        (version,) = statistics(node).versions
        assert 0 < version.bytes < 2 * UNIT * 2056


# -- ranks and workers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("workers", [0, 2])
def test_ranks_and_workers(small, world_size, workers):
    """Each chosen row comes exactly once, but for what makes ranks even, and steps are those of the one order."""
    shares = []
    for rank in range(world_size):
        with opened(small, rank=rank, world_size=world_size) as dataset:
            order = planned(dataset, 0)
            options = {"num_workers": workers, "multiprocessing_context": "fork", "timeout": 120} if workers else {}
            shares.append([numbers([batch]) for batch in DataLoader(dataset, batch_size=None, **options)])
            assert len(shares[-1]) == len(dataset)
    flat = [row for step in zip(*shares, strict=True) for batch in step for row in batch]
    assert flat[: len(CHOSEN)] == order
    assert len(flat) - len(CHOSEN) < world_size
    assert sorted(order) == CHOSEN


def test_drop_last(small):
    """What does not fill a step of chosen rows is dropped."""
    with opened(small, drop_last=True, rank=0, world_size=2) as dataset:
        assert len(dataset) == len(CHOSEN) // 128
        assert [len(batch["f64"]) for batch in dataset] == [64] * len(dataset)


def test_a_copy_shares_the_numbers_of_many_rows(small, monkeypatch):
    """Pickled, as to a spawned worker, it carries the way to them, and reads the same rows."""
    monkeypatch.setattr(numbers_module, "_SHARED", 1)
    with opened(small) as dataset:
        travelling = pickle.dumps(dataset)
        assert dataset._source.chosen.numbers._descriptor >= 0
        with pickle.loads(travelling) as copy:
            assert copy.num_rows == len(CHOSEN)
            assert numbers(copy) == planned(dataset, 0)


def test_the_scene_with_workers(kinds, node):
    """Spawned and forked workers read as one process does: see the scene in iterable_epochs.py."""
    script = Path(__file__).with_name("iterable_epochs.py")
    command = [sys.executable, "-P", "-W", "error", str(script), node.at, "spawn", "filtered", kinds]
    done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found
    assert [name for name, right in found.items() if right is not True] == []


def test_windows_of_few_chosen_rows_are_not_kept():
    """The smallest window says whether one may be kept for long, and the usual one whether it may be kept at all."""

    def patience(rows: list[int], step: int) -> float | None:
        plan = EpochPlan("ab" * 32, 5000, 1000, 1, True, 0, 0, Chosen("a filter", RowNumbers(np.array(rows))))
        return _patience(plan, step, alone=False)

    even = list(range(0, 5000, 2))
    assert [patience(even, step) for step in (31, 100, 126)] == [30, 1, 0]
    one_is_sparse = [row for row in even if not 1000 < row < 2000]
    assert [patience(one_is_sparse, step) for step in (31, 126)] == [1, 0]
    assert patience([], 1) == 0


# -- what may be chosen --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, None])
def test_nothing_chosen(small, stream):
    """An epoch of no batches, and then the next one; a state of it can be taken and continued."""
    with opened(small, "f64 < 0", stream=stream, columns=["image", "f64"] if stream else ["f64"]) as dataset:
        assert dataset.streamed is bool(stream)
        assert (len(dataset), dataset.num_rows, dataset.window_rows) == (0, 0, 0)
        assert [list(dataset), list(dataset)] == [[], []]
        assert dataset.epoch == 2
        state = dataset.state_dict()
        assert (state["rows"], state["position"]) == (0, 0)
        dataset.load_state_dict(state)
        assert list(dataset) == []


@pytest.mark.parametrize(
    ("filter", "message"),
    [("nope = 1", "nope, which is no column"), ("f64 = 'x'", "could not"), (3, "expression in SQL")],
)
@pytest.mark.parametrize("stream", [True, False])
def test_a_wrong_filter_is_said_and_leaves_no_lease(roomy, filter, message, stream):
    """As with the map-style dataset, when it is opened."""
    with pytest.raises(InvalidArgument, match=message):
        opened(roomy, filter, stream=stream)
    eventually(lambda: statistics(roomy).leases == ())


def test_refresh_evaluates_anew(make_node):
    """Of the new version other rows may be chosen; without a new one nothing changes."""
    node = make_node()
    node.register("anew", pa.table({"id": np.arange(100), "even": np.arange(100) % 2 == 0}))
    uri = "alluxio://datasets/anew"
    with IterableDataset(uri, 10, columns=["id"], address=node.at, filter="even", shuffle=False) as dataset:
        assert not dataset.refresh()
        node.update("anew", pa.table({"id": np.arange(100, 104), "even": [False, True, True, False]}), mode="append")
        assert [int(row) for batch in dataset for row in batch["id"]] == list(range(0, 100, 2))
        assert dataset.refresh()
        assert [int(row) for batch in dataset for row in batch["id"]] == [*range(0, 100, 2), 101, 102]
        assert (dataset.num_rows, len(dataset)) == (52, 6)


# -- states --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 2), (2, 1)])
def test_other_ranks_resume(small, before, after):
    """After some steps of some ranks, others read exactly the rest of the chosen rows."""
    ranks = [opened(small, rank=rank, world_size=before) for rank in range(before)]
    iterations = [iter(dataset) for dataset in ranks]
    taken = [row for _ in range(5) for iteration in iterations for row in numbers(islice(iteration, 1))]
    states = [dataset.state_dict() for dataset in ranks]
    assert all(state == states[0] for state in states)
    assert states[0]["position"] == 5 * before * 64
    order = planned(ranks[0], 0)
    for iteration, dataset in zip(iterations, ranks, strict=True):
        iteration.close()  # type: ignore[attr-defined]  # a generator
        dataset.close()
    rest = []
    for rank in range(after):
        with opened(small, rank=rank, world_size=after, batch_size=50) as dataset:
            dataset.load_state_dict(json.loads(json.dumps(states[0])))
            rest.append([numbers([batch]) for batch in dataset])
    flat = [*taken, *(row for step in zip(*rest, strict=True) for batch in step for row in batch)]
    assert flat[: len(CHOSEN)] == order
    assert len(flat) - len(CHOSEN) < max(before, after)


def test_a_place_in_windows_is_continued_in_memory(small, roomy):
    """As without a filter, since both have the same chosen rows; the other way round it is refused."""
    with opened(small, seed=4) as dataset:
        wanted = planned(dataset, 0)
        assert numbers(islice(dataset, 7)) == wanted[: 7 * 64]
        state = dataset.state_dict(batches=7)
    with opened(roomy) as dataset:
        assert not dataset.streamed
        dataset.load_state_dict(state)
        assert numbers(dataset) == wanted[7 * 64 :]
    with opened(roomy) as dataset:
        whole = dataset.state_dict()
    with opened(small) as dataset, pytest.raises(InvalidArgument, match="has no windows"):
        dataset.load_state_dict(whole)


def test_a_state_of_another_filter_is_refused(roomy):
    """The sentence has both; a state of all rows is as it always was and goes on where there is no filter."""
    with opened(roomy) as one, opened(roomy, "f64 < 9") as two, opened(roomy, None) as three:
        assert one.state_dict()["filter"] == FILTER
        assert "filter" not in three.state_dict()
        with pytest.raises(InvalidArgument, match=r"taken with filter=.*the dataset has filter='f64 < 9'.*same text"):
            two.load_state_dict(one.state_dict())
        with pytest.raises(InvalidArgument, match="the dataset has no filter"):
            three.load_state_dict(one.state_dict())
        with pytest.raises(InvalidArgument, match="taken with no filter"):
            one.load_state_dict(three.state_dict())
        next(iter(three))
        state = three.state_dict()
        with opened(roomy, None) as four:
            four.load_state_dict(state)
            assert numbers(four) == planned(four, 0, list(range(ROWS)))[64:]
