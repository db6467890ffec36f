"""What memory the processes of the demo really take, as the kernel counts it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.table import Table
from rich.text import Text

from alluxio_lance.cli.human import size
from alluxio_lance.cli.look import number, table, whole

__all__ = ["Footprint", "footprint", "memory_table"]

_PROC: Final = Path("/proc")
_MAPPING: Final = re.compile(r"^[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ (\d+)\s*(.*)$")
_SEGMENT: Final = "/memfd:alluxio-lance:"


@dataclass(frozen=True, slots=True)
class Footprint:
    """One process; sizes in bytes."""

    name: str
    pid: int
    rss: int
    pss: int
    """Proportional set size: a page that four processes share counts a quarter in each."""
    segments_rss: int
    """Pages of segments that it has mapped."""
    segments_pss: int
    inodes: frozenset[int]
    """The segments that it has mapped; the same number in two processes is the same memory."""


def footprint(name: str, pid: int, proc: Path = _PROC) -> Footprint:
    """Read /proc/PID/smaps_rollup and smaps."""
    rollup = _sizes((proc / str(pid) / "smaps_rollup").read_text().splitlines()[1:])
    rss = pss = 0
    inodes = set()
    inside = False
    for line in (proc / str(pid) / "smaps").read_text().splitlines():
        match = _MAPPING.match(line)
        if match:
            inside = match[2].startswith(_SEGMENT)
            if inside:
                inodes.add(int(match[1]))
        elif inside:
            facts = _sizes([line])
            rss += facts.get("Rss", 0) + facts.get("Shared_Hugetlb", 0) + facts.get("Private_Hugetlb", 0)
            pss += facts.get("Pss", 0)
    return Footprint(name, pid, rollup["Rss"], rollup["Pss"], rss, pss, frozenset(inodes))


def _sizes(lines: Sequence[str]) -> dict[str, int]:
    return {
        words[0].rstrip(":"): int(words[1]) * 1024
        for words in map(str.split, lines)
        if words[-1] == "kB" and len(words) == 3  # noqa: PLR2004 - "Pss: 12 kB"
    }


def memory_table(footprints: Sequence[Footprint]) -> Table:
    """Return one row per process and their sum."""
    view = table(
        "Memory",
        whole("Process"),
        number("PID"),
        number("RSS"),
        number("PSS"),
        number("Segments"),
        number("their PSS"),
    )
    for each in footprints:
        row = (each.rss, each.pss, each.segments_rss, each.segments_pss)
        view.add_row(Text(each.name), str(each.pid), *(size(number) for number in row))
    view.add_section()
    sums = [
        sum(each.rss for each in footprints),
        sum(each.pss for each in footprints),
        sum(each.segments_rss for each in footprints),
        sum(each.segments_pss for each in footprints),
    ]
    view.add_row("together", "", *(size(number) for number in sums), style="bold")
    return view
