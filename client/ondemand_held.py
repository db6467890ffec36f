"""The window that a process holds between two reads of rows by number, and lets go when nobody reads."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from alluxio_lance.client.counting import ReadStatistics
from alluxio_lance.client.table import Table

__all__ = ["HeldWindow", "none_idle_but"]

_PATIENCE: Final = 1.0
"""Seconds without a read after which the window is let go: somebody else may wait for its memory."""
_NOTHING: Final = ReadStatistics(views=0, viewed_bytes=0, gathers=0, gathered_bytes=0, refused_views=0)


class HeldWindow:
    """The window of one process, if it holds any.

    Everything but `drop` and `statistics` is called by whoever has ``turn``: a window is not let go while it is read.

    Attributes
    ----------
    turn
        Held by the one thread that reads.
    units
        The numbers of its units, ascending; row ``r`` of the table is one of ``units[r // unit_rows]``.
    """

    def __init__(self) -> None:
        self.turn: Final = threading.Lock()
        self.table: Table | None = None
        self.units: npt.NDArray[np.int64] = np.empty(0, np.int64)
        self._recent: dict[int, None] = {}
        """The units again, those that were read last at the end."""
        self._before = _NOTHING
        self._rested: float | None = None
        """Since when nobody has read; None while somebody does."""
        self._timer: threading.Timer | None = None

    def hold(self, table: Table, units: Sequence[int]) -> None:
        """Hold a window of units, ascending, from here on; there is none before."""
        self.units, self._recent = np.array(units, np.int64), dict.fromkeys(units)
        self.table = table

    def among(self, units: Iterable[int]) -> list[int]:
        """Say which of some units it holds."""
        return [unit for unit in units if unit in self._recent]

    def used(self, units: Iterable[int]) -> None:
        """Note that units are read, for `latest`."""
        for unit in units:
            self._recent.pop(unit, None)
            self._recent[unit] = None

    def latest(self, count: int) -> list[int]:
        """Up to so many of the units that it holds: those that were read last."""
        return [] if self.table is None or count <= 0 else list(self._recent)[-count:]

    def let_go(self) -> None:
        """Let go of what is held; what was read of it counts on."""
        table = self.table
        if table is None:
            return
        # In this order: who asks for the counts meanwhile may see some twice, and misses none.
        self._before += table.statistics()
        self.table = None
        self.units, self._recent = np.empty(0, np.int64), {}
        table.close()

    def statistics(self) -> ReadStatistics:
        """Count what was mapped and what was moved, over all windows of this process."""
        table, before = self.table, self._before
        return before if table is None else before + table.statistics()

    # -- while nobody reads ------------------------------------------------------------------------------------------

    def calm(self) -> None:
        """Begin to read."""
        self._rested = None

    def rest(self) -> None:
        """End to read; from here on the time runs."""
        if self.table is None:
            return
        self._rested = time.monotonic()
        # One timer sees many reads: to begin a thread takes longer than to read a row.
        if self._timer is None:
            self._watch(_PATIENCE)

    def _watch(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._lose_patience)
        self._timer.daemon = True
        self._timer.start()

    def _lose_patience(self) -> None:
        with self.turn:
            # One that was cancelled too late has nothing to say.
            if self._timer is not threading.current_thread():
                return
            self._timer = None
            if self.table is None or self._rested is None:
                return
            left = _PATIENCE - (time.monotonic() - self._rested)
            if left > 0:
                self._watch(left)
            else:
                self.let_go()

    def let_go_if_idle(self) -> None:
        """Let go of what nobody reads right now; to be called without having ``turn``."""
        if self.turn.acquire(blocking=False):
            try:
                self.drop()
            finally:
                self.turn.release()

    def drop(self) -> None:
        """Let go whoever has ``turn``: it is forgotten, or what a forked child has inherited and does not share."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        self.let_go()


class _Latest:
    """Who was the last one of this process to hold a window."""

    held: HeldWindow | None = None


_LATEST: Final = _Latest()


def none_idle_but(own: HeldWindow) -> None:
    """See to it that nothing is held idly, before a window is waited for: by another dataset of this process.

    A thread that reads two datasets in turn would else wait for memory that it keeps itself.
    """
    other, _LATEST.held = _LATEST.held, own
    if other is not None and other is not own:
        other.let_go_if_idle()
