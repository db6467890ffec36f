"""Batches that workers hand over through the arena: the same bytes, no slot lost, whatever happens to whom."""

from __future__ import annotations

import copy
import gc
import json
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Subset

from alluxio.torch import Dataset
from alluxio_lance.client.arena import Arena, arena_statistics
from alluxio_lance.errors import InvalidArgument

pytestmark = [
    pytest.mark.torch,
    # The watchdog: a wait for somebody who will not come fails the test.
    pytest.mark.timeout(150),
    # Other rooms' tests load Lance into this process; nothing here forks one that uses it.
    pytest.mark.filterwarnings("ignore:lance is not fork-safe"),
]

ROWS = 9000
BATCH = 3000
"""Rows of 48 bytes: more than what is copied out where it arrives."""


def in_use(patience: float = 20.0) -> tuple[int, int, int]:
    """Say how many slots are being filled, are on their way, and are held: none, or those that are left in the end.

    Torch does not wait for a worker that it has terminated.
    """
    gc.collect()
    deadline = time.monotonic() + patience
    while True:
        found = arena_statistics()
        left = found.filling, found.in_flight, found.held
        if not any(left) or time.monotonic() > deadline:
            return left
        time.sleep(0.05)


@pytest.fixture
def ds(kinds, node) -> Iterator[Dataset]:
    """A dataset of which workers hand the images over; afterwards no slot is in use."""
    with Dataset(kinds, columns=["image", "f64"], address=node.at) as dataset:
        yield dataset
        assert in_use() == (0, 0, 0)


def loading(dataset: Any, batches: list[list[int]], **options: Any) -> DataLoader[Any]:
    """Make a loader with two forked workers and a watchdog."""
    workers = {"num_workers": 2, "multiprocessing_context": "fork", "timeout": 60}
    return DataLoader(dataset, **{"batch_sampler": batches, **workers, **options})


def shuffled(count: int, size: int = BATCH, seed: int = 0) -> list[list[int]]:
    """Draw batches."""
    drawing = random.Random(seed)
    return [[drawing.randrange(ROWS) for _ in range(size)] for _ in range(count)]


def right(batch: dict[str, torch.Tensor], rows: list[int]) -> bool:
    """Whether a batch has these rows."""
    number = torch.tensor(rows, dtype=torch.float64)
    wanted = number[:, None, None] + torch.arange(12, dtype=torch.float64).reshape(3, 4)
    return torch.equal(batch["f64"], number) and torch.equal(batch["image"].double(), wanted)


def forked(task: Callable[[], bool]) -> int:
    """Fork a process that tells by its status whether something was true."""
    pid = os.fork()
    if pid == 0:
        status = 2
        try:
            # The threads of its parent are not there.
            torch.set_num_threads(1)
            status = 0 if task() else 1
        finally:
            os._exit(status)
    return pid


@pytest.mark.parametrize("start_method", ["fork", "forkserver", "spawn"])
def test_workers_hand_over_what_one_process_reads(kinds, node, start_method):
    """Every kind of batch and of transformed batch arrives as it is made in one process; no slot is lost.

    The process ends while batches live, in good order and without a word.
    """
    script = Path(__file__).with_name("handing_over.py")
    command = [sys.executable, "-P", "-W", "error", str(script), node.at, start_method]
    done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=140)
    assert (done.returncode, done.stderr) == (0, "")
    seen = json.loads(done.stdout)
    statistics = seen.pop("statistics")
    assert seen == {"transformed": [], "wrapped": []}
    assert (statistics["filling"], statistics["in_flight"], statistics["held"]) == (0, 0, 0)
    # Each batch is read into a slot, and eight of the fourteen have tensors besides: new ones, or rows of lists.
    assert (statistics["handed_over"], statistics["fallbacks"]) == (14 + 8, 0)


def test_a_consumer_that_keeps_everything(ds):
    """Beyond the limit batches come the ordinary way: 200 kept ones are all right, and let go they leave no slot."""
    ds._arenas._arena = Arena.make(limit=20 * (BATCH * 56 + 4096))
    batches = shuffled(200)
    kept = list(loading(ds, batches))
    found = arena_statistics()
    assert 0 < found.held <= 20
    assert found.fallbacks >= 180
    assert all(map(right, kept, batches))
    for batch in kept:
        batch["image"].zero_()
    assert ds.batch([0])["image"].sum() == 66
    del kept, batch


def test_many_slots_where_there_is_room(ds):
    """Within the limit every kept batch has a slot of its own, and the next epoch uses them again."""
    batches = shuffled(100)
    for _ in range(2):
        kept = list(loading(ds, batches))
        assert arena_statistics().held == 100
        assert all(map(right, kept, batches))
        del kept
    found = arena_statistics()
    assert (found.fallbacks, found.handed_over) == (0, 200)
    assert found.slots <= 110


def test_who_keeps_the_labels_keeps_no_images(ds):
    """Small columns are copied out where they arrive."""
    labels = [batch["f64"] for batch in loading(ds, shuffled(20))]
    assert in_use() == (0, 0, 0)
    assert len(labels) == 20


