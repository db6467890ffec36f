"""The plot: a bar for each way and number of workers, whiskers from the lowest to the highest repetition."""

from __future__ import annotations

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from alluxio_lance.bench.results import Line, Results
from alluxio_lance.bench.ways import LIMIT, OURS

__all__ = ["draw", "write_plots"]

_GREY, _OURS, _TEXT = "#9aa5b1", "#0f766e", "#1f2933"


def write_plots(results: Results, folder: Path) -> tuple[Path, Path]:
    """Write ``bench.png`` and ``bench.svg`` into a folder and return their paths."""
    figure = draw(results)
    png, svg = folder / "bench.png", folder / "bench.svg"
    figure.savefig(png, dpi=150, bbox_inches="tight")
    figure.savefig(svg, bbox_inches="tight")
    return png, svg


def draw(results: Results) -> Figure:
    """Draw one panel for each number of workers, over the same logarithmic axis of samples per second."""
    groups = sorted({line.workers for line in results.lines})
    heights = [sum(line.workers == workers for line in results.lines) for workers in groups]
    figure = Figure(figsize=(9, 1.6 + 0.36 * sum(heights)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(groups), 1, sharex=True, squeeze=False, height_ratios=heights)
    for axes, workers in zip(panels[:, 0], groups, strict=True):
        lines = sorted((line for line in results.lines if line.workers == workers), key=lambda line: line.later.median)
        axes.barh(
            [results.way(line.way).title for line in lines],
            [line.later.median for line in lines],
            xerr=whiskers(lines),
            color=[_OURS if line.way == OURS else _GREY for line in lines],
            ecolor=_TEXT,
            capsize=2,
            height=0.7,
        )
        limit = [line.later.median for line in results.lines if line.way == LIMIT]
        axes.axvline(limit[0], color=_TEXT, linestyle=":", linewidth=1)
        axes.set_xscale("log")
        axes.set_title(f"num_workers={workers}", loc="left", fontsize=10, color=_TEXT)
        axes.grid(axis="x", which="major", color="#e4e7eb")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    panels[-1, 0].set_xlabel("samples per second, later epochs (log scale); dotted: memcpy, one thread")
    settings = results.settings
    figure.suptitle(
        f"{settings['rows']:,} rows of uint8[3, 64, 64] + label, batch {settings['batch_size']}, shuffled;\n"
        f"median and range of {settings['repetitions']} repetitions, {results.machine['cpus']} CPUs: read ratios",
        fontsize=11,
        color=_TEXT,
    )
    return figure


def whiskers(lines: list[Line]) -> list[list[float]]:
    """Return the distances from the medians down to the lowest and up to the highest repetition."""
    return [
        [line.later.median - line.later.min for line in lines],
        [line.later.max - line.later.median for line in lines],
    ]
