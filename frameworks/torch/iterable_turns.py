"""Which epoch an iteration reads: counted in memory that a process shares with the workers of its DataLoaders.

Each iteration takes the next epoch. The workers of one iteration start it one by one, and some perhaps late: what they
have in common is the base of the seeds that torch gives them, and how often each has been started before. The first one
that comes with it takes the epoch for all.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import astuple
from typing import Final
from weakref import WeakSet

from torch.utils.data import get_worker_info

from alluxio_lance.client.descriptors import Origin, identities, take_from, writable
from alluxio_lance.client.epochs.state import Start
from alluxio_lance.errors import Unavailable

__all__ = ["Turns"]

_START: Final = len(Start.__dataclass_fields__)
_ENTRY: Final = 2 + _START
"""The iteration's token, how many of its workers have started it, and where they do."""
_ENTRIES: Final = 16
"""Iterations that are remembered: as many may be under way at once."""
_HEAD: Final = 1 + _START
"""How many iterations there were, and where the next one starts."""
_WORDS: Final = _HEAD + _ENTRIES * _ENTRY
_MAIN: Final = -1
"""The token of an iteration without workers."""


class Turns:
    """The iterations of one dataset. Forked workers share the memory, pickled copies map it through ``/proc/PID/fd``.

    A copy in a process of its own (one rank of many, say) counts on its own from there: see `own`.
    """

    def __init__(self, start: Start) -> None:
        self._adopt(_fresh())
        self._turn = threading.Lock()
        self._started = 0
        self._write(1, start)
        _ALL.add(self)

    def _adopt(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._owner = os.getpid()
        self._words = memoryview(mmap.mmap(descriptor, _WORDS * 8)).cast("q")

    @property
    def upcoming(self) -> Start:
        """Where the next iteration will start."""
        return self._read(1)

    @upcoming.setter
    def upcoming(self, start: Start) -> None:
        self.own()
        with self._alone():
            self._write(1, start)

    @property
    def count(self) -> int:
        """How many iterations have begun."""
        count: int = self._words[0]
        return count

    @property
    def last(self) -> tuple[Start, bool] | None:
        """Where the iteration that began last has started, and whether workers read it; None before the first one."""
        place = _entry(self.count - 1)
        return (self._read(place + 2), self._words[place] != _MAIN) if self.count else None

    def begin(self, at: Start | None = None) -> Start:
        """Begin an iteration, or join one that another worker has begun.

        Parameters
        ----------
        at
            Start there, instead of where it is this one's turn; of all its workers the first one decides.
        """
        info = get_worker_info()
        if info is None:
            self.own()
            with self._alone():
                return self._enter(_MAIN, at)
        # The base is the same for all workers of an iteration, but not told; nor is it new for those that persist.
        base = int(info.seed) - int(info.id)
        # Whoever gives torch the same seed again may ask for other workers then, which are of another iteration.
        token = (base + self._started * 0x9E3779B97F4A7C15 + int(info.num_workers) * 0xC2B2AE3D27D4EB4F) % (1 << 63)
        self._started += 1
        with self._alone():
            # The latest first: where an iteration lost workers before they began, those of a later one must not take their places.
            for number in reversed(range(max(self.count - _ENTRIES, 0), self.count)):
                place = _entry(number)
                # One that all have begun cannot be this one: torch was given the same seed again.
                if self._words[place] == token and self._words[place + 1] < info.num_workers:
                    self._words[place + 1] += 1
                    return at or self._read(place + 2)
            return self._enter(token, at)

    def _enter(self, token: int, at: Start | None) -> Start:
        start = at or self._read(1)
        place = _entry(self.count)
        self._words[place] = token
        self._words[place + 1] = 1
        self._write(place + 2, start)
        following = Start(start.epoch + 1, 0, start.seed, start.unit_rows, start.window_units)
        self._write(1, following)
        # Last: a worker that is killed before has begun nothing.
        self._words[0] += 1
        return start

    def _read(self, place: int) -> Start:
        return Start(*self._words[place : place + _START])

    def _write(self, place: int, start: Start) -> None:
        for offset, value in enumerate(astuple(start)):
            self._words[place + offset] = value

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with self._turn:
            # The kernel lets go of it when the process ends, however it does.
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN)

    def own(self) -> None:
        """Count on our own from here, if the memory is another process' and this one is no worker of it."""
        if self._descriptor < 0 or self._owner == os.getpid() or get_worker_info() is not None:
            return
        words = bytes(self._words)
        os.close(self._descriptor)
        self._adopt(_fresh())
        self._words.cast("B")[:] = words
        self._turn = threading.Lock()

    def close(self) -> None:
        """Close the descriptor; a second call does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self, _ending: Callable[[], bool] = sys.is_finalizing) -> None:
        if not _ending() and self.__dict__.get("_descriptor", -1) >= 0:
            self.close()

    def __deepcopy__(self, memo: dict[int, object]) -> Turns:
        """Count on its own."""
        return Turns(self.upcoming)

    def __getstate__(self) -> tuple[Origin, Start]:
        self.own()
        numbers = (self._descriptor,)
        return Origin(os.getpid(), numbers, identities(numbers)), self.upcoming

    def __setstate__(self, state: tuple[Origin, Start]) -> None:
        origin, start = state
        if origin.pid == os.getpid():
            # A copy beside the original, as by ``copy.deepcopy``.
            self.__init__(start)  # type: ignore[misc]  # unpickling makes the object without calling it
            return
        try:
            taken = take_from(origin, "the dataset", RuntimeError("its counter does not go through the door"))
        except Unavailable:
            # The process that pickled it has ended, so this is none of its workers.
            self.__init__(start)  # type: ignore[misc]  # unpickling makes the object without calling it
            return
        self._adopt(writable(taken)[0])
        self._owner = origin.pid
        self._turn = threading.Lock()
        self._started = 0
        _ALL.add(self)


def _entry(number: int) -> int:
    return _HEAD + number % _ENTRIES * _ENTRY


def _fresh() -> int:
    descriptor = os.memfd_create("alluxio-lance-turns", os.MFD_CLOEXEC)
    os.ftruncate(descriptor, _WORDS * 8)
    return descriptor


_ALL: WeakSet[Turns] = WeakSet()


def _ready_for_a_child() -> None:
    for turns in list(_ALL):
        turns.own()


def _in_a_child() -> None:
    for turns in list(_ALL):
        # Another thread of the parent may have held it.
        turns._turn = threading.Lock()  # noqa: SLF001 - of this module's own class


os.register_at_fork(before=_ready_for_a_child, after_in_child=_in_a_child)
