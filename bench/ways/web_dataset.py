"""webdataset: tar shards, shuffled by shard and through a buffer of rows, batched in the workers.

As https://webdataset.github.io/webdataset/ shows: ``WebDataset(shards, shardshuffle=…).shuffle(1000).decode().to_tuple()
.batched(n)`` in a ``WebLoader(batch_size=None)``. Its further buffer between the workers is left out, since it costs time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import webdataset as wds

from alluxio_lance.bench.data import Rows
from alluxio_lance.bench.job import Batches, Epochs, Job

__all__ = ["opened", "prepare"]

_SHARDS = 8
_BUFFER = 1000


def prepare(rows: Rows, folder: Path) -> None:
    """Write eight tar shards of .npy images and .cls labels."""
    with wds.ShardWriter(str(folder / "rows-%03d.tar"), maxcount=-(-rows.count // _SHARDS), verbose=0) as writer:
        for number, (image, label) in enumerate(rows):
            writer.write({"__key__": f"{number:08d}", "npy": image, "cls": label})


def stacked(samples: list[tuple[Any, int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Make tensors of the rows of a batch."""
    images, labels = zip(*samples, strict=True)
    return torch.from_numpy(np.stack(images)), torch.tensor(labels)


@contextmanager
def opened(job: Job) -> Iterator[Epochs]:
    """Open the shards in a WebLoader."""
    shards = sorted(str(path) for path in job.folder.glob("rows-*.tar"))
    dataset = (
        wds.WebDataset(shards, shardshuffle=_SHARDS, seed=job.seed)
        .shuffle(_BUFFER)
        .decode()
        .to_tuple("npy", "cls")
        .batched(job.batch_size, collation_fn=stacked)
    )
    loader = wds.WebLoader(dataset, batch_size=None, num_workers=job.workers, persistent_workers=job.workers > 0)

    def epoch(_: int) -> Batches:
        yield from loader

    yield epoch
