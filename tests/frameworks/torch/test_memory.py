"""The memory of batches in one process: used again, and never while anything can still see it."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch

from alluxio.torch import Dataset
from alluxio_lance.client.room import POOL

pytestmark = pytest.mark.torch

COUNT = 2000
"""Rows of 48 bytes: enough for a block of the pool."""


@pytest.fixture
def ds(kinds, node):
    """Only the column with a shape."""
    with Dataset(kinds, ["image"], address=node.at) as dataset:
        yield dataset


def shuffled(ds: Dataset, seed: int) -> torch.Tensor:
    """Read a batch that is no view."""
    return ds.batch(np.random.default_rng(seed).permutation(len(ds))[:COUNT])["image"]


def test_a_batch_is_the_memory_of_the_one_before(ds):
    """A loop that drops its batches reads all of them into one place."""
    POOL.clear()
    assert len({shuffled(ds, seed).data_ptr() for seed in range(5)}) == 1


@pytest.mark.parametrize(
    "keep",
    [
        lambda batch: batch[5],
        lambda batch: batch.permute(2, 1, 0),
        lambda batch: batch.untyped_storage(),
        lambda batch: batch.numpy(),
        lambda batch: batch.detach(),
        torch.utils.dlpack.to_dlpack,
        lambda batch: (batch * torch.ones((), requires_grad=True)).grad_fn,
        lambda batch: batch.unbind()[3],
    ],
    ids=["row", "permuted", "storage", "numpy", "detached", "dlpack", "autograd", "unbound"],
)
def test_whatever_still_sees_a_batch_keeps_it(ds, keep):
    """Slices, storages, arrays, capsules and the graph of autograd hold the memory; it comes back when they are gone."""
    POOL.clear()
    batch = shuffled(ds, 0)
    address, kept = batch.data_ptr(), keep(batch)
    before = batch.clone()
    del batch
    gc.collect()
    later = [shuffled(ds, seed) for seed in range(1, 4)]
    assert address not in {one.data_ptr() for one in later}
    if isinstance(kept, np.ndarray):
        np.testing.assert_array_equal(kept, before.numpy())
    del kept, later
    gc.collect()
    assert address in {one.data_ptr() for one in [shuffled(ds, seed) for seed in range(4)]}


def test_gradients_see_the_batch_of_their_own_step(ds):
    """What autograd saved is not written over by the next batch."""
    weight = torch.ones(12, requires_grad=True)
    first = shuffled(ds, 0).reshape(COUNT, 12)
    wanted = first.sum(0).clone()
    loss = (first * weight).sum()
    del first
    others = [shuffled(ds, seed) for seed in range(1, 5)]
    loss.backward()
    torch.testing.assert_close(weight.grad, wanted)
    assert len(others) == 4
