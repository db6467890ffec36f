"""All of a streamed version as one table, from the time on when the disk of this node has all of it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from alluxio_lance.client.fixed import FixedColumn
from alluxio_lance.client.table import Table
from alluxio_lance.errors import AlluxioLanceError, Unavailable

__all__ = ["Mapped", "populated", "read_in"]

_PAUSE: Final = 10
"""Times that a question took until the next one: where it is always refused, it takes a tenth of a thread at most."""


class Mapped:
    """What a process has of it; a forked child goes on with what its parent had.

    Parameters
    ----------
    take
        Maps it, or returns None where that cannot be had now.
    """

    def __init__(self, take: Callable[[], Table | None]) -> None:
        self._take = take
        self._table: Table | None = None
        self._askers: dict[int, threading.Thread] = {}
        """Under the number of its process the thread that asks for it."""
        self._closed = False
        self._not_before = 0.0
        """When the next question may be asked."""

    @property
    def table(self) -> Table | None:
        """All rows, if they are there; does not wait. It is not the caller's to close."""
        return self._table

    def ask(self) -> None:
        """Have another thread ask for it, unless it is there, or one does so or did so just now; returns at once."""
        if self._table is not None or self._closed or time.monotonic() < self._not_before:
            return
        # Not one that the interpreter waits for at its end: the sidecar may be slow.
        asker = threading.Thread(target=self._ask, name="alluxio-lance-mapped", daemon=True)
        # Not behind a lock: at a fork another thread may have it.
        if self._askers.setdefault(os.getpid(), asker) is asker:
            asker.start()

    def _ask(self) -> None:
        begun = time.monotonic()
        try:
            # The asker before this one may have got it just when this one was begun.
            if self._table is None:
                self._table = self._populated()
        except AlluxioLanceError:
            # A hint: what is wrong is said when a window is wanted.
            return
        finally:
            now = time.monotonic()
            self._not_before = now + _PAUSE * (now - begun)
            del self._askers[os.getpid()]
        if self._closed:
            self._drop()

    def _populated(self) -> Table | None:
        table = self._take()
        return None if table is None else populated(table)

    def close(self) -> None:
        """Let it go; a second call does nothing."""
        self._closed = True
        self._drop()

    def _drop(self) -> None:
        table, self._table = self._table, None
        if table is not None:
            table.close()


def populated(table: Table) -> Table:
    """Fill the page tables of what is read in a random order: its first batch would find hardly a page of it there.

    Raises
    ------
    Unavailable
        When bytes cannot be had. The table is closed then.
    """
    try:
        for column in _fixed(table):
            with _told(column, table):
                column.populate()
    except BaseException:
        table.close()
        raise
    return table


def read_in(table: Table, rows: Iterable[tuple[int, int]]) -> None:
    """Have ranges of rows read in of which the kernel may have dropped pages since; `Unavailable` when bytes cannot be had."""
    ranges = list(rows)
    for column in _fixed(table):
        with _told(column, table):
            for start, stop in ranges:
                column.read_in(start, stop)


def _fixed(table: Table) -> list[FixedColumn]:
    return [column for column in table.columns.values() if isinstance(column, FixedColumn)]


@contextmanager
def _told(column: FixedColumn, table: Table) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(
            f"column {column.layout.name} of {table.layout.uri} cannot be read: {error} - look into the system's log for "
            "errors of the disk that the sidecar keeps its disk_dir on",
            what="disk tier",
        ) from error
