"""MosaicML streaming: MDS shards on the local disk, read by its own dataset and loader.

As https://docs.mosaicml.com/projects/streaming/en/stable/getting_started/quick_start.html: ``MDSWriter``, then
``StreamingDataset(local=…, shuffle=True, batch_size=…)`` in a loader with the same batch size. Without compression.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streaming import MDSWriter, StreamingDataLoader, StreamingDataset

from alluxio_lance.bench.data import SHAPE, Rows
from alluxio_lance.bench.job import Epochs, Job

__all__ = ["opened", "prepare"]


def prepare(rows: Rows, folder: Path) -> None:
    """Write MDS shards of arrays of fixed shape and integers."""
    shape = ",".join(str(side) for side in SHAPE)
    columns = {"image": f"ndarray:uint8:{shape}", "label": "int"}
    with MDSWriter(out=str(folder / "mds"), columns=columns) as writer:
        for image, label in rows:
            writer.write({"image": image, "label": label})


@contextmanager
def opened(job: Job) -> Iterator[Epochs]:
    """Open the shards in its own DataLoader."""
    dataset = StreamingDataset(
        local=str(job.folder / "mds"), shuffle=True, shuffle_seed=job.seed, batch_size=job.batch_size
    )
    loader = StreamingDataLoader(
        dataset, batch_size=job.batch_size, num_workers=job.workers, persistent_workers=job.workers > 0
    )
    yield lambda _: ((batch["image"], batch["label"]) for batch in loader)
