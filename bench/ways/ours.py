"""alluxio-lance: the dataset is registered and hot, and read through a plain DataLoader.

The ten lines of the README: ``alluxio.torch.Dataset(uri)`` in ``DataLoader(batch_size=…, shuffle=True)``. To prepare means
to register the rows and to open them once, which waits until the sidecar holds them in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch.utils.data import DataLoader

from alluxio.torch import Dataset
from alluxio_lance import ResourceManager
from alluxio_lance.bench.data import ROW_BYTES, SHAPE, Rows
from alluxio_lance.bench.job import Epochs, Job

__all__ = ["URI", "opened", "prepare"]

URI = "alluxio://datasets/bench"
_BLOCK = (8 << 20) // ROW_BYTES


def batches(rows: Rows) -> Iterator[pa.RecordBatch]:
    """Cut the rows into record batches of tensors and labels."""
    images, labels = rows.images(), rows.labels()
    for start in range(0, rows.count, _BLOCK):
        part = slice(start, min(start + _BLOCK, rows.count))
        tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(images[part]))
        yield pa.record_batch({"image": tensors, "label": pa.array(labels[part])})


def prepare(rows: Rows, folder: Path) -> None:  # noqa: ARG001 - the sidecar has a folder of its own
    """Register the rows with the sidecar that `ALLUXIO_LANCE_ADDRESS` names, and wait until they are hot."""
    schema = pa.schema({"image": pa.fixed_shape_tensor(pa.uint8(), SHAPE), "label": pa.int64()})
    with ResourceManager.connect() as manager:
        manager.register_resource("datasets", "bench", pa.RecordBatchReader.from_batches(schema, batches(rows)))
    with Dataset(URI, columns=["image", "label"]):
        pass


@contextmanager
def opened(job: Job) -> Iterator[Epochs]:
    """Open the active version in a plain DataLoader."""
    with Dataset(URI, columns=["image", "label"]) as dataset:
        loader = DataLoader(
            dataset,
            batch_size=job.batch_size,
            shuffle=True,
            num_workers=job.workers,
            persistent_workers=job.workers > 0,
            generator=torch.Generator().manual_seed(job.seed),
        )
        yield lambda _: ((batch["image"], batch["label"]) for batch in loader)
