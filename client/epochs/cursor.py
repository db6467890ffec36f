"""Goes through the order of an epoch: from places in it to tables and their rows."""

from __future__ import annotations

import os
import resource
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Final, Protocol
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt

from alluxio_lance.client.epochs.coming import Coming
from alluxio_lance.client.epochs.plan import EpochPlan, Window
from alluxio_lance.client.mapped import populated, read_in
from alluxio_lance.client.table import Table
from alluxio_lance.errors import AlluxioLanceError, NoSpace, Unavailable

__all__ = ["Cursor", "Piece", "Windows", "resident_cursor", "streamed_cursor"]

Piece = tuple[Table, npt.NDArray[np.int64]]
"""Rows of a table."""


_PATIENCE_AHEAD: Final = 1.0
"""Seconds between two batches after which one of several readers lets go of the window that it does not read yet."""
_PATIENCE_ALONE: Final = 30.0
"""Seconds between two batches after which a reader that is alone lets go of the window that it reads, too: its loop may be at
another dataset for long, in other processes even, whose windows need the memory."""
_NOWHERE: Final = Window(0, 0, 0, np.empty(0, np.int64))
"""Of a version without rows."""


class Windows(Protocol):
    """What a streamed version gives."""

    def window(self, units: Sequence[int], *, at_once: bool = False) -> Table:
        """Wait until units are hot and hold them as one table, until that is closed.

        With ``at_once`` `NoSpace` where somebody would have to let go of something first.
        """

    def ahead(self, units: Sequence[int]) -> None:
        """Ask for units that will be read soon."""

    @property
    def whole(self) -> Table | None:
        """All rows as one table, if they are there without taking memory; does not wait."""

    def ask_whole(self) -> None:
        """Have another thread ask whether `whole` can be had; returns at once."""


class _Tables(Protocol):
    def rows(self, window: Window, local: npt.NDArray[np.int64]) -> Piece: ...
    def order(self, window: Window) -> npt.NDArray[np.int64]: ...
    def rest(self, window: Window | None) -> None: ...


