"""np.memmap on the local disk at its best: the DataLoader asks for a batch at a time and gets one fancy-indexed copy.

``__getitems__`` is the batched fetch of a map-style dataset that the DataLoader prefers where it exists
(https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.Dataset).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from alluxio_lance.bench.data import Rows
from alluxio_lance.bench.job import Epochs, Job

__all__ = ["opened", "prepare"]


class MappedBatches(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Two .npy files, mapped; fetches whole batches."""

    def __init__(self, folder: Path) -> None:
        self.images = np.asarray(np.load(folder / "images.npy", mmap_mode="r"))
        self.labels = np.asarray(np.load(folder / "labels.npy", mmap_mode="r"))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, indices: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.from_numpy(self.images[indices]), torch.from_numpy(self.labels[indices])


def as_it_is(batch: Any) -> Any:
    """Collate nothing: the batch is one already."""
    return batch


def prepare(rows: Rows, folder: Path) -> None:
    """Write the two columns as .npy files."""
    np.save(folder / "images.npy", rows.images())
    np.save(folder / "labels.npy", rows.labels())


@contextmanager
def opened(job: Job) -> Iterator[Epochs]:
    """Open a plain DataLoader over the mapped files."""
    loader = DataLoader(
        MappedBatches(job.folder),
        batch_size=job.batch_size,
        shuffle=True,
        num_workers=job.workers,
        persistent_workers=job.workers > 0,
        collate_fn=as_it_is,
        generator=torch.Generator().manual_seed(job.seed),
    )
    yield lambda _: iter(loader)
