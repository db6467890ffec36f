"""What workers cost in memory: the proportional set size (PSS) of all processes that read one data set, by their number.

PSS counts a page that n processes map as 1/n of a page in each, so its sum over the processes is what they take together
(https://docs.kernel.org/filesystems/proc.html). It comes in kinds: shared memory has the data and the arenas of ours, files
the data of np.memmap (and libraries), anonymous memory the rows of a list, and with any data the heap of each process.

Run as a module it prints JSON, and draws a plot beside it where a folder is named::

    python -m alluxio_lance.bench.memory --rows 40000 --plot .
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch.utils.data import DataLoader, Dataset

from alluxio_lance.bench.data import ROW_BYTES, Rows, generate
from alluxio_lance.bench.job import Epochs, Job
from alluxio_lance.bench.machine import describe
from alluxio_lance.bench.service import serving
from alluxio_lance.bench.steps import environment, run_fresh
from alluxio_lance.bench.ways import memmap, ours

__all__ = ["draw", "measure"]

_OURS: Final = "ours"
_KINDS: Final = {"pss": "Pss", "anonymous": "Pss_Anon", "file": "Pss_File", "shared": "Pss_Shmem"}
_LIMIT_S: Final = 900.0


class _Rows(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """A list of tensors, one for each row, as tutorials make it."""

    def __init__(self, rows: Rows) -> None:
        images, labels = rows.images(), rows.labels()
        self.rows = [(torch.tensor(image), torch.tensor(label)) for image, label in zip(images, labels, strict=True)]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.rows[index]


@contextmanager
def _list_of_tensors(job: Job) -> Iterator[Epochs]:
    loader: DataLoader[Any] = DataLoader(
        _Rows(job.data),
        batch_size=job.batch_size,
        shuffle=True,
        num_workers=job.workers,
        persistent_workers=job.workers > 0,
        generator=torch.Generator().manual_seed(job.seed),
    )
    yield lambda _: iter(loader)


_WAYS: Final[Mapping[str, tuple[str, Callable[[Job], AbstractContextManager[Epochs]]]]] = {
    _OURS: ("alluxio-lance", ours.opened),
    "memmap": ("np.memmap, batches", memmap.opened),
    "list": ("list of tensors", _list_of_tensors),
}


def measure(
    work: Path,
    *,
    rows: int = 40_000,
    workers: Sequence[int] = (0, 1, 2, 4, 8, 16),
    batch_size: int = 64,
    on_step: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Measure all ways with each number of workers, each in fresh processes.

    Parameters
    ----------
    work
        An empty folder; twice the data goes there.
    rows
        Of 12,288 bytes each.
    workers
        Numbers of workers, from the lowest to the highest.
    on_step
        Told what is being done.

    Returns
    -------
    dict
        ``data_bytes``; ``points``, one for each way and number of workers: ``pss`` and its parts ``anonymous``, ``file``
        and ``shared`` in bytes, over the consumer, its workers, and for ours the sidecar, of which ``program`` are the
        pages of files; ``growth``: for each way and each of these parts what an added worker costs by the least squares
        line, in percent of the data, without ``program``; ``machine``.
    """
    on_step(f"make {rows} rows")
    source = generate(work / "source", rows)
    env = environment(work / "home")
    points: list[dict[str, Any]] = []
    # What its disk tier would write is no memory.
    with serving(work / "sidecar", ("--disk-budget", "0")) as address:
        env["ALLUXIO_LANCE_ADDRESS"] = address
        # Where the ways find their data: ours in the sidecar, memmap in the files that were made.
        previous = os.environ.get("ALLUXIO_LANCE_ADDRESS")
        os.environ["ALLUXIO_LANCE_ADDRESS"] = address
        try:
            ours.prepare(source, work)
        finally:
            os.environ.pop("ALLUXIO_LANCE_ADDRESS")
            if previous is not None:
                os.environ["ALLUXIO_LANCE_ADDRESS"] = previous
        for number in workers:
            for way in _WAYS:
                on_step(f"{way}, {number} workers")
                task = json.dumps(
                    {
                        "way": way,
                        "folder": str(source.folder),
                        "rows": rows,
                        "batch_size": batch_size,
                        "workers": number,
                    }
                )
                found = run_fresh(
                    ["alluxio_lance.bench.memory"], task, env=env, limit_s=_LIMIT_S, what="measure", of=way
                )
                points.append({"way": way, "workers": number, **found})
    data = rows * ROW_BYTES
    return {
        "data_bytes": data,
        "points": points,
        "growth": {way: _growth(points, way, data) for way in _WAYS},
        "machine": describe(work),
    }


