"""The last step of an operation, taken behind the answer to its caller: the pointer has moved, and what mirrors it follows."""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

from alluxio_lance.lifecycle.journal import Running
from alluxio_lance.values import Verb

__all__ = ["Settler"]

_BEHIND: Final = frozenset({Verb.ACTIVATE, Verb.DEPRECATE, Verb.ROLLBACK})
"""The verbs that move the pointer alone: what is left of them when they are committed are copies of it."""
_MOST: Final = 64
"""Operations that wait; whoever comes with one more takes its last step himself, and is slowed down by that."""


class Settler:
    """One thread that settles operations one after the other. No thread runs before the first one comes.

    A process that dies loses nothing: the journal has each operation as done and not settled until its turn has come, and
    whoever mends finishes it.

    Parameters
    ----------
    settle
        Takes the last step. What it raises would end the thread, so that it must not.
    """

    def __init__(self, settle: Callable[[Running], None]) -> None:
        self._settle = settle
        self._waiting: queue.SimpleQueue[tuple[Running, ExitStack] | None] = queue.SimpleQueue()
        self._open: Counter[tuple[str, str]] = Counter()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def takes(self, running: Running, alive: ExitStack) -> bool:
        """Settle an operation soon, unless it is none of those that may be settled later, or too many wait.

        ``alive`` keeps the operation's heartbeat going, and is closed when it is settled.
        """
        operation = running.operation
        if operation.verb not in _BEHIND:
            return False
        with self._changed:
            if self._closed or self._open.total() >= _MOST:
                return False
            self._open[operation.type, operation.name] += 1
            self._waiting.put((running, alive.pop_all()))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="alluxio-lance-settler", daemon=True)
                self._thread.start()
        return True

    def wait(self, type: str, name: str) -> None:
        """Wait until nothing of a resource is left to settle: before a verb that removes or adds what is mirrored."""
        with self._changed:
            self._changed.wait_for(lambda: not self._open[type, name])

    def close(self) -> None:
        """Settle what waits, and end; a second call does nothing."""
        with self._changed:
            self._closed = True
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join()

    def _work(self) -> None:
        while (found := self._waiting.get()) is not None:
            running, alive = found
            try:
                with alive:
                    self._settle(running)
            finally:
                self._done(running)

    def _done(self, running: Running) -> None:
        place = running.operation.type, running.operation.name
        with self._changed:
            self._open[place] -= 1
            if not self._open[place]:
                del self._open[place]
            self._changed.notify_all()
