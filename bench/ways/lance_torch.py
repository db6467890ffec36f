"""Lance's iterable dataset for torch: whole batches in a random order, read by Lance itself.

`lance.torch.data.LanceDataset` (https://lance.org/integrations/pytorch/) cannot shuffle rows; its `ShardedBatchSampler`
with ``randomize=True`` is the strongest shuffle that it offers. The sampler is given to every worker alike, so the
one here asks the worker for its number first; workers are spawned, since Lance warns against fork.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lance
import lance.torch.data
import numpy as np
import pyarrow as pa
from lance.sampler import Sampler, ShardedBatchSampler
from torch.utils.data import DataLoader, get_worker_info

from alluxio_lance.bench.data import ROW_BYTES, SHAPE, Rows
from alluxio_lance.bench.job import Epochs, Job

__all__ = ["batches_of_8_mib", "opened", "prepare"]

_WRITTEN_AT_ONCE = (8 << 20) // ROW_BYTES


class BatchesOfThisWorker(Sampler):
    """Deal batches to the workers and put them in another order in every epoch."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __call__(self, ds: Any, *args: Any, **options: Any) -> Any:
        worker = get_worker_info()
        rank, world_size = (worker.id, worker.num_workers) if worker else (0, 1)
        self.seed += 1
        return ShardedBatchSampler(rank, world_size, randomize=True, seed=self.seed)(ds, *args, **options)


def batches_of_8_mib(rows: Rows, images: Any) -> Iterator[pa.RecordBatch]:
    """Cut the rows into record batches of the size that Lance reads fastest; ``images`` makes the image column."""
    pixels, labels = rows.images(), rows.labels()
    for start in range(0, rows.count, _WRITTEN_AT_ONCE):
        part = slice(start, min(start + _WRITTEN_AT_ONCE, rows.count))
        yield pa.record_batch({"image": images(pixels[part]), "label": pa.array(labels[part])})


def as_tensors(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> pa.Array:
    """Make Arrow tensors of fixed shape of a block of images."""
    return pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(pixels))


def prepare(rows: Rows, folder: Path) -> None:
    """Write one Lance table with a tensor column."""
    schema = pa.schema({"image": pa.fixed_shape_tensor(pa.uint8(), SHAPE), "label": pa.int64()})
    reader = pa.RecordBatchReader.from_batches(schema, batches_of_8_mib(rows, as_tensors))
    lance.write_dataset(reader, str(folder / "rows.lance"))


@contextmanager
def opened(job: Job) -> Iterator[Epochs]:
    """Open Lance's dataset in a DataLoader without a batch size of its own, as its batches are whole."""
    dataset = lance.torch.data.LanceDataset(
        str(job.folder / "rows.lance"),
        batch_size=job.batch_size,
        columns=["image", "label"],
        sampler=BatchesOfThisWorker(job.seed),
    )
    loader: DataLoader[Any] = DataLoader(
        dataset,
        batch_size=None,
        num_workers=job.workers,
        persistent_workers=job.workers > 0,
        multiprocessing_context="spawn" if job.workers else None,
    )
    yield lambda _: ((batch["image"].view(-1, *SHAPE), batch["label"]) for batch in loader)
