"""The front of the benchmark: one call that measures, prints tables and writes JSON and plots."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from alluxio_lance.bench.driver import Plan, Step, run_plan
from alluxio_lance.bench.markdown import as_markdown
from alluxio_lance.bench.parts import WAYS
from alluxio_lance.bench.parts import chosen as chosen_parts
from alluxio_lance.bench.parts.running import run_part
from alluxio_lance.bench.peers import default_folder
from alluxio_lance.bench.report import print_report, say
from alluxio_lance.bench.results import Results
from alluxio_lance.bench.service import serving
from alluxio_lance.bench.ways import chosen
from alluxio_lance.errors import InvalidArgument, Unavailable
from alluxio_lance.sizes import read_size

__all__ = ["run", "run_all"]


def run_all(
    *,
    only: Sequence[str] | None = None,
    ways: Sequence[str] | None = None,
    rows: int | None = None,
    batch_size: int = 256,
    workers: Sequence[int] = (0, 2),
    repetitions: int | None = None,
    epochs: int = 3,
    size: str | None = None,
    seed: int = 0,
    quick: bool = False,
    install: bool = True,
    out: Path = Path("bench/results"),
    work: Path | None = None,
    venvs: Path | None = None,
    limit_s: float = 300.0,
    console: Console | None = None,
) -> bool:
    """Measure the table of ways and all other parts, or some of them; each writes its files as soon as it is through.

    Parameters
    ----------
    only
        Names from ``bench/parts``, and ``ways`` for the table of ways; all by default, or the ways alone when ``ways``
        names some.
    size
        Of the model that the part ``models`` measures, as people write it: ``512MiB``, which is the default; 64 MiB when
        ``quick``. All other parameters as of `run`; rows, batch_size, workers and epochs are those of the ways.

    Returns
    -------
    bool
        Whether everything could be measured that should have been.

    Raises
    ------
    InvalidArgument, Unavailable, Internal
        As `run`.
    """
    parts = chosen_parts([WAYS] if only is None and ways is not None else only)
    if ways and WAYS not in parts:
        raise InvalidArgument(
            f"ways are measured by the part {WAYS}, which is not among {', '.join(parts)}: name it, too"
        )
    model_bytes = bytes_of(size)
    plotting()
    console, ok = console or Console(), True
    if WAYS in parts:
        ok = run(
            ways=ways,
            rows=rows,
            batch_size=batch_size,
            workers=workers,
            repetitions=repetitions,
            epochs=epochs,
            seed=seed,
            quick=quick,
            install=install,
            out=out,
            work=work,
            venvs=venvs,
            limit_s=limit_s,
            console=console,
        ).ok
    times = repetitions_of(repetitions, quick)
    if times < 1:
        raise InvalidArgument(f"repetitions is {times}: give at least 1")
    for name in parts:
        if name != WAYS:
            found = run_part(
                name,
                quick=quick,
                repetitions=times,
                seed=seed,
                out=out,
                work=work,
                limit_s=limit_s,
                console=console,
                size=model_bytes,
                install=install,
                venvs=venvs,
            )
            ok = ok and found is not None
    return ok


def bytes_of(size: str | None) -> int | None:
    """Read the size of the model.

    Raises
    ------
    InvalidArgument
        When it is no size.
    """
    try:
        return None if size is None else read_size(size)
    except ValueError as error:
        raise InvalidArgument(f"size is {size!r}: {error}") from error


def repetitions_of(given: int | None, quick: bool) -> int:
    """Return how often everything is measured."""
    return (2 if quick else 5) if given is None else given


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
    """Measure the ways, print their table, and write ``bench.json``, ``bench.md``, ``bench.png`` and ``bench.svg``.

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
        Show that everything works, in a few minutes; not for numbers that are to be believed.
    install
        Make virtual environments for the peers that the project's environment lacks (``bench/peers.txt``).
    out
        The folder for these files; made if it is missing.
    work
        A folder on the disk to be measured, with 4 GB free; by default the system's temporary folder. What is written
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
        What the JSON holds. A way that could not be measured is in it with its state and its reason.

    Raises
    ------
    InvalidArgument
        When an argument makes no run.
    Unavailable
        When matplotlib is missing.
    Internal
        When the ways that all ratios need could not be measured.
    """
    rows = (4096 if quick else 20_000) if rows is None else rows
    repetitions = repetitions_of(repetitions, quick)
    check(rows=rows, batch_size=batch_size, workers=workers, repetitions=repetitions, epochs=epochs)
    names, write_plots = chosen(ways), plotting()
    console = console or Console()
    with tempfile.TemporaryDirectory(prefix="alluxio-lance-bench-", dir=work) as folder:
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
    (out / "bench.md").write_text(as_markdown(results))
    png, svg = write_plots(results, out)
    print_report(results, console)
    say(console, f"\nWritten: {out / 'bench.json'}, {out / 'bench.md'}, {png}, {svg}")
    return results


def check(*, rows: int, batch_size: int, workers: Sequence[int], repetitions: int, epochs: int) -> None:
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


def plotting() -> Callable[[Results, Path], tuple[Path, Path]]:
    """Load what draws, before anything is measured in vain.

    Raises
    ------
    Unavailable
        When matplotlib is missing.
    """
    try:
        from alluxio_lance.bench.plot import write_plots  # noqa: PLC0415 - only the benchmark wants matplotlib
    except ModuleNotFoundError as error:
        raise Unavailable(
            f"the benchmark draws with {error.name}, which is not installed", what="matplotlib"
        ) from error
    return write_plots


def with_progress(plan: Plan, console: Console) -> Results:
    """Run a plan under a progress bar that says what is being done."""
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("start", total=None)

        def show(step: Step) -> None:
            progress.update(task, description=step.what, completed=step.done, total=step.total)

        return run_plan(plan, show)
