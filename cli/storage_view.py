"""What the versions of a resource take, alone and together, as a table with bars."""

from __future__ import annotations

from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from alluxio_lance.cli.human import size
from alluxio_lance.cli.look import flowing, meter, number, state_text, table, whole
from alluxio_lance.cli.ways_view import percent_text
from alluxio_lance.upkeep import StorageReport, VersionStorage

__all__ = ["cached_percent", "storage_view"]

_BAR: Final = 16
_UNIQUE: Final = "green"
_SHARED: Final = "yellow"
_COLD: Final = "blue"


def storage_view(report: StorageReport) -> Group:
    """Return one row per version: all its bytes, those of it alone, the shared ones, those cached, and those in the cold tier."""
    cached = any(each.cached_bytes is not None for each in report.versions)
    largest = max((max(each.hot_bytes, each.cold_bytes) for each in report.versions), default=0)
    view = table(
        "Storage",
        flowing("Version"),
        whole("State"),
        number("Hot"),
        number("Unique"),
        number("Shared"),
        *[number("Cached")] * cached,
        number("Cold"),
        whole(""),
    )
    for each in report.versions:
        parts: list[tuple[float, str]] = [(each.unique_bytes, _UNIQUE), (each.shared_bytes, _SHARED)]
        if not each.hot_bytes:
            parts = [(each.cold_bytes, _COLD)]
        view.add_row(
            each.semver,
            state_text(each.state),
            size(each.hot_bytes),
            size(each.unique_bytes),
            size(each.shared_bytes),
            *[percent_text(cached_percent(each))] * cached,
            size(each.cold_bytes) if each.cold_bytes else "",
            meter(parts, largest, _BAR),
        )
    legend = Text.assemble(
        ("█", _UNIQUE), " unique  ", ("█", _SHARED), " shared with other versions  ", ("█", _COLD), " cold"
    )
    parts_shown: list[RenderableType] = [view, legend, _total(report)]
    return Group(*parts_shown)


def cached_percent(version: VersionStorage) -> int | None:
    """Return how much of a version's hot files is cached, 0 to 100; None without a cache, or without such files."""
    if version.cached_bytes is None or not version.hot_bytes:
        return None
    return 100 * version.cached_bytes // version.hot_bytes


def _total(report: StorageReport) -> Text:
    alone = sum(each.hot_bytes for each in report.versions)
    text = f"the table takes {size(report.table_bytes)}, its versions one by one would take {size(alone)}"
    if report.cold_bytes:
        text += f"; {size(report.cold_bytes)} are in the cold tier"
    return Text(text, style="dim")
