"""Versions that do not fit into the sidecar's memory, read window by window by the iterable dataset."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count, islice, zip_longest
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.conftest import Node, _running
from torch.utils.data import DataLoader

from alluxio.torch import Dataset, IterableDataset
from alluxio_lance.client.cache import RemoteCache
from alluxio_lance.client.epochs.plan import EpochPlan
from alluxio_lance.client.streamed import StreamedVersion
from alluxio_lance.errors import InvalidArgument, NoSpace

pytestmark = [
    pytest.mark.torch,
    # The watchdog: a wait for memory that nobody frees fails the test.
    pytest.mark.timeout(150),
    # Other rooms' tests load Lance into this process; nothing here forks one that uses it.
    pytest.mark.filterwarnings("ignore:lance is not fork-safe"),
]

ROWS = 20_500
UNIT = 4096
"""Rows of 2 KiB: units of 8 MiB, of which the sixth is short."""
URI = "alluxio://datasets/large"
SMALL = ("--memory-budget", "20MiB", "--disk-budget", "0")
LARGE = ("--memory-budget", "256MiB", "--disk-budget", "0")


def large(rows: int = ROWS, offset: int = 0) -> pa.Table:
    """Make a table of about 40 MiB whose rows say which they are."""
    number = np.arange(offset, offset + rows)
    image = pa.FixedShapeTensorArray.from_numpy_ndarray(np.repeat(number.astype(np.float32), 512).reshape(rows, 1, 512))
    return pa.table({"image": image, "f64": number.astype(np.float64), "text": [f"ä{i}" for i in number]})


@pytest.fixture(scope="module")
def small() -> Iterator[Node]:
    """A sidecar whose budget is half of the data."""
    with _running(*SMALL) as node:
        node.register("large", large())
        yield node


def opened(node: Node, **options: Any) -> IterableDataset:
    """Open the numbers of the rows beside the columns that make them large."""
    return IterableDataset(URI, **{"address": node.at, "batch_size": 100, **options})


def numbers(batches: Any) -> list[int]:
    """Put the rows' numbers together; each row must be the one that its number says."""
    found: list[int] = []
    for batch in batches:
        assert batch["text"] == [f"ä{int(number)}" for number in batch["f64"]]
        assert (batch["image"] == batch["f64"][:, None, None]).all()
        found += batch["f64"].int().tolist()
    return found


def planned(dataset: IterableDataset, epoch: int, **changes: Any) -> list[int]:
    """Compute an epoch's order from what a state says."""
    state = dataset.state_dict()
    fields = {name: state[name] for name in ("content_hash", "rows", "unit_rows", "window_units", "shuffle", "seed")}
    plan = EpochPlan(**{**fields, **changes}, epoch=epoch)
    return [int(row) for window in plan.windows for row in plan.row_numbers(window, plan.order(window))]


@pytest.mark.parametrize("shuffle", [True, False])
def test_what_does_not_fit_is_streamed(small, shuffle):
    """By itself, in the order of the plan; batches that lie in two windows are whole."""
    with opened(small, shuffle=shuffle) as dataset:
        assert dataset.streamed
        assert dataset.window_rows == UNIT
        assert dataset.num_rows == ROWS
        assert dataset.columns == dataset.schema.names == ["image", "f64", "text"]
        for epoch in range(2):
            assert numbers(dataset) == planned(dataset, epoch)
        assert "windows of 4096" in repr(dataset)
        assert dataset.statistics().gathered_bytes + dataset.statistics().viewed_bytes >= 2 * ROWS * 2056


def test_insisting(small):
    """stream=False says what is missing and what to use instead; True streams what would fit."""
    with pytest.raises(NoSpace, match="IterableDataset") as caught:
        opened(small, stream=False)
    assert caught.value.details["budget"] == 20 << 20
    with opened(small, columns=["f64"]) as dataset:
        assert not dataset.streamed
    with opened(small, columns=["f64"], stream=True) as dataset:
        assert dataset.streamed
        found = [int(number) for batch in dataset for number in batch["f64"]]
        assert found == planned(dataset, 0)


def test_windows_of_ones_own(small):
    """A window may be larger than what fits twice, but not than what fits at all."""
    with opened(small, window_units=2) as dataset:
        assert dataset.window_rows == 2 * UNIT
        assert numbers(dataset) == planned(dataset, 0)
    with opened(small, window_units=6) as dataset, pytest.raises(NoSpace, match="budget"):
        next(iter(dataset))


@pytest.mark.parametrize("batch_size", [64, 3000])
def test_ranks_share_a_node(small, batch_size):
    """Ranks that go side by side read each row once, also where a step needs more than a window."""
    ranks = [opened(small, rank=rank, world_size=3, batch_size=batch_size) for rank in range(3)]
    found = [row for step in zip(*ranks, strict=True) for row in numbers(step)]
    assert found[:ROWS] == planned(ranks[0], 0)
    assert len(found) - ROWS < 3
    for rank in ranks:
        rank.close()


def test_two_jobs_share_a_node(small):
    """Two orders at once take more windows than fit together, and both come to their end."""
    with opened(small, seed=1) as one, opened(small, seed=2) as two:
        pairs = list(zip_longest(one, two))
        assert numbers(pair[0] for pair in pairs) == planned(one, 0)
        assert numbers(pair[1] for pair in pairs) == planned(two, 0)


def test_one_loop_reads_three_datasets(small):
    """One more than there is room for: what a process does not read it lets go, before it waits for a window."""
    with opened(small, seed=1) as one, opened(small, seed=2) as two, opened(small, seed=3) as three:
        batches = list(zip(*(islice(each, 50) for each in (one, two, three)), strict=True))
        for place, dataset in enumerate((one, two, three)):
            assert numbers(step[place] for step in batches) == planned(dataset, 0)[:5000]


