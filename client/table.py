"""An open version: its lease, and its columns in this process' memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

import pyarrow as pa

from alluxio_lance.address import Address
from alluxio_lance.client.columns import AnyColumn, open_columns
from alluxio_lance.client.counting import ReadCounters, ReadStatistics
from alluxio_lance.client.lease import Held
from alluxio_lance.client.opening import open_lease
from alluxio_lance.errors import NotFound, Unavailable
from alluxio_lance.layout import Layout
from alluxio_lance.manager import OnProgress

__all__ = ["Table", "schema_of"]


def schema_of(layout: Layout) -> pa.Schema:
    """Return the Arrow types of the columns, as they were registered."""
    return pa.schema([pa.ipc.read_schema(pa.py_buffer(column.schema)).field(0) for column in layout.columns])


class Table:
    """One version, pinned. Picklable: a copy attaches where it arrives and maps the same memory."""

    def __init__(self, lease: Held) -> None:
        self.lease: Final = lease
        self._counters = ReadCounters()
        self._columns = open_columns(lease.layout, lease.descriptors, self._counters)

    @classmethod
    def open(
        cls,
        uri: str,
        columns: Sequence[str] | None = None,
        address: str | None = None,
        *,
        wait: bool = False,
        on_progress: OnProgress | None = None,
    ) -> Table:
        """Open a version; ``wait``, ``on_progress`` and errors as in `open_lease`."""
        lease = open_lease(uri, columns, Address.find(address), wait=wait, on_progress=on_progress)
        return cls.holding(lease)

    @classmethod
    def holding(cls, lease: Held) -> Table:
        """Make the table of a lease, which is closed if that fails."""
        try:
            return cls(lease)
        except BaseException:
            lease.close()
            raise

    @property
    def layout(self) -> Layout:
        """Names and places of everything."""
        return self.lease.layout

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self.layout.num_rows

    @property
    def schema(self) -> pa.Schema:
        """The Arrow types of the columns, as they were registered."""
        return schema_of(self.layout)

    @property
    def columns(self) -> Mapping[str, AnyColumn]:
        """The columns by name.

        Raises
        ------
        Unavailable
            When the version was closed.
        """
        if self.lease.closed:
            raise Unavailable(f"{self.layout.uri} was closed - open it again", what="lease")
        return self._columns

    def column(self, name: str) -> AnyColumn:
        """Find a column.

        Raises
        ------
        NotFound
            When there is none of that name; the message lists the columns.
        """
        columns = self.columns
        if name not in columns:
            raise NotFound(f"{self.layout.uri} has no column {name!r}, it has {', '.join(columns)}")
        return columns[name]

    def statistics(self) -> ReadStatistics:
        """Count what was mapped and what was moved in this process."""
        return self._counters.statistics()

    def close(self) -> None:
        """Give the lease back; a second call does nothing. Arrays that were handed out stay valid."""
        self.lease.close()
        # Not emptied: a thread that reads right now goes on in the old one.
        self._columns = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __getstate__(self) -> Held:
        return self.lease

    def __setstate__(self, state: Any) -> None:
        self.__init__(state)  # type: ignore[misc]  # unpickling makes the object without calling it
