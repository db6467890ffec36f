"""The plan of an epoch: one order of all rows, or of those that a filter chooses, in windows that are read in turn."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from alluxio_lance.client.epochs.permutation import permutation

if TYPE_CHECKING:
    from alluxio_lance.client.epochs.chosen import Chosen

__all__ = ["EpochPlan", "Window"]


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """Units that are held together."""

    number: int
    start: int
    """The place of its first row in the order of the epoch."""
    rows: int
    """That the order has of it; of a filter's, only those that it chooses."""
    units: npt.NDArray[np.int64]
    """In the order in which they are joined: the last unit of the version, which may be short, at the end if it is among them."""

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

    With chosen rows the same is done with them alone: units that have none are in no window.
    """

    content_hash: str
    rows: int
    """Of the version."""
    unit_rows: int
    """Rows of every unit but the last."""
    window_units: int
    """Units of a window at most."""
    shuffle: bool
    seed: int
    epoch: int
    chosen: Chosen | None = None
    """All rows without it."""

    @property
    def places(self) -> int:
        """How many rows the order has."""
        return self.rows if self.chosen is None else len(self.chosen)

    @property
    def window_rows(self) -> int:
        """Rows that a window has at most, or the few that there are."""
        return min(self.unit_rows * self.window_units, self.places)

    @property
    def as_it_lies(self) -> bool:
        """Whether `order` only counts the rows of a window."""
        return not self.shuffle and self.chosen is None

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
        units = np.flatnonzero(self._counts)
        if not self.shuffle:
            return units
        return units[permutation(len(units), self.content_hash, self.seed, self.epoch, "units")]

    @cached_property
    def _cuts(self) -> npt.NDArray[np.int64]:
        """How many rows of the order, as it is without shuffle, lie before each unit, and at the end all."""
        bounds = np.arange(-(-self.rows // self.unit_rows) + 1, dtype=np.int64) * self.unit_rows
        return np.minimum(bounds, self.rows) if self.chosen is None else self.chosen.below(bounds)

    @cached_property
    def _counts(self) -> npt.NDArray[np.int64]:
        """How many rows of the order each unit has."""
        return np.diff(self._cuts)

    def _window(self, number: int, start: int, units: npt.NDArray[np.int64]) -> Window:
        last = units == (self.rows - 1) // self.unit_rows
        # Joined memory has whole pages everywhere but at its end.
        ordered = np.concatenate([units[~last], units[last]]) if last.any() else units
        return Window(number, start, int(self._counts[units].sum()), ordered)

    @cached_property
    def _starts(self) -> npt.NDArray[np.int64]:
        return np.array([window.start for window in self.windows], np.int64)

    def windows_of(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Say in which windows places of the epoch's order lie."""
        return np.searchsorted(self._starts, positions, "right") - 1

    def order(self, window: Window) -> npt.NDArray[np.int64]:
        """The rows of a window, as numbers within its joined units, in the order in which they are read."""
        if not self.shuffle:
            return self._within(window)
        permuted = permutation(window.rows, self.content_hash, self.seed, self.epoch, "window", window.number)
        return permuted if self.chosen is None else self._within(window)[permuted]

    def _within(self, window: Window) -> npt.NDArray[np.int64]:
        """The rows of a window, as numbers within its joined units, as they lie."""
        if self.chosen is None:
            return np.arange(window.rows, dtype=np.int64)
        found = np.empty(window.rows, np.int64)
        done = 0
        for place, unit in enumerate(window.units.tolist()):
            rows = self.chosen.part(int(self._cuts[unit]), int(self._cuts[unit + 1]))
            found[done : done + len(rows)] = rows + (place - unit) * self.unit_rows
            done += len(rows)
        return found

    def row_numbers(self, window: Window, local: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Translate numbers within a window's joined units to row numbers of the version."""
        return window.units[local // self.unit_rows] * self.unit_rows + local % self.unit_rows
