"""A sidecar with hot rows for the small benchmarks, and the batches of indices that they all use."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from alluxio.torch import Dataset
from alluxio_lance.bench.data import Rows, generate
from alluxio_lance.bench.service import serving
from alluxio_lance.bench.ways.ours import URI, prepare

ROWS, BATCH = 8192, 256
"""100 MB: more than the caches of a processor hold."""


@pytest.fixture(scope="session")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """The source, as the large benchmark generates it."""
    return generate(tmp_path_factory.mktemp("source"), ROWS)


@pytest.fixture(scope="session")
def dataset(rows: Rows, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dataset]:
    """The rows, hot in a sidecar of their own."""
    folder: Path = tmp_path_factory.mktemp("sidecar")
    with serving(folder) as address, pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALLUXIO_LANCE_ADDRESS", address)
        prepare(rows, folder)
        with Dataset(URI) as opened:
            yield opened


@pytest.fixture
def shuffled() -> Iterator[NDArray[np.int64]]:
    """Batches of a permutation, again and again: 256 row numbers each."""
    order = np.random.default_rng(0).permutation(ROWS)
    return cycle(np.split(order, ROWS // BATCH))


@pytest.fixture
def contiguous() -> Iterator[range]:
    """Batches in order, again and again: 256 row numbers each."""
    return cycle([range(start, start + BATCH) for start in range(0, ROWS, BATCH)])
