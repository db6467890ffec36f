"""A version larger than memory: read window by window, each a `Table` of its own that the sidecar made hot for it."""

from __future__ import annotations

import operator
import os
import resource
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import TracebackType
from typing import Final, Self

import pyarrow as pa

from alluxio_lance.address import Address
from alluxio_lance.client.attaching import Connections
from alluxio_lance.client.columns import AnyColumn, open_columns
from alluxio_lance.client.counting import ReadCounters
from alluxio_lance.client.descriptors import Descriptors
from alluxio_lance.client.mapped import Mapped
from alluxio_lance.client.opening import open_stream
from alluxio_lance.client.table import Table, schema_of
from alluxio_lance.client.window import WindowLease
from alluxio_lance.errors import InvalidArgument
from alluxio_lance.layout import Layout
from alluxio_lance.manager import OnProgress

__all__ = ["StreamedVersion"]


_DESCRIPTORS: Final = 4
"""All units may take one of so many descriptors that this process may have: the rest is the program's."""


@dataclass(frozen=True, slots=True)
class _Travelling:
    """What a pickled one carries."""

    address: Address
    token: str
    layout: Layout
    window_units: int


class StreamedVersion:
    """One version, leased but not loaded: its rows are cut into units, of which windows are asked for.

    Safe to use from several threads: one may ask ahead, or for the next window, while another one reads. A copy, forked
    or pickled, has connections of its own to the door. All copies share the lease and what is hot.

    Attributes
    ----------
    layout
        The columns, without segments.
    window_units
        How many units a window may have so that two windows fit into the node's budget; at least 1.
    """

    def __init__(self, connections: Connections, layout: Layout, window_units: int) -> None:
        self.layout: Final = layout
        self.window_units: Final = window_units
        self._connections = connections
        # Without a reference to this object: who forgets it is told.
        self._mapped = Mapped(partial(_take_whole, connections, layout, self.units))
        self._owner = os.getpid()
        self._is_copy = False

    @classmethod
    def open(
        cls,
        uri: str,
        columns: Sequence[str] | None = None,
        address: str | None = None,
        *,
        wait: bool = False,
        on_progress: OnProgress | None = None,
    ) -> StreamedVersion:
        """Take a lease on a version; arguments and errors as of `open_lease`.

        Loads nothing, but for one unit when there are columns without a fixed width: only then the sidecar knows how
        many units fit.

        Raises
        ------
        NoSpace
            When not even one unit fits into the node's budget.
        """
        found = Address.find(address)
        opened, door = open_stream(uri, columns, found, wait=wait, on_progress=on_progress)
        return cls(Connections(found, opened.token, door), opened.layout, opened.window_units)

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self.layout.num_rows

    @property
    def unit_rows(self) -> int:
        """Rows of every unit but the last."""
        return self.layout.shard_rows

    @property
    def units(self) -> int:
        """How many units there are."""
        return -(-self.rows // self.unit_rows)

    @property
    def schema(self) -> pa.Schema:
        """The Arrow types of the columns, as they were registered."""
        return schema_of(self.layout)

    @property
    def columns(self) -> Mapping[str, AnyColumn]:
        """The columns by name, without a row: what they are."""
        return open_columns(replace(self.layout, num_rows=0), Descriptors(()), ReadCounters())

    @property
    def address(self) -> Address:
        """Where the sidecar is."""
        return self._connections.address

    @property
    def token(self) -> str:
        """The lease, as the sidecar knows it."""
        return self._connections.token

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._connections.closed

    def window(self, units: Sequence[int], *, at_once: bool = False) -> Table:
        """Hold units together and read them as one table, in this order; waits until they are hot.

        Waits for room, too, while other readers hold it; close a window before you ask for the next one where two may
        not fit. A column of lists that turns out to have null items comes as ``ColumnKind.ARROW`` from then on,
        whatever `layout` says.

        Parameters
        ----------
        units
            Numbers of units, each once; where the last unit of the version is shorter than the others it comes last.
        at_once
            Not to wait for room, nor take any that another reader has a use for: the one way to ask for a window while
            this process holds another one.

        Returns
        -------
        Table
            ``units`` times `unit_rows` rows; close it to let the units go.

        Raises
        ------
        IndexError
            When there is no such unit.
        InvalidArgument
            When there are none, one comes twice, or the short last one is not at the end.
        NoSpace
            When the window is larger than the node's budget, others held the room for many minutes, or there is none
            at once.
        Unavailable
            When the sidecar is gone, or this was closed.
        """
        lease = WindowLease.take(self._connections, self.layout, self._checked(units), at_once=at_once)
        return Table.holding(lease)

    def ahead(self, units: Sequence[int]) -> None:
        """Have units loaded in the background that will be asked for soon, the most urgent first; returns at once.

        A hint: without room for them nothing happens. They stay until a window of this process has had them, this is
        closed, or a window needs the room. Errors as of `window`, as far as they are about ``units``.
        """
        numbers = self._checked(units, in_order=False)
        self._connections.first.ahead(self._connections.token, numbers)

    @property
    def whole(self) -> Table | None:
        """All rows as one table, mapped from the files of the node's disk tier; None where it was not found possible yet.

        It takes no memory of the budget: the page cache has what is read of it. It is there from some time after
        `ask_whole` until this is closed, and is not the caller's to close. Does not wait.
        """
        return self._mapped.table

    def ask_whole(self) -> None:
        """Have another thread ask whether `whole` can be had, as after the first epoch mostly; returns at once.

        It can when all units were written to the disk tier, or read from it, in this run of the sidecar, and the page
        cache is likely to keep them.
        """
        if self.units * len(self.layout.columns) <= resource.getrlimit(resource.RLIMIT_NOFILE)[1] // _DESCRIPTORS:
            self._mapped.ask()

    def _checked(self, units: Sequence[int], *, in_order: bool = True) -> list[int]:
        try:
            numbers = [operator.index(unit) for unit in units]
        except TypeError as error:
            raise InvalidArgument(f"units are chosen by a sequence of integers, not by {units!r}") from error
        for number in numbers:
            if not 0 <= number < self.units:
                raise IndexError(f"unit {number} is out of range for {self.units} units")
        if not numbers:
            raise InvalidArgument("a window has at least one unit")
        if len(set(numbers)) != len(numbers):
            raise InvalidArgument(f"a unit comes twice in {numbers[:20]} - name each once")
        if in_order and self.units - 1 in numbers[:-1] and self.rows % self.unit_rows:
            raise InvalidArgument(
                f"unit {self.units - 1} of {self.layout.uri} has fewer rows than the others: it can only be at the end of "
                "a window"
            )
        return numbers

    def close(self) -> None:
        """Give the lease back; a second call does nothing. Windows stay readable, and hold it, until they are closed."""
        self._mapped.close()
        self._connections.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self, _ending: Callable[[], bool] = sys.is_finalizing) -> None:
        if _ending() or "_connections" not in self.__dict__ or self.closed:
            return
        self.close()
        # Copies in worker processes end with their worker: nobody there could close them.
        if self._owner == os.getpid() and not self._is_copy:
            warnings.warn(f"the stream of {self.layout.uri} was not closed", ResourceWarning, stacklevel=2, source=self)

    def __getstate__(self) -> _Travelling:
        connections = self._connections
        return _Travelling(connections.address, connections.token, self.layout, self.window_units)

    def __setstate__(self, state: _Travelling) -> None:
        connections = Connections.attach(state.address, state.token)
        self.__init__(connections, state.layout, state.window_units)  # type: ignore[misc]  # unpickling makes the object without calling it
        self._is_copy = True


def _take_whole(connections: Connections, layout: Layout, units: int) -> Table | None:
    lease = WindowLease.take_mapped(connections, layout, units)
    return None if lease is None else Table.holding(lease)
