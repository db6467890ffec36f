"""One hook's line: a bounded queue and the thread that works it off, so that one that is slow keeps nobody else waiting."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

import structlog

from alluxio_lance.lifecycle.hooks.telling import Untold, tell
from alluxio_lance.lifecycle.rules.document import Hook

__all__ = ["Line"]

_log = structlog.get_logger(__name__)

_LONGEST: Final = 1000


class Line:
    """The news for one hook, in order. ``closed`` lines take nothing."""

    def __init__(self, name: str, *, closed: bool = False) -> None:
        self._name = name
        self._waiting: deque[tuple[Hook, Mapping[str, Any]]] = deque()
        self._changed = threading.Condition()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._busy = self._delivered = self._failed = self._dropped = 0
        if closed:
            self._ending.set()

    def put(self, hook: Hook, news: Mapping[str, Any]) -> None:
        """Add news; when too much waits, or the end has come, it is dropped and counted."""
        with self._changed:
            if self._ending.is_set() or len(self._waiting) >= _LONGEST:
                self._dropped += 1
                return
            self._waiting.append((hook, news))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=f"alluxio-lance-hook-{self._name}", daemon=True)
                self._thread.start()
            self._changed.notify()

    def counts(self) -> tuple[int, int, int, int]:
        """Return how much waits, was delivered, failed, and was dropped."""
        with self._changed:
            return len(self._waiting) + self._busy, self._delivered, self._failed, self._dropped

    def end(self) -> None:
        """Take nothing more; what waits is still told, without retries."""
        with self._changed:
            self._ending.set()
            self._changed.notify()

    def join(self, seconds: float) -> None:
        """Wait for the thread; what it has not told by then is dropped."""
        if self._thread is not None:
            self._thread.join(seconds)
        with self._changed:
            self._dropped += len(self._waiting)
            self._waiting.clear()

    def _work(self) -> None:
        while (next_one := self._next()) is not None:
            hook, news = next_one
            delivered = False
            try:
                # While the end waits nobody can wait for a better moment to try again.
                tell(hook, news, self._ending.wait)
                delivered = True
            except Untold as error:
                _log.warning("a hook could not be told", hook=self._name, reason=str(error))
            except Exception:  # noqa: BLE001 - the thread outlives whatever one hook does
                _log.exception("a hook erred", hook=self._name)
            with self._changed:
                self._busy = 0
                self._delivered += delivered
                self._failed += not delivered

    def _next(self) -> tuple[Hook, Mapping[str, Any]] | None:
        with self._changed:
            while not self._waiting:
                if self._ending.is_set():
                    return None
                self._changed.wait()
            self._busy = 1
            return self._waiting.popleft()