@pytest.mark.parametrize("persistent", [False, True])
def test_a_break_in_the_middle_of_an_epoch(ds, persistent):
    """What was on its way when the consumer stopped is free again, and the next epoch is whole."""
    batches = shuffled(12)
    loader = loading(ds, batches, persistent_workers=persistent)
    for _ in range(3):
        for place, batch in enumerate(loader):
            assert right(batch, batches[place])
            if place == 2:
                break
    assert all(map(right, loader, batches))
    del batch, loader


def test_killed_workers(ds):
    """A worker that dies by kill -9 ends the epoch with the loader's own error; its slots come back, new workers read."""
    batches = shuffled(60)
    for _ in range(2):
        iterator = iter(loading(ds, batches, prefetch_factor=4))
        assert right(next(iterator), batches[0])
        with pytest.raises(RuntimeError, match=r"exited unexpectedly|killed by signal"):  # noqa: PT012 - either may raise
            # torch's handler of the signal may raise right here.
            os.kill(iterator._workers[0].pid, signal.SIGKILL)
            list(iterator)
        del iterator
        assert in_use() == (0, 0, 0)
    assert all(map(right, loading(ds, batches), batches))


class Failing:
    """A transform that raises for the rows with some numbers."""

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        if int(batch["f64"].reshape(-1)[0]) == 4242:
            raise ValueError("no such luck")
        return batch


@pytest.mark.parametrize("kind", ["transform", "batch_transform"])
def test_a_transform_that_raises(ds, kind):
    """The error arrives as it is, and costs no slot."""
    setattr(ds, kind, Failing())
    batches = [*shuffled(3, 50), [4242, 5], *shuffled(3, 50)]
    with pytest.raises(ValueError, match="no such luck"):
        list(loading(ds, batches))
    assert in_use() == (0, 0, 0)


def test_one_kind_of_transform_only(ds):
    """Transform and batch_transform together are refused."""
    ds.transform = ds.batch_transform = Failing()
    with pytest.raises(InvalidArgument, match="give one"):
        list(loading(ds, [[1]]))


class Keeping:
    """A transform that hands each batch over one turn later, and looks at it once more after that."""

    def __init__(self) -> None:
        self.before: list[dict[str, Any]] = []

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        self.before.append(batch)
        wrong = [one for one in self.before if not right(one, one["f64"].long().tolist())]
        return {**self.before[max(0, len(self.before) - 2)], "wrong": len(wrong)}


def test_a_worker_that_keeps_its_batches(ds):
    """A slot that its worker still looks at is given to nobody else, though the consumer has long let go."""
    ds.batch_transform = Keeping()
    batches = shuffled(20)
    for place, batch in enumerate(loading(ds, batches, num_workers=1)):
        assert right(batch, batches[max(0, place - 1)])
        assert batch["wrong"] == 0
    del batch


def test_a_subset(ds):
    """Torch's own wrappers take the same way."""
    part = Subset(ds, range(1000, 7000))
    batches = shuffled(4)
    local = [[index % 6000 for index in batch] for batch in batches]
    for batch, rows in zip(loading(part, local), local, strict=True):
        assert right(batch, [1000 + row for row in rows])
    assert arena_statistics().handed_over == 4
    del batch


def test_a_child_reads_on_what_its_parent_let_go(ds):
    """A batch that a forked process inherited stays as it was, though the parent drops it and reads others."""
    batches = shuffled(8)
    iterator = iter(loading(ds, batches))
    batch = next(iterator)
    go, begin = os.pipe()
    pid = forked(lambda kept=batch: bool(os.read(go, 1)) and right(kept, batches[0]))
    del batch
    assert all(map(right, iterator, batches[1:]))
    os.write(begin, b"x")
    assert os.waitpid(pid, 0)[1] == 0
    os.close(go)
    os.close(begin)
    del iterator


def test_pinned_batches_hold_no_slot(ds, monkeypatch):
    """A copy to the device goes on after the batch has died, and torch waits for it only with pinned memory of its own.

    A stand-in for CUDA, which this machine lacks; the thread is the DataLoader's own.
    """
    copied = []

    def pin(tensor: torch.Tensor, *_: Any) -> torch.Tensor:
        copied.append(tensor.nbytes)
        return tensor.clone()

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "cudart", lambda: pytest.fail("memory of ours was told to CUDA"))
    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    monkeypatch.setattr(torch.accelerator, "set_device_index", lambda _: None)
    monkeypatch.setattr(torch.accelerator, "current_device_index", lambda: 0)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cpu"))
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    batches = shuffled(12)
    pinned = list(loading(ds, batches, pin_memory=True))
    assert all(type(batch) is dict and right(batch, rows) for batch, rows in zip(pinned, batches, strict=True))
    assert sum(copied) == sum(tensor.nbytes for batch in pinned for tensor in batch.values())
    gc.collect()
    assert arena_statistics().slots > 0
    assert arena_statistics().held == 0


def test_a_batch_that_another_thread_received_is_a_plain_one(ds):
    """It can be copied and pickled like any other."""
    batches = shuffled(3)
    with ThreadPoolExecutor(1) as thread:
        arrived = thread.submit(lambda: list(loading(ds, batches))).result()
    assert [type(batch) for batch in arrived] == [dict] * 3
    again = [pickle.loads(pickle.dumps(copy.deepcopy(batch))) for batch in arrived]
    assert all(right(batch, rows) for batch, rows in zip(again, batches, strict=True))
