"""Rows by number of a version that is not in memory: the units that they lie in are held for as long as they are read."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from typing import Final, NoReturn

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from alluxio_lance.address import Address
from alluxio_lance.client.columns import AnyColumn
from alluxio_lance.client.counting import ReadStatistics
from alluxio_lance.client.descriptors import Descriptors
from alluxio_lance.client.ondemand_held import HeldWindow, none_idle_but
from alluxio_lance.client.streamed import StreamedVersion
from alluxio_lance.client.table import Table
from alluxio_lance.errors import NoSpace, Unavailable
from alluxio_lance.layout import Layout
from alluxio_lance.manager import OnProgress

__all__ = ["OnDemand", "Take"]

_KEPT: Final = 8
"""Units that are held between two reads, at most: 64 MiB as a rule. Who reads neighbours, in a few places in turn, has what
comes next among them; who reads at random has hardly any use for more."""
_FEW: Final = 1024
"""Rows up to which Python finds their units before numpy does."""

Take = Callable[[Table, npt.NDArray[np.int64], npt.NDArray[np.int64]], None]
"""Takes rows: the table they are in, their numbers there, and which ones of those asked for they are."""


class OnDemand:
    """A streamed version, of which any row can be read at any time; what `Table` is to a version in memory.

    A process holds one window at a time, and none while it waits for another one. What it let go stays hot for all
    readers of the node until somebody needs the room, so that to ask for it again is a question at the door. Once all of it
    lies on the node's disk it is mapped from there as a whole, see `StreamedVersion.whole`, and no window is needed.

    Safe to use from several threads, which take turns, and picklable. A copy, forked or pickled, holds a window of its
    own. All copies share the lease and what is hot.

    Attributes
    ----------
    version
        The version.
    """

    def __init__(self, version: StreamedVersion) -> None:
        self.version: Final = version
        self._windows: dict[int, HeldWindow] = {}
        """Under the number of its process the window of this one."""
        self._last = -1
        """The last unit of the window that was asked for last."""

    @classmethod
    def open(
        cls,
        uri: str,
        columns: Sequence[str] | None = None,
        address: str | None = None,
        *,
        wait: bool = False,
        on_progress: OnProgress | None = None,
    ) -> OnDemand:
        """Take a lease on a version; arguments and errors as of `StreamedVersion.open`."""
        return cls(StreamedVersion.open(uri, columns, address, wait=wait, on_progress=on_progress))

    # -- reading ---------------------------------------------------------------------------------------------------

    def read(self, rows: npt.NDArray[np.int64], take: Take, *, readers: int = 1) -> None:
        """Read rows in as few windows as they fit into, in any order of windows.

        Parameters
        ----------
        rows
            Numbers of rows of the version, all of which are there; in any order, and as often as they are wanted.
        take
            Called for each window. It must not keep the table, nor read this version.
        readers
            How many processes like this one read side by side. What they hold between two reads is, together, no more
            than one window, which leaves room for that of whoever waits: so many readers hold nothing.

        Raises
        ------
        Unavailable, NoSpace, NotFound, Corrupt
            As of `StreamedVersion.window`; `Unavailable` also when it was closed.
        """
        units = rows // self.version.unit_rows
        held = self._held()
        kept = min(_KEPT, self.version.window_units // readers)
        with held.turn:
            held.calm()
            try:
                self._check_open()
                whole = self.version.whole
                if whole is None:
                    self._read(held, rows, units, take, kept)
                else:
                    held.let_go()
                    take(whole, rows, np.arange(len(rows)))
            finally:
                if len(held.units) > kept or self.version.closed:
                    held.let_go()
                held.rest()

    def _read(
        self, held: HeldWindow, rows: npt.NDArray[np.int64], units: npt.NDArray[np.int64], take: Take, kept: int
    ) -> None:
        # A set is quicker for few rows, as most reads have them, and for one most of all.
        left = sorted(set(units.tolist())) if len(units) < _FEW else np.unique(units).tolist()
        whole = len(left) <= self.version.window_units
        while left:
            inside = held.among(left)
            # In one window rather than in two, if one can have them all: what was held is still hot.
            if not inside or (whole and len(inside) < len(left)):
                self._hold(held, left, kept)
                inside = held.among(left)
            assert held.table is not None, "it has units"
            held.used(inside)
            left = [] if whole else sorted(set(left).difference(inside))
            places = np.arange(len(rows)) if whole else np.flatnonzero(np.isin(units, inside))
            local = np.searchsorted(held.units, units[places]) * self.version.unit_rows
            take(held.table, local + rows[places] % self.version.unit_rows, places)

    def _hold(self, held: HeldWindow, units: Sequence[int], kept: int) -> None:
        """Hold as many of these units as one can, from the first one on."""
        most = self.version.window_units
        now, later = units[:most], units[most : 2 * most]
        beside = held.latest(kept - len(now))
        # Nobody waits for a window while it holds another one.
        held.let_go()
        none_idle_but(held)
        self.version.ask_whole()
        # In the order of their numbers neighbours stay neighbours, and the short last one is the last.
        joined = sorted({*now, *beside})
        held.hold(self.version.window(joined), joined)
        self._look_ahead(now, later)

    def _look_ahead(self, now: Sequence[int], later: Sequence[int]) -> None:
        """Have units loaded that are needed next, or that will be if one window goes on where the one before ended."""
        before, self._last = self._last, now[-1]
        coming = list(later)
        if not coming and now[0] in {before, before + 1}:
            coming = list(range(self._last + 1, min(self._last + 1 + len(now), self.version.units)))
        if coming:
            # Whether the sidecar still lives is said when they are wanted.
            with suppress(Unavailable):
                self.version.ahead(coming)

    def _held(self) -> HeldWindow:
        process = os.getpid()
        held = self._windows.get(process)
        if held is not None:
            return held
        # Not behind a lock: at a fork another thread may have it. Of two threads that come here one wins.
        held = self._windows.setdefault(process, HeldWindow())
        for other in set(self._windows) - {process}:
            inherited = self._windows.pop(other, None)
            if inherited is not None:
                inherited.drop()
        return held

    # -- facts -----------------------------------------------------------------------------------------------------

    @property
    def layout(self) -> Layout:
        """Names of everything, without places."""
        return self.version.layout

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self.version.rows

    @property
    def schema(self) -> pa.Schema:
        """The Arrow types of the columns, as they were registered."""
        return self.version.schema

    @property
    def address(self) -> Address:
        """Where the sidecar is."""
        return self.version.address

    @property
    def columns(self) -> Mapping[str, AnyColumn]:
        """The columns by name, without a row: what they are, and room for rows of theirs.

        A column of lists may come as another kind in a window, see `StreamedVersion.window`.

        Raises
        ------
        Unavailable
            When it was closed.
        """
        self._check_open()
        return self.blank.columns

    @cached_property
    def blank(self) -> Table:
        """The version without its rows."""
        return Table(_NoRows(self.version))

    def _check_open(self) -> None:
        if self.closed:
            raise Unavailable(f"{self.layout.uri} was closed - open it again", what="lease")

    def column(self, name: str) -> NoReturn:
        """Refuse to read a whole column.

        Raises
        ------
        NotFound
            When there is none of that name; the message lists the columns.
        NoSpace
            Otherwise: it is not in memory.
        """
        self._check_open()
        self.blank.column(name)
        raise NoSpace(
            f"column {name!r} of {self.layout.uri} is read on demand and is not in memory as a whole - open fewer columns "
            "(columns=[…]) or raise ALLUXIO_LANCE_MEMORY_BUDGET to have it there, read a part of it with batch(range(…)), "
            "or go through everything with IterableDataset"
        )

    def statistics(self) -> ReadStatistics:
        """Count what was mapped and what was moved in this process."""
        whole = self.version.whole
        windows = self._held().statistics()
        return windows if whole is None else windows + whole.statistics()

    # -- the end ---------------------------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self.version.closed

    def close(self) -> None:
        """Give the lease back; a second call does nothing. A thread that reads right now lets its window go at the end."""
        self.version.close()
        self._held().let_go_if_idle()

    def __del__(self, _ending: Callable[[], bool] = sys.is_finalizing) -> None:
        if not _ending():
            # That it was not closed is said by the version.
            for held in self.__dict__.get("_windows", {}).values():
                held.drop()

    def __getstate__(self) -> StreamedVersion:
        return self.version

    def __setstate__(self, state: StreamedVersion) -> None:
        self.__init__(state)  # type: ignore[misc]  # unpickling makes the object without calling it


class _NoRows:
    """What holds nothing of a version: behind a table that tells its columns."""

    attached = True

    def __init__(self, version: StreamedVersion) -> None:
        columns = tuple(replace(column, segments=()) for column in version.layout.columns)
        self.address: Final = version.address
        self.token: Final = version.token
        self.layout: Final = replace(version.layout, num_rows=0, columns=columns)
        self.descriptors: Final = Descriptors(())
        self.closed = False

    def close(self) -> None:
        """Close it."""
        self.closed = True