JOB = """
import sys
from alluxio.torch import IterableDataset

uri, address, seed = sys.argv[1:]
with (
    IterableDataset(uri, 100, seed=int(seed), address=address) as training,
    IterableDataset(uri, 100, shuffle=False, address=address) as validation,
):
    batches = iter(training)
    found = len(next(batches)["f64"])
    print("in mid-epoch", flush=True)
    input()
    print(sum(len(batch["f64"]) for batch in validation))
    print(found + sum(len(batch["f64"]) for batch in batches))
"""


def test_two_jobs_validate_at_the_same_time(small):
    """Each holds a window when it begins to, and both together all that there is."""
    command = [sys.executable, "-P", "-c", JOB, URI, small.at]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with ExitStack() as keep:
        jobs = [keep.enter_context(subprocess.Popen([*command, str(seed)], **pipes)) for seed in (1, 2)]
        for job in jobs:
            keep.callback(job.kill)
        assert [job.stdout.readline() for job in jobs] == ["in mid-epoch\n"] * 2
        for job in jobs:
            job.stdin.write("\n")
            job.stdin.flush()
        assert [job.communicate(timeout=100)[0].split() for job in jobs] == [[str(ROWS)] * 2] * 2


def test_samples(small):
    """Single samples come in the order of the plan."""
    with opened(small, columns=["f64"], stream=True, batch_size=None) as dataset:
        assert [int(sample["f64"]) for sample in islice(dataset, 5000)] == planned(dataset, 0)[:5000]


def test_a_broken_epoch_frees_its_window(small):
    """What a broken iteration held can be used by others: a window of all that fits."""
    with opened(small, window_units=2) as one, opened(small, window_units=2, seed=9) as two:
        for _ in range(3):
            iteration = iter(one)
            next(iteration)
            iteration.close()
            iteration = iter(two)
            next(iteration)
            iteration.close()


def test_no_epoch_mixes_versions():
    """Streamed, a version stays what it is until refresh, whatever becomes active meanwhile."""
    with _running(*SMALL) as node:
        node.register("large", large(), version="1.0.0")
        with opened(node) as dataset:
            iteration = iter(dataset)
            found = numbers([next(iteration)])
            state = dataset.state_dict()
            node.update("large", large(ROWS + 9, offset=100_000), mode="overwrite", version="2.0.0")
            found += numbers(iteration)
            assert found == planned(dataset, 0)
            assert dataset.refresh()
            assert min(numbers(dataset)) == 100_000
            node.call(lambda manager: manager.rollback_resource("datasets", "large", "1.0.0"))
            assert dataset.refresh()
            dataset.load_state_dict(state)
            assert numbers(dataset) == found[100:]


def test_states_between_memory_and_windows():
    """A place in windows is continued in memory; one in memory cannot be continued in windows, which is said."""
    with _running(*SMALL) as node:
        node.register("large", large())
        with opened(node, seed=4) as dataset:
            wanted = planned(dataset, 0)
            assert numbers(islice(dataset, 70)) == wanted[:7000]
            state = dataset.state_dict(batches=70)
        node.stop()
        node._arguments = LARGE
        node.start()
        with opened(node) as dataset:
            assert not dataset.streamed
            dataset.load_state_dict(state)
            assert numbers(dataset) == wanted[7000:]
            whole = dataset.state_dict()
            dataset.load_state_dict(whole)
        with opened(node, seed=4) as dataset:
            next(iter(dataset))
            whole = dataset.state_dict()
        with opened(node, stream=True) as dataset, pytest.raises(InvalidArgument, match="has no windows"):
            dataset.load_state_dict(whole)


def test_a_map_style_dataset_of_what_fits_is_the_same(small):
    """What fits is no matter of windows: both kinds of dataset have the same rows."""
    with Dataset(URI, columns=["f64"], address=small.at) as other, opened(small, columns=["f64"]) as dataset:
        batch = next(iter(dataset))
        assert batch["f64"].tolist() == other.batch([int(number) for number in batch["f64"]])["f64"].tolist()


@pytest.mark.parametrize("workers", [0, 2])
def test_once_all_of_it_is_on_the_disk_windows_are_needed_no_more(workers, monkeypatch):
    """In the same order, into the middle of an epoch too, and in workers, each of which has it for itself."""
    with _running("--memory-budget", "20MiB", "--disk-budget", "256MiB") as node:
        node.register("large", large())
        with opened(node) as dataset, RemoteCache.connect(node.address) as cache:
            loader: Any = DataLoader(dataset, batch_size=None, num_workers=workers, persistent_workers=workers > 0)
            deadline = time.monotonic() + 120
            for epoch in count():
                # In the background, so that it is not said in which epoch; here it is known when it has come.
                mapped = cache.statistics().disk.mapped_bytes >= ROWS * 2048
                mapped = mapped and (workers > 0 or dataset._source._opened.whole is not None)
                if mapped and not workers:
                    monkeypatch.setattr(StreamedVersion, "window", None)
                dataset.set_epoch(epoch)
                found = numbers(loader)
                assert sorted(found) == list(range(ROWS))
                assert cache.statistics().used_bytes <= 20 << 20
                if not workers:
                    assert found == planned(dataset, epoch)
                if mapped:
                    break
                assert time.monotonic() < deadline
            if not workers:
                begun = iter(loader)
                assert numbers(islice(begun, 30)) == planned(dataset, dataset.state_dict()["epoch"])[:3000]
                assert dataset.state_dict()["position"] == 3000
            del loader
