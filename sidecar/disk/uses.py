"""When columns were last used, brought to the disk now and then: to note it there each time would cost more than the use."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Final

__all__ = ["Uses"]

_PAUSE: Final = 60.0
"""Seconds of uses that a death of the process may forget: then only the order in which columns go is an older one."""


class Uses:
    """The columns that were used and are not noted on the disk yet; safe to use from any thread.

    Parameters
    ----------
    touch
        Notes one on the disk.
    pause
        Seconds between two rounds.
    """

    def __init__(self, touch: Callable[[str], None], pause: float = _PAUSE) -> None:
        self._touch = touch
        self._pause = pause
        self._waiting: dict[str, None] = {}
        """By their last use, the oldest first."""
        self._next = time.monotonic() + pause
        self._lock = threading.Lock()

    def note(self, digests: Iterable[str]) -> None:
        """Note that columns were used now, in this order."""
        with self._lock:
            for digest in digests:
                self._waiting.pop(digest, None)
                self._waiting[digest] = None
            due = time.monotonic() >= self._next
        if due:
            self.flush()

    def flush(self) -> None:
        """Bring all to the disk."""
        with self._lock:
            waiting, self._waiting = self._waiting, {}
            self._next = time.monotonic() + self._pause
        for digest in waiting:
            self._touch(digest)
