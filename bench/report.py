"""The tables on the screen, one for each number of workers; ways without a number; and what the numbers do not say."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from alluxio_lance.bench.results import Results
from alluxio_lance.bench.ways import SHUFFLES

__all__ = ["print_report", "say", "table"]


def print_report(results: Results, console: Console) -> None:
    """Print everything that a reader needs to judge the numbers."""
    settings, machine = results.settings, results.machine
    say(
        console,
        f"Samples per second: {settings['rows']:,} rows of uint8[3, 64, 64] + label, batch {settings['batch_size']}, "
        f"shuffled; median and range of {settings['repetitions']} repetitions",
    )
    for workers in sorted({line.workers for line in results.lines}):
        console.print(table(results, workers))
    for way in results.ways:
        if way.state != "measured":
            say(console, f"\n{way.title} {way.state}: {way.reason}")
    say(
        console,
        f"\n{machine['cpus']} CPUs ({machine['cpu']}), {machine['memory_bytes'] / 2**30:.0f} GiB, "
        f"{machine['filesystem']}, load {machine['load_average']:.1f} before; {results.seconds:.0f} s in all.\n",
    )
    shuffles = {results.way(line.way).shuffle for line in results.lines}
    for name, meaning in SHUFFLES.items():
        if name in shuffles:
            say(console, f"shuffle {name}: {meaning}")
    say(console, "\nWhat the numbers do not say:")
    for note in results.notes:
        say(console, f"* {note}")


def say(console: Console, text: str) -> None:
    """Print a text as it is, for the terminal to wrap: reasons and paths may hold what looks like markup."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def table(results: Results, workers: int) -> Table:
    """Lay out the lines with one number of workers, in 80 columns; rates are in thousands of samples per second."""
    made = Table(box=None, title=f"\nnum_workers={workers}", title_justify="left", padding=(0, 2, 0, 0), pad_edge=False)
    made.add_column("way", no_wrap=True)
    made.add_column("shuffle", no_wrap=True)
    for heading in ("epoch 1", "later", "range", "x memmap", "x memcpy"):
        made.add_column(heading, justify="right", no_wrap=True)
    for line in results.lines:
        if line.workers == workers:
            way = results.way(line.way)
            made.add_row(
                way.title,
                way.shuffle,
                f"{thousands(line.first.median)}k",
                f"{thousands(line.later.median)}k",
                f"{thousands(line.later.min)}-{thousands(line.later.max)}",
                ratio(line.of_memmap.median),
                ratio(line.of_memcpy.median),
            )
    return made


def thousands(rate: float) -> str:
    """Write samples per second in thousands, without digits that the spread makes meaningless."""
    return f"{rate / 1e3:.1f}" if rate < 100e3 else f"{rate / 1e3:,.0f}"  # noqa: PLR2004 - three or four digits


def ratio(value: float) -> str:
    """Write a ratio with two digits that say something."""
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"  # noqa: PLR2004 - below a tenth two digits say nothing
