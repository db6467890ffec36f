"""The shared memory of a node as a budget bar and two tables."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from alluxio_lance.cli.human import age, count, duration, size
from alluxio_lance.cli.look import cut, flowing, number, table, whole
from alluxio_lance.cli.ways_view import percent_text, ways_text

if TYPE_CHECKING:
    from alluxio_lance.client.statistics import CacheStatistics, LeaseInfo, ResidentVersion
    from alluxio_lance.ways import DiskStatistics

__all__ = ["cache_view", "hot_table"]

_BAR: Final = 30
_NARROW: Final = 0.75
"""Used part of the budget from which on the bar turns yellow."""
_FULL: Final = 0.92
_LONGEST: Final = 60
"""Characters of a command line."""


def cache_view(statistics: CacheStatistics, now: datetime) -> Group:
    """Return budget, hot versions and readers."""
    parts: list[RenderableType] = [
        Text.assemble(
            "node ", (statistics.node, "bold"), f", sidecar {statistics.pid}, started ", age(statistics.started_at, now)
        ),
        _bar(statistics.used_bytes, statistics.budget_bytes, "in memory"),
        Text(
            f"{count(statistics.opens)} opens, {count(statistics.hits)} found all hot, "
            f"{count(statistics.evictions)} evictions, {count(statistics.failed_loads)} failed loads",
            style="dim",
        ),
        *(_disk(statistics.disk) if statistics.disk.budget_bytes else ()),
        Text(),
        hot_table(statistics.versions) if statistics.versions else Text("nothing is hot yet", style="dim"),
    ]
    if any(version.ways for version in statistics.versions):
        parts += [Text(), _loads(statistics.versions)]
    if statistics.leases:
        parts += [Text(), _readers(statistics.leases, now)]
    return Group(*parts)


def _disk(disk: DiskStatistics) -> list[Text]:
    told = (
        f"{count(disk.columns)} columns kept, {count(disk.hits)} found there, {count(disk.misses)} not found, "
        f"{count(disk.dropped_writes)} not kept, {count(disk.corrupt)} corrupt, {size(disk.mapped_bytes)} mapped now"
    )
    return [_bar(disk.used_bytes, disk.budget_bytes, "on disk"), Text(told, style="dim")]


def _bar(taken: int, budget: int, where: str) -> Text:
    used = taken / budget if budget else 1.0
    colour = "green" if used < _NARROW else "yellow" if used < _FULL else "red"
    filled = min(_BAR, max(round(used * _BAR), 1 if taken else 0))
    return Text.assemble(
        ("█" * filled, colour),
        ("░" * (_BAR - filled), "dim"),
        f"  {size(taken)} of {size(budget)} {where} ({used:.0%})",
    )


def hot_table(versions: Sequence[ResidentVersion]) -> Table:
    """Return one row per version in shared memory."""
    view = table(
        "Hot versions",
        flowing("Resource"),
        whole("Version"),
        whole("Role"),
        number("Size"),
        number("Rows"),
        whole("Pages"),
        number("Leases"),
        number("Columns"),
    )
    for version in versions:
        hot = version.status == "hot"
        view.add_row(
            f"{version.type}/{version.name}",
            version.semver,
            Text(version.role if hot else version.status, style="green" if hot else "yellow"),
            size(version.bytes),
            count(version.rows),
            version.pages.value if version.pages else "",
            count(version.leases),
            count(len(version.columns)),
        )
    return view


def _loads(versions: Sequence[ResidentVersion]) -> Table:
    """Return by which ways each version came; how much of it Alluxio caches has a column only where there is one."""
    cached = any(version.cached_percent is not None for version in versions)
    view = table(
        "Last loads",
        flowing("Resource"),
        whole("Version"),
        number("Took"),
        *[number("Cached")] * cached,
        flowing("Read by way"),
    )
    for version in versions:
        view.add_row(
            f"{version.type}/{version.name}",
            version.semver,
            duration(version.load_seconds),
            *[percent_text(version.cached_percent)] * cached,
            ways_text(version.ways),
        )
    return view


def _readers(leases: Sequence[LeaseInfo], now: datetime) -> Table:
    view = table(
        "Readers",
        flowing("Resource"),
        whole("Version"),
        number("Process"),
        whole("User"),
        number("Conn."),
        whole("Since"),
        flowing("Command"),
    )
    for lease in leases:
        view.add_row(
            f"{lease.type}/{lease.name}",
            lease.semver,
            str(lease.pid),
            Text(lease.user),
            count(lease.connections),
            age(lease.since, now),
            Text(cut(_without_folder(lease.command), _LONGEST)),
        )
    return view


def _without_folder(command: str) -> str:
    program, space, rest = command.partition(" ")
    return f"{PurePosixPath(program).name}{space}{rest}"