class Cursor:
    """Reads places of a plan's order; keeps the order of the window that was read last."""

    def __init__(self, plan: EpochPlan, tables: _Tables) -> None:
        self._plan: Final = plan
        self._tables: Final = tables
        self._order: tuple[int, npt.NDArray[np.int64]] | None = None
        self._latest = plan.windows[0] if plan.windows else _NOWHERE

    def pieces(self, positions: npt.NDArray[np.int64]) -> Iterator[Piece]:
        """Yield the rows at places of the order, one piece for each stretch that lies within a window.

        Places ascend one by one, as `Share.positions` gives them; only at the end of an epoch some come again.

        A piece must be read before the next one is asked for: its window may be let go then.
        """
        for window, places in self._stretches(positions):
            yield self._tables.rows(window, self._local(window, places - window.start))

    def rest(self, following: npt.NDArray[np.int64] | None) -> None:
        """Let go of what the next places do not need, before what was read is handed out; None when there are none."""
        first = None if following is None else self._window_of(following)
        self._tables.rest(first)

    def close(self) -> None:
        """Let go of everything."""
        self._tables.rest(None)

    def _window_of(self, positions: npt.NDArray[np.int64]) -> Window:
        # Most batches are of the same window as the one before.
        first = int(positions[0])
        if not self._latest.start <= first < self._latest.stop:
            self._latest = self._plan.windows[int(self._plan.windows_of(positions[:1])[0])]
        return self._latest

    def _stretches(self, positions: npt.NDArray[np.int64]) -> Iterator[tuple[Window, npt.NDArray[np.int64]]]:
        windows = self._plan.windows
        window = self._window_of(positions)
        first, last = int(positions[0]), int(positions[-1])
        # Neighbouring places, as nearly all batches have them, need no look at each.
        if len(windows) == 1 or (last < window.stop and last - first == len(positions) - 1):
            yield window, positions
            return
        numbers = self._plan.windows_of(positions)
        ends = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(positions)]
        for start, stop in pairwise(ends):
            yield windows[int(numbers[start])], positions[start:stop]

    def _local(self, window: Window, offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        if self._plan.as_it_lies:
            return offsets
        if self._order is None or self._order[0] != window.number:
            # The old one goes first: the two may be large.
            self._order = None
            self._order = window.number, self._tables.order(window)
        return self._order[1][offsets]


def resident_cursor(plan: EpochPlan, table: Table) -> Cursor:
    """Go through an epoch of a version that is wholly in memory, by whatever plan."""
    return Cursor(plan, _Resident(plan, table))


def streamed_cursor(plan: EpochPlan, source: Windows, *, patience: float | None) -> Cursor:
    """Go through an epoch window by window.

    One window is held while another one is waited for by nobody: a process that waits for its turn must not keep the
    memory that those before it need. So the other cursors of the process let go of theirs first, but for those that other
    threads read right now. Where there is room for the next one at once another thread takes it while the one before is
    read, and two are held, the second for no longer than it is read on; else it is asked for ahead, which holds nothing.

    Parameters
    ----------
    patience
        Seconds that a window is held between two batches at most. None for who reads alone, without other ranks or
        workers: that is half a minute, and the window that was read to its end may be let go by the thread that takes
        windows ahead.
    """
    return Cursor(plan, _Streamed(plan, source, patience))


class _Resident:
    def __init__(self, plan: EpochPlan, table: Table) -> None:
        self._plan = plan
        self._table = table

    def rows(self, window: Window, local: npt.NDArray[np.int64]) -> Piece:
        return self._table, self._plan.row_numbers(window, local)

    def order(self, window: Window) -> npt.NDArray[np.int64]:
        return self._plan.order(window)

    def rest(self, window: Window | None) -> None:
        pass


class _Streamed:
    def __init__(self, plan: EpochPlan, source: Windows, patience: float | None) -> None:
        self._plan = plan
        self._source = source
        self._patience = patience
        self._held: tuple[int, Table] | None = None
        self._asked = 0
        # A thread that has it may be the one in which Python finds a forgotten iteration and closes it, which takes it again.
        self._turn = threading.RLock()
        self._rested: float | None = None
        """Since when nobody has read; None while somebody does."""
        self._impatient: threading.Timer | None = None
        self._coming: Coming | None = None
        self._ordered: tuple[int, npt.NDArray[np.int64]] | None = None
        """Of the window that comes, made by the thread that takes it."""
        self._number = -1
        """Of the window that is read, once all rows are there."""
        self._faults: int | None = None
        """Of this process when it was begun."""
        self.process: Final = os.getpid()
        _CURSORS[id(self)] = self

    def order(self, window: Window) -> npt.NDArray[np.int64]:
        ordered, self._ordered = self._ordered, None
        return ordered[1] if ordered is not None and ordered[0] == window.number else self._plan.order(window)

    def rows(self, window: Window, local: npt.NDArray[np.int64]) -> Piece:
        self._calm()
        whole = self._source.whole
        if whole is not None:
            self._go_on_in(whole, window)
            return whole, self._plan.row_numbers(window, local)
        if self._held is None or self._held[0] != window.number:
            self._source.ask_whole()
            table = self._come(window)
            if table is None:
                # Nobody waits for a window while it holds another one.
                self._let_go()
                table = self._wait_for(window)
            left, self._held = self._held, (window.number, table)
            self._look_ahead(window.number + 1, None if left is None else left[1])
        return self._held[1], local

    def _go_on_in(self, whole: Table, window: Window) -> None:
        """Let go of windows; where the kernel has dropped pages since, have the next window's read in again."""
        self._let_go()
        if self._number == window.number:
            return
        self._number = window.number
        left = self._come(window)
        if left is not None:
            left.close()
        faults, self._faults = self._faults, _major_faults()
        following = window.number + 1
        # To look at pages that are all there takes the time of several batches, so it is done only when some were not.
        if self._plan.shuffle and faults is not None and faults < self._faults and following < len(self._plan.windows):
            self._coming = Coming(following, lambda: read_in(whole, self._ranges(self._plan.windows[following])))

    def _ranges(self, window: Window) -> Iterator[tuple[int, int]]:
        for unit in window.units.tolist():
            yield unit * self._plan.unit_rows, min((unit + 1) * self._plan.unit_rows, self._plan.rows)

    def _come(self, window: Window) -> Table | None:
        """Return the window if it is what another thread has taken."""
        coming, self._coming = self._coming, None
        if coming is not None and coming.number != window.number:
            coming.drop()
            coming = None
        return None if coming is None else coming.table()

    def _look_ahead(self, number: int, left: Table | None) -> None:
        """Care for the window that will be read next, and for the one that was read before."""
        if self._patience != 0 and number < len(self._plan.windows):
            self._coming = Coming(number, lambda: self._take_at_once(self._plan.windows[number], left))
            return
        if left is not None:
            left.close()
        self._ask_ahead(number)

    def _take_at_once(self, window: Window, left: Table | None) -> Table | None:
        if left is not None:
            left.close()
        try:
            table = self._take(window, at_once=True)
        except AlluxioLanceError:
            # Mostly there is no room. Whatever it is, it is said when the window itself is wanted, if it is so still.
            self._ask_ahead(window.number)
            return None
        if not self._plan.as_it_lies:
            self._ordered = window.number, self._plan.order(window)
        return table

    def _wait_for(self, window: Window) -> Table:
        """Take a window, even if somebody has to let go of something first: then this process does."""
        others = [other for other in _cursors() if other is not self and other.holds]
        if others:
            # Mostly there is room for the windows of two: to let go of one with every batch of the other would be slow.
            with suppress(NoSpace):
                return self._take(window, at_once=True)
        for other in others:
            other.let_go_if_idle()
        return self._take(window)

    def _take(self, window: Window, *, at_once: bool = False) -> Table:
        table = self._source.window(window.units.tolist(), at_once=at_once)
        return populated(table) if self._plan.shuffle else table

    def _ask_ahead(self, number: int) -> None:
        if self._asked < number < len(self._plan.windows):
            self._asked = number
            # Whether the sidecar still lives is said when the window itself is wanted.
            with suppress(Unavailable):
                self._source.ahead(self._plan.windows[number].units.tolist())

    def rest(self, window: Window | None) -> None:
        if self._patience == 0 or window is None or (self._held is not None and self._held[0] != window.number):
            self._calm(for_good=window is None)
            # A lone reader has another thread let it go, if the next one is there: that takes as long as to read a batch.
            if self._patience is not None or window is None or not self._has_come(window):
                self._let_go()
            if window is None:
                self._drop_coming()
        # Whoever else is read in the loop may need the memory, and it may be read by other processes.
        if self.holds:
            with self._turn:
                self._rested = time.monotonic()
                # One timer sees many batches: to begin a thread takes as long as a small batch.
                if self._impatient is None:
                    self._watch(min(self._limit, _PATIENCE_AHEAD))

    def _calm(self, *, for_good: bool = False) -> None:
        with self._turn:
            self._rested = None
            if for_good and self._impatient is not None:
                self._impatient.cancel()
                self._impatient = None

    @property
    def holds(self) -> bool:
        """Whether there is anything to let go of, now or soon."""
        return self._coming is not None or self._held is not None

    def let_go_if_idle(self) -> None:
        """Let go of everything for another cursor of this process, unless a thread reads it right now.

        What was to come is not asked for ahead: that may take the room again.
        """
        with self._turn:
            if self._rested is not None:
                self._drop_coming()
                self._let_go()

    def _watch(self, seconds: float) -> None:
        timer = self._impatient = threading.Timer(seconds, self._lose_patience)
        timer.daemon = True
        timer.start()

    def _lose_patience(self) -> None:
        with self._turn:
            # One that was cancelled too late has nothing to say.
            if self._impatient is not threading.current_thread():
                return
            self._impatient = None
            # What is being read stays; the next rest watches it again.
            if self._rested is None:
                return
            dropped = self._let_go_idle(time.monotonic() - self._rested)
        if dropped is not None and self._source.whole is None:
            # It is loaded all the same, as far as there is room for it, but not held.
            self._ask_ahead(dropped)

    def _let_go_idle(self, idle: float) -> int | None:
        """Let go of what nobody has read for so many seconds; returns the number of the window that was to come."""
        limit = self._limit
        dropped = self._drop_coming() if idle >= min(limit, _PATIENCE_AHEAD) else None
        if idle >= limit:
            self._let_go()
        elif self.holds:
            self._watch((_PATIENCE_AHEAD if idle < _PATIENCE_AHEAD < limit else limit) - idle)
        return dropped

    @property
    def _limit(self) -> float:
        """Seconds without a batch after which the window that is held goes, too."""
        return _PATIENCE_ALONE if self._patience is None else self._patience

    def _has_come(self, window: Window) -> bool:
        return self._coming is not None and self._coming.has_come(window.number)

    def _drop_coming(self) -> int | None:
        coming, self._coming = self._coming, None
        if coming is None:
            return None
        coming.drop()
        return coming.number

    def _let_go(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            held[1].close()


_CURSORS: Final[WeakValueDictionary[int, _Streamed]] = WeakValueDictionary()
"""All that there are, under their `id`."""


def _cursors() -> list[_Streamed]:
    """List those of this process; a forked child leaves alone what its parent reads."""
    # Not behind a lock, as at a fork another thread may have it: all references are copied in one step.
    found = [reference() for reference in _CURSORS.valuerefs()]
    return [one for one in found if one is not None and one.process == os.getpid()]


def _major_faults() -> int:
    """Count the pages of this process that had to be read from a disk when they were touched."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_majflt
