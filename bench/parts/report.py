"""A part's table for a terminal of 80 columns, and what its numbers do not say."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from alluxio_lance.bench.parts.results import Found, Group, Line
from alluxio_lance.bench.report import ratio, say

__all__ = ["number", "print_found"]


def print_found(found: Found, console: Console) -> None:
    """Print everything that a reader needs to judge the numbers."""
    say(console, f"\n{found.title}; {found.repeated}")
    for group in found.groups:
        say(console, f"\n{group.title}, {group.unit}")
        console.print(table(group))
    machine = found.machine
    say(
        console,
        f"\n{machine['cpus']} CPUs ({machine['cpu']}), {machine['memory_bytes'] / 2**30:.0f} GiB, "
        f"{machine['filesystem']}, load {machine['load_average']:.1f} before; {found.seconds:.0f} s in all.",
    )
    for note in found.notes:
        say(console, f"* {note}")


def table(group: Group) -> Table:
    """Lay out a group."""
    made = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    made.add_column(group.x, overflow="fold")
    for heading in ("median", "range"):
        made.add_column(heading, justify="right", no_wrap=True)
    if group.against:
        made.add_column(f"x {group.against}", justify="right", no_wrap=True)
    for line in group.lines:
        cells = [label(line), number(line.value.median), f"{number(line.value.min)}-{number(line.value.max)}"]
        # Names and ratios have brackets, which are no markup.
        made.add_row(*map(Text, [*cells, *([] if not group.against else [ratio_of(line)])]))
    return made


def label(line: Line) -> str:
    """Name a line, with its place where it has one."""
    return line.name if line.x is None else f"{line.x:,.0f} {line.name}".strip()


def ratio_of(line: Line) -> str:
    """Write a ratio with its range."""
    if line.ratio is None:
        return ""
    return f"{ratio(line.ratio.median)} [{ratio(line.ratio.min)}-{ratio(line.ratio.max)}]"


def number(value: float) -> str:
    """Write a number with the digits that say something."""
    if abs(value) >= 1e6:  # noqa: PLR2004 - from here on in millions
        return f"{value / 1e6:.3g}M"
    if abs(value) >= 100e3:  # noqa: PLR2004 - from here on in thousands
        return f"{value / 1e3:,.0f}k"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"  # noqa: PLR2004 - three digits
