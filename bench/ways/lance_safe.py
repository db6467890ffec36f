"""Lance's map-style dataset for torch: shuffled rows, taken from the table a batch at a time.

`lance.torch.data.SafeLanceDataset` in `get_safe_loader` (https://lance.org/integrations/pytorch/) hands rows out as Python
objects, so the images are stored as binary, as in Lance's own examples with images, and a collate function makes tensors of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import torch
from lance.torch.data import SafeLanceDataset, get_safe_loader
from torch.utils.data import DataLoader

from alluxio_lance.bench.data import SHAPE, Rows
from alluxio_lance.bench.job import Epochs, Job
from alluxio_lance.bench.ways.lance_torch import batches_of_8_mib

__all__ = ["opened", "prepare"]


def as_binary(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> pa.Array:
    """Make one binary value of each image."""
    return pa.array([image.tobytes() for image in pixels], type=pa.binary())


def collate(rows: list[dict[str, Any]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Join the images of a batch with one copy."""
    images = torch.frombuffer(bytearray().join(row["image"] for row in rows), dtype=torch.uint8)
    return images.reshape(len(rows), *SHAPE), torch.tensor([row["label"] for row in rows])


def prepare(rows: Rows, folder: Path) -> None:
    """Write one Lance table with a binary column."""
    schema = pa.schema({"image": pa.binary(), "label": pa.int64()})
    reader = pa.RecordBatchReader.from_batches(schema, batches_of_8_mib(rows, as_binary))
    lance.write_dataset(reader, str(folder / "rows.lance"))


@contextmanager
def opened(job: Job) -> Iterator[Epochs]:
    """Open Lance's safe loader; without workers the same dataset in a plain DataLoader."""
    dataset = SafeLanceDataset(str(job.folder / "rows.lance"))  # type: ignore[no-untyped-call]  # Lance gives it no types
    options: dict[str, Any] = {
        "batch_size": job.batch_size,
        "shuffle": True,
        "collate_fn": collate,
        "generator": torch.Generator().manual_seed(job.seed),
    }
    if job.workers:
        loader: DataLoader[Any] = get_safe_loader(dataset, num_workers=job.workers, **options)  # type: ignore[no-untyped-call]  # Lance gives it no types
    else:
        loader = DataLoader(dataset, **options)
    yield lambda _: iter(loader)
