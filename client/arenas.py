"""Which arena a process hands its batches to: that of its parent; and which one it receives from: its own.

An arena is made at the last moment, when a dataset is about to get into a worker: before a fork, or when it is pickled.
A dataset that is never used with workers never has one. A copy of a dataset in a process that has workers of its own
(one rank of many, say) makes its own.
"""

from __future__ import annotations

import multiprocessing
import os
from weakref import WeakSet

from alluxio_lance.client import inheriting
from alluxio_lance.client.arena import Arena, Travelling
from alluxio_lance.errors import Unavailable

__all__ = ["Arenas"]


class Arenas:
    """The arena of one dataset, in each process the right one."""

    def __init__(self) -> None:
        self._arena: Arena | None = None
        _ALL.add(self)

    def own(self) -> Arena | None:
        """The arena that this process made for its workers, made now if there is none; None when it cannot be had.

        Without one the batches of workers go the ordinary way.
        """
        if self._arena is None or self._arena.owner != os.getpid():
            try:
                self._arena = Arena.make()
            except OSError:
                # No more files, or none of that size (``ulimit -n``, ``ulimit -f``): slower, and right.
                self._arena = None
        return self._arena

    def of_parent(self) -> Arena | None:
        """The arena that the process which started this one receives from; None when there is none."""
        parent = multiprocessing.parent_process()
        if self._arena is None or parent is None or self._arena.owner != parent.pid:
            return None
        return self._arena

    def close(self) -> None:
        """Let the arena go; its memory is freed with the last tensor in it."""
        self._arena = None

    def __deepcopy__(self, memo: dict[int, object]) -> Arenas:
        """Start with none: a copied dataset has workers of its own."""
        return Arenas()

    def __getstate__(self) -> tuple[Travelling | None]:
        own = self.own()
        # In a tuple, since a state of None would not be set at all.
        return (None if own is None else own.travelling(),)

    def __setstate__(self, state: tuple[Travelling | None]) -> None:
        self.__init__()  # type: ignore[misc]  # unpickling makes the object without calling it
        (travelled,) = state
        if travelled is None:
            return
        try:
            self._arena = Arena.adopt(travelled)
        except Unavailable:
            # The process that pickled it has ended, or is not to be looked into: nobody there could receive either.
            self._arena = None


_ALL: WeakSet[Arenas] = WeakSet()


def _ready_for_a_child() -> None:
    for arenas in list(_ALL):
        arenas.own()


os.register_at_fork(before=_ready_for_a_child)
inheriting.watch()
