"""Cache events on their way to those who watch: each has a short queue of its own, and none delays the cache."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from alluxio_lance.sidecar.residency import CacheEvent

__all__ = ["Happenings", "Listener"]

_MOST_WAITING: Final = 1024


class Listener:
    """Yields events until it is stopped.

    One that does not keep up is stopped too: it may ask again, and is told first what is hot then.
    """

    def __init__(self) -> None:
        self._events: queue.Queue[CacheEvent | None] = queue.Queue()
        self._stopped = threading.Event()

    def tell(self, event: CacheEvent) -> None:
        """Queue an event; does not wait."""
        if self._events.qsize() >= _MOST_WAITING:
            self.stop()
        elif not self._stopped.is_set():
            self._events.put(event)

    def stop(self) -> None:
        """Yield no more."""
        self._stopped.set()
        self._events.put(None)

    def __iter__(self) -> Iterator[CacheEvent]:
        while not self._stopped.is_set():
            event = self._events.get()
            if event is not None:
                yield event


class Happenings:
    """All who watch the cache."""

    def __init__(self) -> None:
        self._listeners: set[Listener] = set()
        self._closed = False
        self._lock = threading.Lock()

    def tell(self, event: CacheEvent) -> None:
        """Tell everybody; does not wait."""
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            listener.tell(event)

    @contextmanager
    def listening(self) -> Iterator[Listener]:
        """Listen for as long as the block runs."""
        listener = Listener()
        with self._lock:
            self._listeners.add(listener)
            if self._closed:
                listener.stop()
        try:
            yield listener
        finally:
            with self._lock:
                self._listeners.discard(listener)

    def close(self) -> None:
        """Stop all listeners, and those that come later."""
        with self._lock:
            self._closed = True
            listeners = list(self._listeners)
        for listener in listeners:
            listener.stop()