def _growth(points: Sequence[Mapping[str, Any]], way: str, data: int) -> dict[str, float]:
    # Not from 0 workers on: the first one brings what is no matter of their number, such as a queue's imports.
    found = [point for point in points if point["way"] == way and point["workers"]]
    if len(found) < 2:  # noqa: PLR2004 - a line needs two points
        return dict.fromkeys(_KINDS, float("nan"))
    numbers = [point["workers"] for point in found]
    sizes = {
        # The kernel takes back what a long-lived program has not used for a while, which says nothing of the workers.
        kind: [point[kind] - (point["program"] if kind in ("pss", "file") else 0) for point in found]
        for kind in _KINDS
    }
    return {kind: 100 * float(np.polyfit(numbers, sizes[kind], 1)[0]) / data for kind in _KINDS}


# -- in the fresh process ----------------------------------------------------------------------------------------------


def _read(task: Mapping[str, Any]) -> dict[str, int]:
    """Read two epochs, and add up the memory while everybody is still there."""
    folder = Path(task["folder"])
    job = Job(
        way=task["way"],
        source=folder,
        folder=folder,
        rows=task["rows"],
        batch_size=task["batch_size"],
        workers=task["workers"],
        epochs=2,
        seed=0,
        check_images=False,
    )
    with _WAYS[job.way][1](job) as epochs:
        for number in range(job.epochs):
            for images, labels in epochs(number):
                assert len(images) == len(labels)
        del images, labels
        gc.collect()
        consumer = psutil.Process()
        processes = [consumer.pid, *(child.pid for child in consumer.children(recursive=True))]
        sidecar = _together(_sidecar(job.way))
        found = _together(processes)
        return {**{kind: found[kind] + sidecar[kind] for kind in _KINDS}, "program": sidecar["file"]}


def _sidecar(way: str) -> list[int]:
    """Give the process that shares the data's pages with the consumer, which has its part of them."""
    if way != _OURS:
        return []
    from alluxio_lance.client.cache import RemoteCache  # noqa: PLC0415 - gRPC comes after the fork of the workers

    with RemoteCache.connect() as cache:
        return [cache.statistics().pid]


def _together(processes: Sequence[int]) -> dict[str, int]:
    total = dict.fromkeys(_KINDS, 0)
    for process in processes:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        sizes = {line.split(":")[0]: int(line.split()[1]) << 10 for line in lines if line.endswith("kB")}
        for kind, name in _KINDS.items():
            total[kind] += sizes[name]
    return total


# -- the plot ----------------------------------------------------------------------------------------------------------


def draw(result: Mapping[str, Any], path: Path) -> None:
    """Draw the memory of all processes together over the number of workers, in times of the data."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for way, (title, _) in _WAYS.items():
        found = [(point["workers"], point["pss"]) for point in result["points"] if point["way"] == way]
        numbers, sizes = zip(*found, strict=True)
        color = "#0f766e" if way == _OURS else "#7b8794"
        axes.plot(numbers, [size / result["data_bytes"] for size in sizes], "o-", color=color, markersize=5)
        axes.annotate(
            title,
            (numbers[-1], sizes[-1] / result["data_bytes"]),
            xytext=(8, -3),
            textcoords="offset points",
            fontsize=9,
            color=color,
        )
    axes.axhline(1, color="#1f2933", linestyle=":", linewidth=1)
    axes.set_xticks(sorted({point["workers"] for point in result["points"]}))
    axes.set_xlabel("workers")
    axes.set_ylabel("PSS of all processes, in times of the data (dotted: once)", fontsize=9)
    axes.set_ylim(bottom=0)
    axes.margins(x=0.02)
    axes.grid(axis="y", color="#e4e7eb")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"Memory of a DataLoader over {result['data_bytes'] / 1e6:,.0f} MB, shuffled", fontsize=11)
    figure.savefig(path, dpi=150, bbox_inches="tight")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure the memory of DataLoader workers; prints JSON.")
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2, 4, 8, 16])
    parser.add_argument("--plot", type=Path, help="a folder for memory.png")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="alluxio-lance-memory-") as folder:
        result = measure(
            Path(folder),
            rows=given.rows,
            workers=sorted(given.workers),
            on_step=lambda what: print(what, file=sys.stderr),
        )
    if given.plot is not None:
        draw(result, given.plot / "memory.png")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1].endswith(".json"):  # noqa: PLR2004 - the files of a task and of its result
        Path(sys.argv[2]).write_text(json.dumps(_read(json.loads(Path(sys.argv[1]).read_text()))))
    else:
        main()
