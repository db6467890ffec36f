"""Deadlines around what Lance reads over a network: a call of Lance that hangs is left to its own thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Final, Generic, TypeVar

from alluxio_lance.errors import Unavailable

__all__ = ["PATIENCE", "Pump", "within"]

T = TypeVar("T")

PATIENCE: Final = 120.0
"""Seconds without an answer, or without another batch."""
_AHEAD: Final = 2
"""Batches that wait for the consumer, besides those that Lance itself reads ahead."""


def within(seconds: float, where: str, call: Callable[[], T]) -> T:
    """Make a call in a thread of its own.

    Parameters
    ----------
    seconds
        How long to wait for its end.
    where
        What is read, for the sentence.

    Raises
    ------
    Unavailable
        When it has not ended by then. The thread stays, if it hangs for ever.
    """
    with closing(Pump(seconds, where, lambda: iter((call(),)))) as answers:
        return next(answers)


class Pump(Generic[T]):
    """An iterator that a thread of its own draws from another one, a little ahead of the consumer.

    Parameters
    ----------
    seconds
        How long to wait for an item; then `Unavailable` is raised, and the thread stays if it hangs for ever.
    where
        What is read, for the sentence.
    make
        Makes the other iterator, in that thread.
    """

    def __init__(self, seconds: float, where: str, make: Callable[[], Iterator[T]]) -> None:
        self._seconds = seconds
        self._where = where
        self._make = make
        self._room = threading.Semaphore(_AHEAD)
        self._ready: queue.SimpleQueue[tuple[list[T], BaseException | None]] = queue.SimpleQueue()
        self._over = False
        # A daemon: the process can end while Lance hangs.
        threading.Thread(target=self._run, name="alluxio-lance-read", daemon=True).start()

    def _run(self) -> None:
        try:
            for item in self._make():
                self._ready.put(([item], None))
                self._room.acquire()
                if self._over:
                    return
            self._ready.put(([], None))
        except BaseException as error:  # noqa: BLE001 - it is raised again where the items are wanted
            self._ready.put(([], error))

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        if self._over:
            raise StopIteration
        try:
            items, error = self._ready.get(timeout=self._seconds)
        except queue.Empty:
            self.close()
            raise Unavailable(
                f"{self._where} gave nothing for {self._seconds:g} s: see whether Alluxio is up with "
                "`alluxio-lance alluxio status`, then try again",
                what="alluxio",
            ) from None
        if error is not None:
            self.close()
            raise error
        if not items:
            self.close()
            raise StopIteration
        self._room.release()
        return items[0]

    def close(self) -> None:
        """Let the thread end with its next item; a second call does nothing."""
        self._over = True
        self._room.release()
