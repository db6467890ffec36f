"""The fresh process of one step: prepare a way's form on disk, or measure it once; run as a module with a job's file."""

from __future__ import annotations

import importlib
import json
import sys
from importlib import metadata
from pathlib import Path
from time import perf_counter
from typing import Any, cast

import numpy as np
import torch

from alluxio_lance.bench.data import SHAPE, Rows
from alluxio_lance.bench.job import Epochs, Job, Way
from alluxio_lance.bench.ways import WAYS
from alluxio_lance.errors import Corrupt

__all__: list[str] = []


def load(name: str) -> Way:
    """Import a way, and with it the package that it measures."""
    return cast("Way", importlib.import_module(f"alluxio_lance.bench.ways.{name}"))


def versions(name: str) -> dict[str, str]:
    """Return the versions of the packages that this way runs on."""
    packages = ["torch", "numpy", *filter(None, [WAYS[name].distribution])]
    return {package: metadata.version(package) for package in packages}


def check_labels(way: str, epoch: int, rows: int, labels: list[torch.Tensor]) -> None:
    """Compare the labels of an epoch with every label once.

    Raises
    ------
    Corrupt
        When a row is missing or came twice.
    """
    found = np.concatenate([part.numpy() for part in labels]) if labels else np.empty(0, dtype=np.int64)
    if not np.array_equal(np.sort(found), np.arange(rows)):
        different = len(np.unique(found))
        raise Corrupt(
            f"epoch {epoch} of {way} is no permutation of the {rows} rows: {len(found)} came, "
            f"{different} of them different",
            expected=rows,
            found=different,
        )


def check_batch(way: str, images: torch.Tensor, labels: torch.Tensor) -> None:
    """Refuse what is no batch of uint8[B, 3, 64, 64] and int64[B]: ways must not save time by leaving work out.

    Raises
    ------
    Corrupt
        When dtype or shape differ.
    """
    expected = (torch.uint8, torch.int64, SHAPE, len(labels))
    found = (images.dtype, labels.dtype, tuple(images.shape[1:]), len(images))
    if expected != found:
        raise Corrupt(f"{way} delivered {found} instead of {expected}", expected=str(expected), found=str(found))


def timed_epoch(job: Job, number: int, epochs: Epochs) -> dict[str, Any]:
    """Deliver one epoch, taking the time, and check that every row came once, in an order of its own."""
    labels: list[torch.Tensor] = []
    start = perf_counter()
    for batch_images, batch_labels in epochs(number):
        check_batch(job.way, batch_images, batch_labels)
        # Copied, since a loader may use a batch's memory again.
        labels.append(batch_labels.clone())
    seconds = perf_counter() - start
    check_labels(job.way, number, job.rows, labels)
    if WAYS[job.way].shuffle != "none" and np.array_equal(torch.cat(labels).numpy(), job.data.labels()):
        raise Corrupt(
            f"epoch {number} of {job.way} came in the order of the source", expected="shuffled", found="order"
        )
    return {"seconds": seconds, "samples": job.rows}


def check_images(way: str, number: int, rows: Rows, epochs: Epochs) -> None:
    """Deliver one epoch and compare every byte with the source.

    Raises
    ------
    Corrupt
        When an image is not that of its label.
    """
    source, row_of, seen = rows.images(), rows.row_of(), []
    for images, labels in epochs(number):
        if not np.array_equal(images.numpy(), source[row_of[labels.numpy()]]):
            raise Corrupt(f"{way} delivered images that are not those of their labels", expected="source", found=way)
        seen.append(labels.clone())
    check_labels(way, number, rows.count, seen)


def measure(job: Job) -> dict[str, Any]:
    """Open a way and deliver its epochs."""
    way = load(job.way)
    start = perf_counter()
    with way.opened(job) as epochs:
        open_s = perf_counter() - start
        taken = [timed_epoch(job, number, epochs) for number in range(job.epochs)]
        if job.check_images:
            check_images(job.way, job.epochs, job.data, epochs)
    return {"open_s": open_s, "epochs": taken, "versions": versions(job.way)}


def prepare(job: Job) -> dict[str, Any]:
    """Write a way's form on disk."""
    way = load(job.way)
    start = perf_counter()
    way.prepare(job.data, job.folder)
    return {"prepare_s": perf_counter() - start, "versions": versions(job.way)}


if __name__ == "__main__":
    step, job_file, result_file = sys.argv[1:]
    outcome = {"prepare": prepare, "measure": measure}[step](Job.from_json(Path(job_file).read_text()))
    Path(result_file).write_text(json.dumps(outcome))
