"""A window that another thread takes while the one before it is read."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from alluxio_lance.client.table import Table

__all__ = ["Coming"]


class Coming:
    """The table of a window, once it is there.

    Parameters
    ----------
    number
        Which window of its epoch it is.
    take
        Takes it, or returns None where it cannot be had now; called in a thread of its own.
    """

    def __init__(self, number: int, take: Callable[[], Table | None]) -> None:
        self.number: Final = number
        self._take = take
        self._lock = threading.Lock()
        self._table: Table | None = None
        self._error: BaseException | None = None
        self._unwanted = False
        # Not one that the interpreter waits for at its end: the sidecar may be slow, and nobody wants the window then.
        self._thread = threading.Thread(target=self._run, name="alluxio-lance-window", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            table = self._take()
        except BaseException as error:  # noqa: BLE001 - whoever wants the window gets it, whatever it is
            self._error = error
            return
        with self._lock:
            if not self._unwanted:
                self._table = table
                return
        if table is not None:
            table.close()

    def has_come(self, number: int) -> bool:
        """Tell whether it is this window, and is there."""
        return self.number == number and self._table is not None

    def table(self) -> Table | None:
        """Wait for the window, which is the caller's then, and once; what went wrong is raised here."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        with self._lock:
            table, self._table = self._table, None
        return table

    def drop(self) -> None:
        """Let it go as soon as it is there, without waiting for that; a second call does nothing."""
        with self._lock:
            self._unwanted = True
            table, self._table = self._table, None
        if table is not None:
            table.close()
