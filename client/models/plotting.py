"""A picture of what changed between two versions of a model: the relative change of each tensor, largest first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Final

from alluxio_lance.client.models.comparing import ModelDiff, TensorChange
from alluxio_lance.errors import Unavailable

__all__ = ["plot_diff"]

_MOST: Final = 40
_LONGEST: Final = 60
_BAR: Final = "#3b6ea5"
_INCHES_PER_BAR: Final = 0.24


def plot_diff(diff: ModelDiff, path: Path) -> None:
    """Write the picture; the suffix tells its format: ``.png``, ``.svg``, ``.pdf``.

    Raises
    ------
    Unavailable
        When matplotlib is not installed.
    """
    try:
        # Not pyplot: it would look for a screen, and keep every figure.
        from matplotlib.figure import Figure  # noqa: PLC0415 - optional
    except ImportError as error:
        raise Unavailable(
            "pictures need the package matplotlib: pip install 'alluxio-lance[plot]'", what="matplotlib"
        ) from error
    shown = _largest(diff.changed)
    figure = Figure(figsize=(10, 2.0 + _INCHES_PER_BAR * max(len(shown), 1)), layout="constrained")
    axes = figure.subplots()
    values = [_relative(each) for each in shown]
    places = range(len(shown))
    axes.barh(places, values, color=_BAR, height=0.7)
    axes.set_yticks(places, _labels([each.name for each in shown]), fontsize=8, family="monospace")
    axes.set_ylim(max(len(shown), 1) - 0.4, -0.6)
    if min(values, default=0) > 0:
        axes.set_xscale("log")
        # Room for the least of them: a bar of a logarithmic axis begins where the axis does.
        axes.set_xlim(left=min(values) / 3, right=max(values) * 4)
    for place, value in zip(places, values, strict=True):
        axes.annotate(f"{value:.2g}", (value, place), (3, 0), textcoords="offset points", va="center", fontsize=7)
    axes.set_xlabel("L2 norm of the change / L2 norm of the old tensor")
    axes.set_title(_title(diff, len(shown)), fontsize=10, loc="left")
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if not shown:
        axes.set_yticks([])
        axes.text(0.5, 0.5, "no tensor has changed by a measurable amount", transform=axes.transAxes, ha="center")
    figure.savefig(path, dpi=150)


def _largest(changed: Sequence[TensorChange]) -> list[TensorChange]:
    measured = [each for each in changed if _relative(each) > 0]
    return sorted(measured, key=_relative, reverse=True)[:_MOST]


def _relative(each: TensorChange) -> float:
    value = each.change.relative_l2 if each.change else None
    return value if value is not None and math.isfinite(value) else 0.0


def _labels(names: Sequence[str]) -> list[str]:
    """Cut what is too long: first the modules that all have in common, then the front, for tensors differ at the end."""
    if max(map(len, names), default=0) > _LONGEST and (shared := _shared(names)):
        names = [f"…{name[shared:]}" for name in names]
    return [name if len(name) <= _LONGEST else f"…{name[1 - _LONGEST :]}" for name in names]


def _shared(names: Sequence[str]) -> int:
    """Return the length of the modules, with their dots, that all names begin with."""
    modules = zip(*(name.split(".")[:-1] for name in names), strict=False)
    same = takewhile(lambda level: len(set(level)) == 1, modules)
    return sum(len(level[0]) + 1 for level in same)


def _title(diff: ModelDiff, shown: int) -> str:
    of_how_many = f"the {shown} largest of " if shown < len(diff.changed) else ""
    counts = f"{of_how_many}{len(diff.changed)} changed, {len(diff.added)} added, {len(diff.removed)} removed, {diff.same} the same"
    return f"{diff.old} → {diff.new}\ntensors: {counts}"
