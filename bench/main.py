"""The front of the benchmark: one call that measures, prints the table and writes JSON and plots."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from alluxio_lance.bench.driver import Plan, Step, run_plan
from alluxio_lance.bench.peers import default_folder
from alluxio_lance.bench.report import print_report
from alluxio_lance.bench.results import Results
from alluxio_lance.bench.service import serving
from alluxio_lance.bench.ways import OURS, WAYS, chosen
from alluxio_lance.errors import AlluxioLanceError, InvalidArgument, Unavailable

__all__ = ["main", "run"]

_MICRO = Path(__file__).resolve().parent / "micro"


def run(
    *,
    ways: Sequence[str] | None = None,
    rows: int | None = None,
    batch_size: int = 256,
    workers: Sequence[int] = (0, 2),
    repetitions: int | None = None,
    epochs: int = 3,
    seed: int = 0,
    quick: bool = False,
    install: bool = True,
    out: Path = Path("bench/results"),
    work: Path | None = None,
    venvs: Path | None = None,
    limit_s: float = 300.0,
    console: Console | None = None,
) -> Results:
    """Measure, print the table, and write ``bench.json``, ``bench.png`` and ``bench.svg``.

    Parameters
    ----------
    ways
        Names from the table in ``bench/ways``; all by default. np.memmap and memcpy are always among them.
    rows
        20,000 by default, 4,096 when ``quick``; 12 KiB each.
    workers
        The numbers of DataLoader workers to measure with.
    repetitions
        How often each way is measured, in a fresh process each time; 5 by default, 2 when ``quick``.
    epochs
        In each repetition, at least 2.
    quick
        Show that everything works, in one or two minutes; not for numbers that are to be believed.
    install
        Make virtual environments for peers that the project's environment lacks (``bench/peers.txt``).
    out
        The folder for the three files; made if it is missing.
    work
        The folder whose disk is measured, about 3 GB free; by default the system's temporary folder. What is written
        there is removed at the end.
    venvs
        Where the peers' environments lie and stay; ``bench/.venvs`` in a checkout by default.
    limit_s
        Seconds after which one measurement counts as failed.
    console
        Where to print; standard output by default.

    Returns
    -------
    Results
        What the JSON holds. A peer that could not be measured is in it with its reason.

    Raises
    ------
    InvalidArgument
        When an argument makes no run.
    Unavailable
        When matplotlib is missing.
    Internal
        When the ways that all ratios need could not be measured.
    """
    rows = rows or (4096 if quick else 20_000)
    repetitions = repetitions or (2 if quick else 5)
    check(rows, batch_size, workers, repetitions, epochs)
    names = chosen(list(ways) if ways is not None else None)
    plots = plotting()
    console = console or Console()
    with tempfile.TemporaryDirectory(prefix="alluxio-lance-bench-", dir=work, ignore_cleanup_errors=True) as folder:
        plan = Plan(
            ways=names,
            rows=rows,
            batch_size=batch_size,
            workers=tuple(workers),
            repetitions=repetitions,
            epochs=epochs,
            seed=seed,
            work=Path(folder),
            venvs=venvs or default_folder(),
            install=install,
            limit_s=limit_s,
            sidecar=serving,
        )
        results = with_progress(plan, console)
    out.mkdir(parents=True, exist_ok=True)
    results.write_json(out / "bench.json")
    png, svg = plots(results, out)
    print_report(results, console)
    console.print(f"\nWritten: {out / 'bench.json'}, {png}, {svg}", highlight=False, soft_wrap=True)
    return results


def check(rows: int, batch_size: int, workers: Sequence[int], repetitions: int, epochs: int) -> None:
    """Refuse what makes no run.

    Raises
    ------
    InvalidArgument
        With the argument and the least that it can be.
    """
    least = {"rows": (rows, 2), "batch_size": (batch_size, 1), "repetitions": (repetitions, 1), "epochs": (epochs, 2)}
    for name, (value, minimum) in least.items():
        if value < minimum:
            raise InvalidArgument(f"{name} is {value}: give at least {minimum}")
    if not workers or min(workers) < 0 or len(set(workers)) != len(workers):
        raise InvalidArgument(f"workers is {list(workers)}: give different numbers, 0 or more")


def plotting() -> "Plots":
    """Load what draws, before anything is measured for an hour in vain.

    Raises
    ------
    Unavailable
        When matplotlib is missing.
    """
    try:
        from alluxio_lance.bench.plot import write_plots  # noqa: PLC0415 - matplotlib is wanted by the benchmark alone
    except ModuleNotFoundError as error:
        raise Unavailable(f"the benchmark draws with {error.name}, which is not installed: install matplotlib") from error
    return write_plots
