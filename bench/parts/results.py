"""What a part found: groups of lines, each a median with its range, and most of them a ratio to another line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from alluxio_lance.bench.results import Spread

__all__ = ["Found", "Group", "Line"]

SCHEMA: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One number of a group."""

    name: str
    x: float | None = None
    """Where it stands when the group grows along something: rows, workers, readers."""
    value: Spread
    ratio: Spread | None = None
    """Taken within each repetition, then summarized; None for the line that others are compared with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Lines of one unit: a block of the table and a panel of the plot."""

    title: str
    unit: str
    against: str = ""
    """What the ratios are of."""
    x: str = ""
    """What the lines grow along; empty when they are different things beside each other."""
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A whole part."""

    schema: int = SCHEMA
    part: str
    title: str
    started_at: str = ""
    seconds: float = 0.0
    machine: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any]
    groups: tuple[Group, ...]
    notes: tuple[str, ...]
    """What the numbers do not say."""
    measurements: Mapping[str, Any]
    """Every single number, by way and by what was measured, in the order of the repetitions."""

    @property
    def repeated(self) -> str:
        """What its numbers are of."""
        count = self.settings["repetitions"]
        return "measured once" if count == 1 else f"median and range of {count} repetitions"

    def write_json(self, path: Path) -> None:
        """Write everything."""
        path.write_text(json.dumps(asdict(self), indent=2, default=str) + "\n")
