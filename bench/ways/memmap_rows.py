"""np.memmap on the local disk as most people write it: one row per ``__getitem__``, stacked by the default collate.

The map-style dataset of https://docs.pytorch.org/tutorials/beginner/basics/data_tutorial.html.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from alluxio_lance.bench.job import Epochs, Job
from alluxio_lance.bench.ways.memmap import prepare

__all__ = ["opened", "prepare"]


class MappedRows(Dataset[tuple[torch.Tensor, int]]):
    """Two .npy files, mapped; fetches row by row."""

    def __init__(self, folder: Path) -> None:
        # Mapped copy-on-write, so that torch takes a row as it is: read-only arrays would make it warn.
        self.images = np.asarray(np.load(folder / "images.npy", mmap_mode="c"))
        self.labels = np.asarray(np.load(folder / "labels.npy", mmap_mode="c"))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.from_numpy(self.images[index]), int(self.labels[index])


@contextmanager
def opened(job: Job) -> Iterator[Epochs]:
    """Open a plain DataLoader over the mapped files."""
    loader = DataLoader(
        MappedRows(job.folder),
        batch_size=job.batch_size,
        shuffle=True,
        num_workers=job.workers,
        persistent_workers=job.workers > 0,
        generator=torch.Generator().manual_seed(job.seed),
    )
    yield lambda _: iter(loader)
