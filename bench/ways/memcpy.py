"""The yardstick: each batch is one memcpy of as many contiguous bytes from memory into one buffer that is used again.

One thread copies: with more of them a copy (and a gather) is faster on an idle machine and many times slower on a busy
one, which makes no yardstick. It does not shuffle, and it makes no new tensors.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from alluxio_lance.bench.data import SHAPE, Rows
from alluxio_lance.bench.job import Batches, Epochs, Job

__all__ = ["opened", "prepare"]


def prepare(rows: Rows, folder: Path) -> None:
    """Write the two columns as .npy files."""
    np.save(folder / "images.npy", rows.images())
    np.save(folder / "labels.npy", rows.labels())


@contextmanager
def opened(job: Job) -> Iterator[Epochs]:
    """Read both columns into memory, then copy them batch by batch."""
    images, labels = np.load(job.folder / "images.npy"), np.load(job.folder / "labels.npy")
    into_images = np.empty((job.batch_size, *SHAPE), dtype=np.uint8)
    into_labels = np.empty(job.batch_size, dtype=np.int64)

    def epoch(_: int) -> Batches:
        for start in range(0, job.rows, job.batch_size):
            count = min(job.batch_size, job.rows - start)
            np.copyto(into_images[:count], images[start : start + count])
            np.copyto(into_labels[:count], labels[start : start + count])
            yield torch.from_numpy(into_images[:count]), torch.from_numpy(into_labels[:count])

    yield epoch
