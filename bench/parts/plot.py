"""A part's plot: a panel for each group, points with whiskers from the lowest to the highest repetition."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from alluxio_lance.bench.parts.report import number
from alluxio_lance.bench.parts.results import Found, Group, Line

__all__ = ["draw", "write_plot"]

_OTHERS, _OURS, _TEXT = "#7b8794", "#0f766e", "#1f2933"
_ONE_COLUMN = 4
_LEAST_HALF = 2.5
_PALETTE = ("#0f766e", "#b45309", "#4338ca", "#7b8794")


def write_plot(found: Found, folder: Path) -> Path:
    """Write ``PART.png`` into a folder and return its path."""
    path = folder / f"{found.part}.png"
    draw(found).savefig(path, dpi=150, bbox_inches="tight")
    return path


def draw(found: Found) -> Figure:
    """Draw all groups, in two columns when they are many."""
    columns = 1 if len(found.groups) <= _ONE_COLUMN else 2
    rows = -(-len(found.groups) // columns)
    heights = [
        max(2.6 if group.x else 1.2 + 0.34 * len(group.lines) for group in found.groups[row * columns :][:columns])
        for row in range(rows)
    ]
    figure = Figure(figsize=(9 if columns == 1 else 12, 1.0 + sum(heights)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False, height_ratios=heights).ravel()
    for axes, group in zip(panels, found.groups, strict=False):
        (along if group.x else beside)(axes, group)
        axes.set_title(group.title, loc="left", fontsize=10, color=_TEXT)
        axes.grid(axis="both", which="major", color="#e4e7eb")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[len(found.groups) :]:
        axes.remove()
    figure.suptitle(
        f"{found.title}\n{found.repeated}, {found.machine['cpus']} CPUs: read ratios",
        fontsize=11,
        color=_TEXT,
    )
    return figure


def whiskers(line: Line) -> list[list[float]]:
    """Return the distances from the median to the lowest and to the highest repetition."""
    return [[line.value.median - line.value.min], [line.value.max - line.value.median]]


def along(axes: Any, group: Group) -> None:
    """Draw lines over what they grow along; both axes are logarithmic, but for few workers."""
    names = list(dict.fromkeys(line.name for line in group.lines))
    for color, name in zip(_PALETTE, names, strict=False):
        lines = [line for line in group.lines if line.name == name]
        places = [line.x or 0.0 for line in lines]
        errors = [[whiskers(line)[side][0] for line in lines] for side in (0, 1)]
        medians = [line.value.median for line in lines]
        axes.errorbar(places, medians, yerr=errors, fmt="o-", markersize=5, capsize=3, color=color, label=name)
    places = sorted({line.x or 0.0 for line in group.lines})
    # From 0 on: workers have no logarithm.
    axes.set_xscale("symlog", linthresh=1) if places[0] == 0 else axes.set_xscale("log")
    axes.set_xticks(places, [f"{place:,.0f}" for place in places])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_yscale("log")
    axes.set_ylim(*limits(group))
    plain_numbers(axes.yaxis)
    axes.set_xlabel(group.x)
    axes.set_ylabel(group.unit)
    if len(names) > 1:
        axes.legend(frameon=False, fontsize=8)


def beside(axes: Any, group: Group) -> None:
    """Draw a point for each line, ours in another colour."""
    lines = group.lines[::-1]
    for place, line in enumerate(lines):
        color = _OURS if line.name.startswith("alluxio-lance") else _OTHERS
        axes.errorbar(line.value.median, place, xerr=whiskers(line), fmt="o", markersize=7, color=color, capsize=3)
    axes.set_yticks(range(len(lines)), [line.name for line in lines])
    axes.set_ylim(-0.6, len(lines) - 0.4)
    axes.set_xlabel(group.unit)
    # What was fitted to measurements can be negative, and has no logarithm.
    if all(line.value.min > 0 for line in lines):
        axes.set_xscale("log")
        axes.set_xlim(*limits(group))
        plain_numbers(axes.xaxis)
        axes.set_xlabel(f"{group.unit} (log scale)")


def limits(group: Group) -> tuple[float, float]:
    """Return the ends of a logarithmic axis: wide enough for two numbers on it, and small differences look small."""
    low, high = min(line.value.min for line in group.lines), max(line.value.max for line in group.lines)
    middle, half = (low * high) ** 0.5, max(1.3 * (high / low) ** 0.5, _LEAST_HALF)
    return middle / half, middle * half


def plain_numbers(axis: Any) -> None:
    """Write the numbers of an axis as people do, not as powers of ten."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(lambda value, _: number(value))
    axis.set_minor_formatter(NullFormatter())
