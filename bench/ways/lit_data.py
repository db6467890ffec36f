"""litdata: optimized chunks of 64 MB on the local disk, read by its own dataset and loader.

As https://github.com/Lightning-AI/litdata shows: ``optimize(fn, inputs, output_dir, chunk_bytes="64MB")``, then
``StreamingDataset(…, shuffle=True)`` in a ``StreamingDataLoader``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from litdata import StreamingDataLoader, StreamingDataset, optimize

from alluxio_lance.bench.data import Rows
from alluxio_lance.bench.job import Epochs, Job

__all__ = ["opened", "prepare"]


def row(index: int, rows: Rows) -> dict[str, Any]:
    """Read one row of the source."""
    return {"image": rows.images()[index].copy(), "label": int(rows.labels()[index])}


def prepare(rows: Rows, folder: Path) -> None:
    """Write chunks of 64 MB."""
    optimize(
        fn=partial(row, rows=rows),
        inputs=list(range(rows.count)),
        output_dir=str(folder / "chunks"),
        chunk_bytes="64MB",
        num_workers=1,
    )


@contextmanager
def opened(job: Job) -> Iterator[Epochs]:
    """Open the chunks in its own DataLoader."""
    dataset = StreamingDataset(str(job.folder / "chunks"), shuffle=True, seed=job.seed, drop_last=False)
    loader = StreamingDataLoader(
        dataset, batch_size=job.batch_size, num_workers=job.workers, persistent_workers=job.workers > 0
    )
    yield lambda _: ((batch["image"], batch["label"]) for batch in loader)
