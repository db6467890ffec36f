"""Hugging Face datasets: Array3D features saved to disk, read with the torch format through a DataLoader.

As https://huggingface.co/docs/datasets/use_with_pytorch says: "you must explicitly use the Array feature type and
specify the shape of your tensors", ``with_format("torch")``, a map-style dataset in a plain DataLoader. The format makes
int64 of all integers unless it is told otherwise, so it is told uint8 for the images and leaves the labels as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import datasets
import torch
from torch.utils.data import DataLoader

from alluxio_lance.bench.data import SHAPE, Rows
from alluxio_lance.bench.job import Epochs, Job

__all__ = ["opened", "prepare"]


def prepare(rows: Rows, folder: Path) -> None:
    """Write the rows with `Dataset.save_to_disk`."""
    features = datasets.Features(
        {"image": datasets.Array3D(shape=SHAPE, dtype="uint8"), "label": datasets.Value("int64")}
    )

    def examples() -> Iterator[dict[str, Any]]:
        for image, label in rows:
            yield {"image": image, "label": label}

    made = datasets.Dataset.from_generator(examples, features=features, cache_dir=str(folder / "cache"))
    made.save_to_disk(str(folder / "saved"))
    made.cleanup_cache_files()


@contextmanager
def opened(job: Job) -> Iterator[Epochs]:
    """Open a plain DataLoader over the saved dataset."""
    saved = datasets.load_from_disk(str(job.folder / "saved"))
    loader = DataLoader(
        saved.with_format("torch", columns=["image"], output_all_columns=True, dtype=torch.uint8),
        batch_size=job.batch_size,
        shuffle=True,
        num_workers=job.workers,
        persistent_workers=job.workers > 0,
        generator=torch.Generator().manual_seed(job.seed),
    )
    yield lambda _: ((batch["image"], batch["label"]) for batch in loader)
