"""In this process, without a DataLoader: contiguous batches as views, shuffled ones beside other gathers and a memcpy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture

from alluxio.torch import Dataset
from alluxio_lance.bench.data import SHAPE

_BATCH = 256
_Gather = Callable[[NDArray[np.int64]], Any]


@pytest.mark.benchmark(group="contiguous batch of 256 rows")
def test_contiguous_batch(benchmark: BenchmarkFixture, dataset: Dataset, contiguous: Iterator[range]) -> None:
    """A contiguous batch is a view: no byte is moved, however many batches are read."""
    before = dataset.statistics()
    batch = benchmark(lambda: dataset.batch(next(contiguous)))
    after = dataset.statistics()
    moved = after.gathered_bytes - before.gathered_bytes
    benchmark.extra_info["bytes_moved"] = moved
    assert moved == 0
    assert after.views > before.views
    assert batch["image"].shape == (_BATCH, *SHAPE)


def ours(dataset: Dataset) -> _Gather:
    """Gather both columns as the DataLoader's fast path does."""
    return dataset.batch


def index_select(dataset: Dataset) -> _Gather:
    """Gather with torch, with as many threads as it likes."""
    images, labels = dataset.tensor("image"), dataset.tensor("label")

    def gather(rows: NDArray[np.int64]) -> Any:
        wanted = torch.from_numpy(rows)
        return {"image": images.index_select(0, wanted), "label": labels.index_select(0, wanted)}

    return gather


def take(dataset: Dataset) -> _Gather:
    """Gather with numpy."""
    images, labels = dataset.numpy("image"), dataset.numpy("label")
    return lambda rows: {"image": images.take(rows, axis=0), "label": labels.take(rows)}


def memcpy(dataset: Dataset) -> _Gather:
    """Copy as many contiguous bytes into one buffer, with one thread: the yardstick, and no gather."""
    images, labels = dataset.numpy("image"), dataset.numpy("label")
    into_images, into_labels = np.empty((_BATCH, *SHAPE), dtype=np.uint8), np.empty(_BATCH, dtype=np.int64)

    def copy(rows: NDArray[np.int64]) -> Any:
        start = int(rows[0]) // _BATCH * _BATCH
        np.copyto(into_images, images[start : start + _BATCH])
        np.copyto(into_labels, labels[start : start + _BATCH])
        return {"image": into_images, "label": into_labels}

    return copy


@pytest.mark.benchmark(group="shuffled batch of 256 rows")
@pytest.mark.parametrize("way", [ours, index_select, take, memcpy], ids=lambda way: way.__name__)
def test_shuffled_batch(
    benchmark: BenchmarkFixture,
    dataset: Dataset,
    shuffled: Iterator[NDArray[np.int64]],
    way: Callable[[Dataset], _Gather],
) -> None:
    """A shuffled batch of both columns has the rows asked for; the time is compared within the group."""
    gather = way(dataset)
    benchmark(lambda: gather(next(shuffled)))
    rows = next(shuffled)
    batch = gather(rows)
    if way is not memcpy:
        assert np.array_equal(np.asarray(batch["label"]), dataset.numpy("label")[rows])
    assert np.asarray(batch["image"]).nbytes == _BATCH * np.prod(SHAPE)
