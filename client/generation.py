"""A number that a process shares with the copies of a dataset in its children: it tells them that they are out of date."""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Callable
from typing import Final

from alluxio_lance.client.descriptors import Origin, identities, take_from, writable
from alluxio_lance.errors import Unavailable

__all__ = ["Generation"]

_BYTES: Final = 8


class Generation:
    """A counter in shared memory. Forked children share the page, pickled copies map it through ``/proc/PID/fd``.

    Where the process that made it has ended, a copy that arrives late has nobody left to be outdated by, and counts on
    its own.
    """

    def __init__(self) -> None:
        self._adopt(_fresh())

    def _adopt(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._owner = os.getpid()
        self._cell = memoryview(mmap.mmap(descriptor, _BYTES)).cast("q")

    @property
    def number(self) -> int:
        """What it says now."""
        number: int = self._cell[0]
        return number

    @property
    def owner(self) -> int:
        """The process that made it."""
        return self._owner

    @property
    def ours(self) -> bool:
        """Whether this process made it, and may advance it."""
        return self._owner == os.getpid()

    def advance(self) -> int:
        """Tell all copies that they are out of date, and return the new number."""
        self._cell[0] += 1
        return self.number

    def close(self) -> None:
        """Close the descriptor; the number stays readable."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self, _ending: Callable[[], bool] = sys.is_finalizing) -> None:
        if not _ending() and self.__dict__.get("_descriptor", -1) >= 0:
            self.close()

    def __deepcopy__(self, memo: dict[int, object]) -> Generation:
        """Count on its own: a copy for this same process refreshes by itself, and outdates nobody but its own copies."""
        copied = Generation()
        copied._cell[0] = self.number
        return copied

    def __getstate__(self) -> tuple[Origin, int]:
        own = (self._descriptor,)
        return Origin(os.getpid(), own, identities(own)), self.number

    def __setstate__(self, state: tuple[Origin, int]) -> None:
        origin, number = state
        try:
            taken = take_from(origin, "the dataset", RuntimeError("its counter does not go through the door"))
        except Unavailable:
            self._adopt(_fresh())
            self._cell[0] = number
            return
        self._adopt(writable(taken)[0])
        self._owner = origin.pid


def _fresh() -> int:
    descriptor = os.memfd_create("alluxio-lance-generation", os.MFD_CLOEXEC)
    os.ftruncate(descriptor, _BYTES)
    return descriptor
