"""The plan of an epoch: one order of all rows, in windows that are read one after another."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from alluxio_lance.client.epochs.permutation import permutation

__all__ = ["EpochPlan", "Window"]


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """Units that are held together."""

    number: int
    start: int
    """The place of its first row in the order of the epoch."""
    rows: int
    units: npt.NDArray[np.int64]
    """In the order in which they are joined: the short last unit of the version, if it is among them, at the end."""

    @property
    def stop(self) -> int:
        """The place behind its last row in the order of the epoch."""
        return self.start + self.rows


@dataclass(frozen=True)
class EpochPlan:
    """The order of one epoch, a pure function of its fields.

    Shuffled, the units are permuted and dealt to windows of nearly the same size, and the rows of each window are
    permuted. A version that is wholly in memory is one unit: then that is a shuffle of everything. In order, windows
    change nothing.
    """

    content_hash: str
    rows: int
    unit_rows: int
    """Rows of every unit but the last."""
    window_units: int
    """Units of a window at most."""
    shuffle: bool
    seed: int
    epoch: int

    @property
    def window_rows(self) -> int:
        """Rows of the largest window, or the few that there are."""
        return min(self.unit_rows * self.window_units, self.rows)

    @cached_property
    def windows(self) -> tuple[Window, ...]:
        """All of them, in order."""
        units = self._units()
        count = -(-len(units) // self.window_units)
        found: list[Window] = []
        start = 0
        for number in range(count):
            chosen = units[number * len(units) // count : (number + 1) * len(units) // count]
            window = self._window(number, start, chosen)
            found.append(window)
            start = window.stop
        return tuple(found)

    def _units(self) -> npt.NDArray[np.int64]:
        count = -(-self.rows // self.unit_rows)
        if not self.shuffle:
            return np.arange(count, dtype=np.int64)
        return permutation(count, self.content_hash, self.seed, self.epoch, "units")

    def _window(self, number: int, start: int, units: npt.NDArray[np.int64]) -> Window:
        last = (self.rows - 1) // self.unit_rows
        short = units == last
        if not short.any():
            return Window(number, start, len(units) * self.unit_rows, units)
        # Joined memory has whole pages everywhere but at its end.
        ordered = np.concatenate([units[~short], units[short]])
        return Window(number, start, (len(units) - 1) * self.unit_rows + self.rows - last * self.unit_rows, ordered)

    @cached_property
    def _starts(self) -> npt.NDArray[np.int64]:
        return np.array([window.start for window in self.windows], np.int64)

    def windows_of(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Say in which windows places of the epoch's order lie."""
        return np.searchsorted(self._starts, positions, "right") - 1

    def order(self, window: Window) -> npt.NDArray[np.int64]:
        """The rows of a window, as numbers within its joined units, in the order in which they are read."""
        if not self.shuffle:
            return np.arange(window.rows, dtype=np.int64)
        return permutation(window.rows, self.content_hash, self.seed, self.epoch, "window", window.number)

    def row_numbers(self, window: Window, local: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Translate numbers within a window's joined units to row numbers of the version."""
        return window.units[local // self.unit_rows] * self.unit_rows + local % self.unit_rows
