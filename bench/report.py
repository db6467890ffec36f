"""The table on the screen: one block for each number of workers, ways without a number below, and what it does not say."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from alluxio_lance.bench.results import Line, Results, Spread

__all__ = ["print_report", "table"]


def print_report(results: Results, console: Console) -> None:
    """Print everything that a reader needs to judge the numbers."""
    console.print(table(results))
    for way in results.ways:
        if way.state != "measured":
            console.print(f"[bold]{way.title}[/bold] {way.state}: {way.reason}", soft_wrap=True, highlight=False)
    machine = results.machine
    console.print(
        f"\n{machine['cpus']} CPUs ({machine['cpu']}), {machine['memory_bytes'] / 2**30:.0f} GiB, "
        f"{machine['filesystem']}, load {machine['load_average']:.1f} before; {results.seconds:.0f} s in all.",
        highlight=False,
    )
    console.print("What the numbers do not say:")
    for note in results.notes:
        console.print(f" • {note}", highlight=False)


def table(results: Results) -> Table:
    """Lay out the lines: the median of the repetitions, and in brackets the lowest and the highest of them."""
    settings = results.settings
    made = Table(
        title=f"Samples per second, {settings['rows']:,} rows of uint8[3, 64, 64] + label, batch {settings['batch_size']}, "
        f"median [min – max] of {settings['repetitions']} repetitions",
        title_justify="left",
    )
    made.add_column("way")
    made.add_column("workers", justify="right")
    made.add_column("shuffle")
    made.add_column("epoch 1", justify="right")
    made.add_column("later epochs", justify="right")
    made.add_column("× np.memmap", justify="right")
    made.add_column("× memcpy", justify="right")
    previous: Line | None = None
    for line in results.lines:
        if previous is not None and previous.workers != line.workers:
            made.add_section()
        way = results.way(line.way)
        made.add_row(
            way.title,
            str(line.workers),
            way.shuffle,
            rates(line.first),
            rates(line.later),
            ratios(line.of_memmap),
            ratios(line.of_memcpy),
        )
        previous = line
    return made


def rates(spread: Spread) -> str:
    """Write samples per second, in thousands."""
    return f"{spread.median / 1e3:,.1f}k [{spread.min / 1e3:,.0f} – {spread.max / 1e3:,.0f}]"


def ratios(spread: Spread) -> str:
    """Write a ratio with enough digits to tell slow ways apart."""
    digits = 2 if spread.median >= 0.1 else 3  # noqa: PLR2004 - below a tenth two digits say nothing
    return f"{spread.median:.{digits}f} [{spread.min:.{digits}f} – {spread.max:.{digits}f}]"
