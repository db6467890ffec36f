"""What grows with the rows, the workers of a DataLoader, and the readers of one node."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import numpy as np

from alluxio_lance.bench.data import Rows, generate
from alluxio_lance.bench.job import Job
from alluxio_lance.bench.parts.reader import Reading, start
from alluxio_lance.bench.parts.results import Found, Group, Line
from alluxio_lance.bench.parts.rounds import Rounds
from alluxio_lance.bench.parts.rows import register, uri_of
from alluxio_lance.bench.parts.setting import Setting
from alluxio_lance.bench.service import serving
from alluxio_lance.bench.steps import environment, forget_pages, run_step
from alluxio_lance.bench.ways import BASELINE, OURS, WAYS

__all__ = ["measure", "probe"]

_SMALL: Final = 64
"""Bytes of a row where the rows are many."""
_BATCH: Final = 256
_EPOCH_ROWS: Final = 1 << 20
"""An epoch of more rows is cut here: what a row costs is known by then."""
_WORKERS: Final = (0, 1, 2, 4, 8)
_READERS: Final = (1, 2, 4, 8, 16)
_WIDE: Final = 12_288
"""Bytes of a row where workers and readers are many."""


def measure(setting: Setting) -> Found:
    """Measure rows, then workers, then readers."""
    counts = (1_000, 10_000, 100_000) if setting.quick else (10_000, 100_000, 1_000_000, 10_000_000)
    wide = 2048 if setting.quick else 20_000
    workers, readers = (_WORKERS[:3], _READERS[:3]) if setting.quick else (_WORKERS, _READERS)
    rows, loaders, together = Rounds(), Rounds(), Rounds()
    with serving(setting.work / "sidecar") as address:
        for count in counts:
            setting.tell(f"register {count:,} rows")
            register(address, f"rows-{count}", count, _SMALL, setting.seed)
        rows.run(
            {str(count): lambda count=count: setting.fresh("growth", {"rows": count}, address) for count in counts},  # type: ignore[misc]  # mypy cannot infer a lambda's default
            setting.repetitions,
            setting.seed,
            setting.tell,
        )
        source = generate(setting.work / "source", wide, setting.seed)
        _measure_workers(setting, address, source, workers, loaders)
        register(address, "wide", wide, _WIDE, setting.seed)
        together.run(
            {str(count): lambda count=count: _read_together(setting, address, count) for count in readers},  # type: ignore[misc]  # as above
            setting.repetitions,
            setting.seed,
            setting.tell,
        )
    return Found(
        part="growth",
        title="What grows with rows, workers and readers",
        settings={
            **setting.facts(),
            "rows": list(counts),
            "row_bytes": _SMALL,
            "workers": list(workers),
            "readers": list(readers),
            "wide_rows": wide,
            "wide_row_bytes": _WIDE,
            "batch_size": _BATCH,
        },
        groups=(*_of_rows(rows, counts), *_of_workers(loaders, workers), *_of_readers(together, readers)),
        notes=(
            "All rows are hot: loading them from storage, which does grow with their bytes, is in no number here.",
            (
                "The first batch of a shuffled DataLoader includes the permutation of all rows, which torch's sampler "
                "makes as a list; in order there is none."
            ),
            "More workers and readers than processors share them: their rate cannot grow any more.",
        ),
        measurements={"rows": rows.numbers, "workers": loaders.numbers, "readers": together.numbers},
    )


def _of_rows(rounds: Rounds, counts: tuple[int, ...]) -> list[Group]:
    first = str(counts[0])
    titles = {
        "open_ms": ("open a hot version", "milliseconds"),
        "ordered_ms": ("first batch of a DataLoader, in order", "milliseconds"),
        "shuffled_ms": ("first batch of a DataLoader, shuffled", "milliseconds"),
        "row_us": ("an epoch of a DataLoader, shuffled", "microseconds per row"),
    }
    return [
        Group(
            title=title,
            unit=unit,
            x="rows",
            against=f"{counts[0]:,} rows",
            lines=tuple(
                rounds.line(
                    str(count),
                    number,
                    name="",
                    x=count,
                    against=None if str(count) == first else (first, number),
                )
                for count in counts
            ),
        )
        for number, (title, unit) in titles.items()
    ]


def _of_workers(rounds: Rounds, workers: tuple[int, ...]) -> list[Group]:
    lines: list[Line] = []
    for way in (OURS, BASELINE):
        lines += [
            rounds.line(
                f"{way} {count}",
                "rate",
                name=WAYS[way].title,
                x=count,
                against=(f"{BASELINE} {count}", "rate") if way == OURS else None,
            )
            for count in workers
        ]
    unit = "rows per second, later epochs"
    return [Group(title="workers of a DataLoader", unit=unit, x="workers", against="np.memmap", lines=tuple(lines))]


def _of_readers(rounds: Rounds, readers: tuple[int, ...]) -> list[Group]:
    def lines(number: str, name: str) -> tuple[Line, ...]:
        return tuple(
            rounds.line(str(count), number, name=name, x=count, against=None if count == 1 else ("1", number))
            for count in readers
        )

    return [
        Group(
            title="processes that read one version at the same time",
            unit="rows per second, together",
            x="readers",
            against="one reader",
            lines=lines("rate", ""),
        ),
        Group(
            title="how long the last of them took to open it",
            unit="milliseconds",
            x="readers",
            against="one reader",
            lines=lines("open_ms", ""),
        ),
    ]


def probe(task: Mapping[str, Any]) -> dict[str, float]:
    """Open a version and read it once in order and once shuffled."""
    import torch  # noqa: PLC0415 - before the clock starts, and not in the process that only starts others
    from torch.utils.data import DataLoader  # noqa: PLC0415 - as said above

    from alluxio.torch import Dataset  # noqa: PLC0415 - as said above

    begun = perf_counter()
    with Dataset(uri_of(f"rows-{task['rows']}")) as dataset:
        found = {"open_ms": (perf_counter() - begun) * 1e3}
        for name, shuffle in (("ordered_ms", False), ("shuffled_ms", True)):
            generator = torch.Generator().manual_seed(0)
            begun = perf_counter()
            batches = iter(DataLoader(dataset, batch_size=_BATCH, shuffle=shuffle, generator=generator))
            next(batches)
            found[name] = (perf_counter() - begun) * 1e3
        # Of the shuffled one, whose permutation is made by now.
        begun, seen = perf_counter(), 0
        for batch in batches:
            seen += len(batch["label"])
            if seen >= _EPOCH_ROWS:
                break
        found["row_us"] = (perf_counter() - begun) * 1e6 / seen
    return found


def _measure_workers(setting: Setting, address: str, source: Rows, workers: tuple[int, ...], into: Rounds) -> None:
    """Measure our way and np.memmap with the driver's own worker, which checks every epoch."""
    home = setting.work / "home"
    home.mkdir(parents=True, exist_ok=True)
    env = {**environment(home), "ALLUXIO_LANCE_ADDRESS": address}
    jobs: dict[str, Job] = {}
    for way in (OURS, BASELINE):
        job = Job(
            way=way,
            source=source.folder,
            folder=setting.work / "ways" / way,
            rows=source.count,
            batch_size=_BATCH,
            workers=0,
            epochs=3,
            seed=setting.seed,
            check_images=False,
        )
        job.folder.mkdir(parents=True)
        run_step("prepare", job, Path(sys.executable), env=env, limit_s=setting.limit_s)
        jobs |= {f"{way} {count}": replace(job, workers=count) for count in workers}

    def rate(job: Job) -> dict[str, float]:
        forget_pages(job.folder)
        outcome = run_step("measure", job, Path(sys.executable), env=env, limit_s=setting.limit_s)
        return {"rate": float(np.median([epoch["samples"] / epoch["seconds"] for epoch in outcome["epochs"][1:]]))}

    into.run(
        {name: lambda job=job: rate(job) for name, job in jobs.items()},  # type: ignore[misc]  # mypy cannot infer a lambda's default
        setting.repetitions,
        setting.seed,
        setting.tell,
    )


def _read_together(setting: Setting, address: str, count: int) -> dict[str, float]:
    """Let processes open the version, wait for each other, and read an epoch at the same time."""
    with ExitStack() as keep:
        processes: list[subprocess.Popen[str]] = [
            keep.enter_context(start(address, uri_of("wide"), _BATCH, setting.seed + number)) for number in range(count)
        ]
        found: list[Reading] = [Reading.of(process, setting.limit_s) for process in processes]
        for each in found:
            each.go()
        spans = [each.finished() for each in found]
    seconds = max(span["end"] for span in spans) - min(span["begin"] for span in spans)
    return {
        "rate": sum(span["rows"] for span in spans) / seconds,
        "open_ms": max(span["open_ms"] for span in spans),
    }
