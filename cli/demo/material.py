"""What the demo works on: the digits, or the user's own data."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from alluxio_lance.cli.demo.pictures import write_digits, write_tiles, write_turned_digits

__all__ = ["Material", "digits", "own"]

_PICTURES: Final = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp"})
_SIDE: Final = 32
"""Pixels that the user's pictures are scaled to, so that they can train the small networks."""
_UNFIT: Final = re.compile(r"[^A-Za-z0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """A dataset and how it grows."""

    name: str
    first: Path
    """Becomes version 1.0.0."""
    more: Path
    """Is appended: 1.1.0."""
    growth: str
    """What is appended, in words."""
    options: dict[str, Any] = field(default_factory=dict)
    rows: int | None = None
    """Rows of the first version, where they are known beforehand."""
    accuracy: float | None = None
    """What the networks must reach, where that is known beforehand."""
    large: Path | None = None
    """A larger dataset, to look at the memory it takes."""


def digits(folder: Path) -> Material:
    """Write the digits, more of them, and the tiles of two photographs into a folder."""
    first, more, large = (folder / name for name in ("digits.parquet", "turned-digits.parquet", "tiles.parquet"))
    write_digits(first)
    write_turned_digits(more)
    write_tiles(large)
    return Material(
        name="digits",
        first=first,
        more=more,
        growth="600 of the digits, turned by 12 degrees",
        rows=1797,
        accuracy=0.9,
        large=large,
    )


def own(path: Path) -> Material:
    """Take the user's own file or folder; the second version has every row twice."""
    pictures = path.is_dir() and any(file.suffix.lower() in _PICTURES for file in path.rglob("*"))
    return Material(
        name=_UNFIT.sub("-", path.stem).strip("-") or "data",
        first=path,
        more=path,
        growth="the same rows once more",
        options={"decode": [_SIDE, _SIDE]} if pictures else {},
    )
