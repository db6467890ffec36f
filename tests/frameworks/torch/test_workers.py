"""DataLoader workers: every start method, what they load, and what becomes of an epoch whose sidecar dies."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from alluxio.torch import Dataset
from alluxio_lance.errors import InvalidArgument

pytestmark = [
    pytest.mark.torch,
    # Other rooms' tests load Lance into this process; nothing here forks one that uses it.
    pytest.mark.filterwarnings("ignore:lance is not fork-safe"),
]

ROWS = 9000
GOOD = {"complete": True, "shuffled": True, "right": True, "modules": [], "workers": 2}


def run_epochs(address: str, start_method: str, victim: int = 0) -> dict:
    """Read two epochs in a process of its own."""
    script = Path(__file__).with_name("epochs.py")
    command = [sys.executable, "-P", "-W", "error", str(script), address, start_method, str(victim), str(ROWS)]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    found: dict = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("start_method", ["fork", "forkserver", "spawn"])
def test_epochs_with_workers(kinds, node, start_method):
    """Persistent workers of any start method read each row once per epoch and load neither Lance nor gRPC themselves.

    A forked worker inherits what its parent has loaded: there the test is that it loads nothing more.
    """
    assert run_epochs(node.at, start_method) == {"epochs": [GOOD, GOOD], "transformed": True}


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_epochs_outlive_the_sidecar(own_node, every_kind, start_method):
    """Killed in the middle of an epoch, the sidecar is not missed: this epoch, the next, and new workers read on."""
    own_node.register("kinds", every_kind)
    found = run_epochs(own_node.at, start_method, own_node.pid)
    assert found == {"epochs": [GOOD, GOOD], "transformed": True}


@pytest.mark.parametrize("start_method", ["none", "fork", "spawn"])
def test_epochs_across_a_restart_of_the_sidecar(own_node, every_kind, start_method):
    """Killed in the middle of an epoch, started again before the next: both are complete, on the same version."""
    own_node.register("kinds", every_kind)
    script = Path(__file__).with_name("lifetimes.py")
    command = [sys.executable, "-P", "-W", "error", str(script), own_node.at, start_method]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        for wish, act in (("kill", own_node.kill), ("start", own_node.start)):
            assert process.stdout.readline().strip() == wish
            act()
            process.stdin.write("done\n")
        assert json.loads(process.stdout.readline()) == {"first": True, "changed": False, "second": True}
        process.stdin.close()
        assert process.wait(30) == 0


def test_a_worker_may_not_refresh(kinds, node):
    """refresh() in a worker would make the workers disagree, and is refused there."""
    with Dataset(kinds, columns=["i64"], address=node.at) as dataset:
        dataset.transform = lambda _: dataset.refresh()
        with pytest.raises(InvalidArgument, match="call it in the main process"):
            next(iter(DataLoader(dataset, num_workers=1, multiprocessing_context="fork")))


def test_errors_come_home_from_workers(nulls, node):
    """What a worker raises arrives in the main process as the same class with its details."""
    with Dataset(nulls, address=node.at) as dataset, pytest.raises(InvalidArgument, match="fill_null") as caught:
        next(iter(DataLoader(dataset, batch_size=3, num_workers=1, multiprocessing_context="fork")))
    assert "column 'i'" in str(caught.value)


def test_batches_of_workers_are_writable(kinds, node):
    """A batch that a worker handed over may be written into, and the dataset does not change."""
    with Dataset(kinds, columns=["image", "bf16", "u16", "when", "flag", "opaque"], address=node.at) as dataset:
        loader = DataLoader(dataset, batch_size=9, num_workers=1, multiprocessing_context="fork")
        batch = next(iter(loader))
        for name, values in batch.items():
            assert torch.equal(values, dataset.tensor(name)[:9])
            assert values.dtype == dataset.tensor(name).dtype
            values.zero_()
        assert dataset.tensor("image")[5].sum() > 0
