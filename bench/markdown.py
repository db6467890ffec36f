"""The table of ratios as Markdown, for docs/performance.md: ratios only, since absolute numbers belong to one machine."""

from __future__ import annotations

from typing import Final

from alluxio_lance.bench.report import ratio
from alluxio_lance.bench.results import Line, Results, Spread

__all__ = ["as_markdown"]

_RATIOS: Final = ("epoch 1, x np.memmap", "later, x np.memmap", "later, x memcpy")


def as_markdown(results: Results) -> str:
    """Write one table with a row for each way, below it the run's machine and settings, and ways without a number."""
    settings, machine = results.settings, results.machine
    workers = sorted({line.workers for line in results.lines})
    lines = {(line.way, line.workers): line for line in results.lines}
    heads = [f"{number} workers, {what}" for number in workers for what in _RATIOS]
    rows = [["way", "shuffle", *heads], ["---"] * (2 + len(heads))]
    for way in results.ways:
        if way.state == "measured":
            cells = [cell for number in workers for cell in cells_of(lines.get((way.way, number)))]
            rows.append([way.title, way.shuffle, *cells])
    text = [f"| {' | '.join(row)} |" for row in rows]
    text += ["", f"Median [lowest - highest] of {settings['repetitions']} repetitions; "]
    text[-1] += (
        f"{settings['rows']:,} rows, batch {settings['batch_size']}; {machine['cpus']} CPUs ({machine['cpu']}), "
    )
    text[-1] += f"{machine['filesystem']}, load {machine['load_average']:.1f} before the run."
    text += [f"{way.title} {way.state}: {way.reason}" for way in results.ways if way.state != "measured"]
    return "\n".join(text) + "\n"


def cells_of(line: Line | None) -> list[str]:
    """Write the ratios of a line; a way without workers has none."""
    if line is None:
        return [""] * len(_RATIOS)
    return [cell(line.first_of_memmap), cell(line.of_memmap), cell(line.of_memcpy)]


def cell(spread: Spread) -> str:
    """Write a ratio with its range."""
    return f"{ratio(spread.median)} [{ratio(spread.min)} - {ratio(spread.max)}]"
