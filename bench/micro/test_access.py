"""Opening a dataset that is hot, and reading single rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture

from alluxio.torch import Dataset
from alluxio_lance.bench.data import Rows
from alluxio_lance.bench.ways.ours import URI


@pytest.mark.benchmark(group="open")
def test_open_hot(benchmark: BenchmarkFixture, dataset: Dataset) -> None:
    """Opening a hot version asks the sidecar for a lease, maps its segments and gives them back."""

    def open_and_close() -> int:
        with Dataset(URI) as opened:
            return len(opened)

    assert benchmark(open_and_close) == len(dataset)


@pytest.mark.benchmark(group="one row")
def test_item(benchmark: BenchmarkFixture, dataset: Dataset, rows: Rows, shuffled: Iterator[NDArray[np.int64]]) -> None:
    """``ds[i]`` is the sample of row i."""
    order = (int(row) for batch in shuffled for row in batch)
    benchmark(lambda: dataset[next(order)])
    row = next(order)
    assert np.array_equal(dataset[row]["image"].numpy(), rows.images()[row])
    assert int(dataset[row]["label"]) == rows.labels()[row]
