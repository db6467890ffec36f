"""Rows of several tables under one numbering: those of the first, then those of the second, and so on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Joined", "Part"]


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """The rows of one table among those that were asked for."""

    source: int
    """Which table."""
    places: npt.NDArray[np.int64]
    """Where they stand among those that were asked for."""
    rows: npt.NDArray[np.int64]
    """Their numbers in their table."""


class Joined:
    """Tables one behind the other.

    Parameters
    ----------
    lengths
        Their rows.
    """

    def __init__(self, lengths: Sequence[int]) -> None:
        self.starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def cut(self, rows: npt.NDArray[np.int64]) -> list[Part]:
        """Say which rows belong to which table; tables without any are left out."""
        if len(self.starts) == 2:  # noqa: PLR2004 - one table has a beginning and an end
            return [Part(0, np.arange(len(rows), dtype=np.int64), rows)] if len(rows) else []
        sources = np.searchsorted(self.starts, rows, side="right") - 1
        parts = []
        for source in np.unique(sources):
            places = np.flatnonzero(sources == source)
            parts.append(Part(int(source), places, rows[places] - self.starts[source]))
        return parts

    def find(self, row: int) -> tuple[int, int]:
        """Return the table of a row and its number there."""
        source = int(np.searchsorted(self.starts, row, side="right")) - 1
        return source, row - int(self.starts[source])
