"""The feed: tells everybody in the sidecar at once that the catalog has new events, whoever wrote them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Final, Protocol, Self

import structlog

from alluxio_lance.errors import AlluxioLanceError

__all__ = ["Feed", "LastEvent"]

_log = structlog.get_logger(__name__)

_POLL: Final = 0.2
"""Seconds between two looks for events that another process wrote."""
_SLOWEST: Final = 5.0
"""Seconds between two looks at a catalog that does not answer."""


class LastEvent(Protocol):
    """The part of the catalog that the feed looks at."""

    def last_event(self) -> int:
        """Return the highest sequence."""
        ...


class Feed:
    """The highest sequence of the catalog's events, kept fresh by one thread for all who wait.

    Parameters
    ----------
    nudge
        Set by whoever has just changed something in this process: the feed looks at once.
    """

    def __init__(self, catalog: LastEvent, nudge: threading.Event | None = None) -> None:
        self._catalog = catalog
        self._last = catalog.last_event()
        self._closed = False
        self._changed = threading.Condition()
        self._nudged = nudge or threading.Event()
        self._thread = threading.Thread(target=self._look, name="feed", daemon=True)
        self._thread.start()

    @property
    def last(self) -> int:
        """The highest sequence known."""
        return self._last

    @property
    def closed(self) -> bool:
        """Whether nothing more will come."""
        return self._closed

    def wake(self) -> None:
        """Let all who wait ask again whether they should."""
        with self._changed:
            self._changed.notify_all()

    def wait(self, after: int, timeout: float | None = None, *, until: Callable[[], bool] = lambda: False) -> bool:
        """Wait for an event above ``after``, but not when ``until`` says yes or the feed is closed.

        Whoever makes ``until`` say yes calls `wake` afterwards.

        Returns
        -------
        bool
            Whether there is such an event.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._last > after or self._closed or until(), timeout)
            return self._last > after

    def close(self) -> None:
        """Let all who wait go; a second call does nothing."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._nudged.set()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _look(self) -> None:
        pause = _POLL
        while not self._closed:
            self._nudged.wait(pause)
            self._nudged.clear()
            try:
                last = self._catalog.last_event()
                pause = _POLL
            except AlluxioLanceError as error:
                pause = min(pause * 2, _SLOWEST)
                _log.warning("the catalog does not answer; looking again", error=error.message, seconds=pause)
                continue
            if last != self._last:
                with self._changed:
                    self._last = last
                    self._changed.notify_all()
