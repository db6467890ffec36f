"""The plot: a point for each way and number of workers, whiskers from the lowest to the highest repetition.

Points and no bars: on a logarithmic axis the length of a bar means nothing.
"""

from __future__ import annotations

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from alluxio_lance.bench.results import Results
from alluxio_lance.bench.ways import LIMIT, OURS

__all__ = ["draw", "write_plots"]

_OTHERS, _OURS, _TEXT = "#7b8794", "#0f766e", "#1f2933"


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
        for place, line in enumerate(lines):
            axes.errorbar(
                line.later.median,
                place,
                xerr=[[line.later.median - line.later.min], [line.later.max - line.later.median]],
                fmt="o",
                markersize=7,
                color=_OURS if line.way == OURS else _OTHERS,
                capsize=3,
            )
        axes.set_yticks(range(len(lines)), [results.way(line.way).title for line in lines])
        axes.set_ylim(-0.6, len(lines) - 0.4)
        limit = [line.later.median for line in results.lines if line.way == LIMIT]
        axes.axvline(limit[0], color=_TEXT, linestyle=":", linewidth=1)
        axes.set_xscale("log")
        axes.set_title(f"num_workers={workers}", loc="left", fontsize=10, color=_TEXT)
        axes.grid(axis="both", which="major", color="#e4e7eb")
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
