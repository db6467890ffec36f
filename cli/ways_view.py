"""By which way the files of a version come, and how much of it is cached."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from alluxio_lance.cli.human import size
from alluxio_lance.cli.look import flowing, meter, number, table, whole
from alluxio_lance.ways import CacheShare, Explanation, Way, bytes_by_way

__all__ = ["explain_view", "percent_text", "share_text", "ways_text"]

_COLOURS: Final = {
    Way.LOCAL: "green",
    Way.DISK: "cyan",
    Way.SHORT_CIRCUIT: "green",
    Way.JOINED: "cyan",
    Way.ENDPOINT: "yellow",
}
_BAR: Final = 30
_WHOLE: Final = 100


def explain_view(explanation: Explanation) -> Group:
    """Return one row per file with the reason below its name, then the bytes of each way and how much is cached."""
    cached = explanation.share is not None
    view = table(None, flowing("File"), number("Size"), whole("Way"), *[number("Cached")] * cached)
    for file in explanation.files:
        view.add_row(
            Text.assemble(file.path, (f"\n{file.why}", "dim")),
            size(file.bytes),
            Text(file.way.value, style=_COLOURS[file.way]),
            *[percent_text(file.cached_percent)] * cached,
        )
    ways = bytes_by_way(explanation.files)
    parts: list[RenderableType] = [view, Text(), _bar(ways), ways_text(ways)]
    if explanation.share is not None:
        parts.append(Text.assemble("cached ", share_text(explanation.share)))
    return Group(*parts)


def _bar(ways: Mapping[Way, int]) -> Text:
    return meter([(total, _COLOURS[way]) for way, total in ways.items()], sum(ways.values()), _BAR)


def ways_text(ways: Mapping[Way, int]) -> Text:
    """Return the bytes of each way: ``short-circuit 3.0 MiB (98%), endpoint 64.0 KiB (2%)``."""
    total = sum(ways.values())
    return Text(", ").join(
        Text.assemble((way.value, _COLOURS[way]), f" {size(part)} ({_share(part, total)})")
        for way, part in ways.items()
    )


def _share(part: int, total: int) -> str:
    # Nobody shall take a part that is there for none, or one that is not all for all.
    return f"{part / total:.0%}" if part == total else f"{min(max(part / total, 0.01), 0.99):.0%}"


def percent_text(percent: int | None) -> Text:
    """Return a cached percentage; nothing where it is not known."""
    if percent is None:
        return Text()
    return Text(f"{percent}%", style="green" if percent == _WHOLE else "yellow" if percent else "dim")


def share_text(share: CacheShare) -> Text:
    """Return how much of a version is cached: ``98% of 3.1 MiB, pinned``."""
    return Text.assemble(
        percent_text(share.percent), f" of {size(share.bytes)} in Alluxio", ", pinned" if share.pinned else ""
    )
