"""Batches that a forked child inherits: their slots are not used again before that child has ended.

A child sees the tensors that its parent had at the fork, in the same shared memory. The parent learns of the child's end
from a pipe: the child holds the writing end, and so do its own children; when all have ended the pipe is at its end.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from alluxio_lance.client.arena import Arena, known_arenas

__all__ = ["watch"]


class _Child:
    """Says whether a child has ended, and all children of it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, 0)

    def __call__(self) -> bool:
        return bool(self._poll.poll(0))

    def __del__(self, _close: Callable[[int], None] = os.close) -> None:
        # By a name of its own: at the end of the interpreter modules are gone already.
        _close(self._descriptor)


def _never() -> bool:
    """Stand in for a child that cannot be watched, since there was no free descriptor: what it inherited is kept."""
    return False


@dataclass(frozen=True, slots=True)
class _Begun:
    """A fork that is under way."""

    arenas: Sequence[Arena]
    witness: Callable[[], bool]
    writing: int | None
    """The writing end of the child's pipe."""


class _Fork(threading.local):
    """The fork that is under way in this thread."""

    begun: _Begun | None = None


_FORK: Final = _Fork()


def _before() -> None:
    arenas = known_arenas()
    _FORK.begun = _begin(arenas) if arenas else None
    for arena in arenas:
        assert _FORK.begun is not None
        # Not only those in use: another thread may receive a batch before the fork comes.
        arena.forking(_FORK.begun.witness)


def _begin(arenas: Sequence[Arena]) -> _Begun:
    try:
        reading, writing = os.pipe2(os.O_CLOEXEC)
    except OSError:
        # Told to nobody: slots are merely kept, and a process without descriptors has louder troubles.
        return _Begun(arenas, _never, None)
    return _Begun(arenas, _Child(reading), writing)


def _in_parent() -> None:
    begun, _FORK.begun = _FORK.begun, None
    if begun is None:
        return
    if begun.writing is not None:
        os.close(begun.writing)
    for arena in begun.arenas:
        arena.forked(begun.witness)


def _in_child() -> None:
    # The writing end stays open for as long as this process lives; the reading end goes with the witness.
    _FORK.begun = None


def watch() -> None:
    """Begin to watch the children of this process."""
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
