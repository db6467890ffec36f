"""The command bench: samples per second beside the peers, and what else is measured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Context, Exit, Option

from alluxio_lance.cli.session import session_of

__all__ = ["bench"]


def bench(
    context: Context,
    only: Annotated[
        list[str] | None,
        Option(
            "--only",
            metavar="PART",
            help="Only this part: ways, limit, growth, larger, memory, switching, models, lifecycle, tf, jpeg; repeat it.",
            show_default=False,
        ),
    ] = None,
    way: Annotated[
        list[str] | None,
        Option(
            "--way", metavar="NAME", help="Only this way and what it is measured by; repeat it.", show_default=False
        ),
    ] = None,
    quick: Annotated[bool, Option("--quick", help="Show that it works, with less of everything.")] = False,
    rows: Annotated[
        int | None,
        Option("--rows", help="Of the ways: 20,000 by default, 4,096 with --quick; 12 KiB each.", show_default=False),
    ] = None,
    batch_size: Annotated[int, Option("--batch-size", help="Rows of a batch of the ways.")] = 256,
    workers: Annotated[
        list[int] | None,
        Option("--workers", help="DataLoader workers of the ways; repeat it. 0 and 2 by default.", show_default=False),
    ] = None,
    repetitions: Annotated[
        int | None, Option("--repetitions", help="5 by default, 2 with --quick.", show_default=False)
    ] = None,
    epochs: Annotated[int, Option("--epochs", help="Epochs of the ways in each repetition.")] = 3,
    size: Annotated[
        str | None,
        Option("--size", help="Of the model: 512MiB by default, 64MiB with --quick.", show_default=False),
    ] = None,
    seed: Annotated[int, Option("--seed", help="Of the order of rows.")] = 0,
    no_install: Annotated[bool, Option("--no-install", help="Leave out peers that are not installed.")] = False,
    out: Annotated[Path, Option("--out", metavar="DIR", help="For the table and the plots.")] = Path("bench/results"),
    work: Annotated[
        Path | None, Option("--work", metavar="DIR", help="On the disk to be measured; 4 GB.", show_default=False)
    ] = None,
) -> None:
    """Measure samples per second beside the peers, and growth, limits and costs: tables, JSON, plots.

    Exit code 1 when alluxio-lance has no number, when a way broke or delivered wrong rows, or a part failed.
    """
    from alluxio_lance.bench.main import run_all  # noqa: PLC0415 - the benchmark loads only when it runs

    ok = run_all(
        only=only,
        ways=way,
        rows=rows,
        batch_size=batch_size,
        workers=workers or (0, 2),
        repetitions=repetitions,
        epochs=epochs,
        size=size,
        seed=seed,
        quick=quick,
        install=not no_install,
        out=out,
        work=work,
        console=session_of(context).out,
    )
    if not ok:
        raise Exit(1)
