"""Gathers alone, over rows of many widths: ours beside torch, numpy and a memcpy of as many neighbouring bytes."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import cycle
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture

from alluxio_lance.sidecar._shm import Mapping, gather

_SOURCE = 256 << 20
"""More than most caches hold; in a memory file, as the segments are."""
_WIDTHS = [8, 64, 512, 12 << 10, 150 << 10]
_BATCHES = [1, 32, 256, 4096]
_LARGEST = 64 << 20
"""Larger batches are left out: 4,096 rows of 150 KiB."""
_Way = Callable[[Mapping, int, NDArray[np.uint8]], Callable[[NDArray[np.int64]], Any]]


@pytest.fixture(scope="module")
def source() -> Mapping:
    """Random bytes, mapped and in this process' page tables."""
    file = os.memfd_create("bench")
    try:
        for part in range(_SOURCE >> 24):
            os.write(file, np.random.default_rng(part).bytes(1 << 24))
        mapping = Mapping([(file, 0, _SOURCE)], writable_copy=True)
    finally:
        os.close(file)
    mapping.populate()
    return mapping


def ours(source: Mapping, width: int, target: NDArray[np.uint8]) -> Callable[[NDArray[np.int64]], Any]:
    """Gather as `FixedColumn.take` does, with one thread."""
    rows, flat = _SOURCE // width, target.reshape(-1)
    return lambda indices: gather(source, rows, width, indices, flat)


def index_select(source: Mapping, width: int, target: NDArray[np.uint8]) -> Callable[[NDArray[np.int64]], Any]:
    """Gather with torch into memory that is there already, with as many threads as it likes."""
    rows, out = torch.from_numpy(_rows(source, width)), torch.from_numpy(_typed(target, width))
    return lambda indices: torch.index_select(rows, 0, torch.from_numpy(indices), out=out)


def take(source: Mapping, width: int, target: NDArray[np.uint8]) -> Callable[[NDArray[np.int64]], Any]:
    """Gather with numpy into memory that is there already; ``wrap`` is what lets it do without a buffer of its own."""
    rows, out = _rows(source, width), _typed(target, width)
    return lambda indices: rows.take(indices, axis=0, out=out, mode="wrap")


def memcpy(source: Mapping, width: int, target: NDArray[np.uint8]) -> Callable[[NDArray[np.int64]], Any]:
    """Copy as many neighbouring bytes: the yardstick, and no gather."""
    whole, flat = _whole(source), target.reshape(-1)

    def copy(indices: NDArray[np.int64]) -> None:
        start = min(int(indices[0]) * width, _SOURCE - len(flat))
        np.copyto(flat, whole[start : start + len(flat)])

    return copy


def _whole(source: Mapping) -> NDArray[np.uint8]:
    return np.ndarray(_SOURCE, np.uint8, memoryview(source))


def _rows(source: Mapping, width: int) -> NDArray[Any]:
    return _typed(_whole(source)[: _SOURCE // width * width].reshape(-1, width), width)


def _typed(rows: NDArray[np.uint8], width: int) -> NDArray[Any]:
    """Let rows of one word be words, for which the others have loops of their own."""
    return rows.view(np.int64) if width == np.dtype(np.int64).itemsize else rows


@pytest.mark.parametrize("way", [ours, index_select, take, memcpy], ids=lambda way: way.__name__)
@pytest.mark.parametrize(
    ("width", "batch"), [(width, batch) for width in _WIDTHS for batch in _BATCHES if width * batch <= _LARGEST]
)
def test_gather(benchmark: BenchmarkFixture, source: Mapping, width: int, batch: int, way: _Way) -> None:
    """Every way but the memcpy delivers the rows asked for; the time is compared within the group."""
    benchmark.group = f"{batch} rows of {width} bytes"
    rng = np.random.default_rng(width + batch)
    chosen = [rng.integers(0, _SOURCE // width, batch) for _ in range(64)]
    order = cycle(chosen)
    target = np.zeros((batch, width), np.uint8)
    copy = way(source, width, target)
    rounds = max(15, min(200, _LARGEST // (batch * width)))
    benchmark.pedantic(copy, setup=lambda: ((next(order),), {}), rounds=rounds)  # type: ignore[no-untyped-call]
    copy(chosen[0])
    if way is not memcpy:
        assert np.array_equal(target, _rows(source, width).view(np.uint8).reshape(-1, width)[chosen[0]])
