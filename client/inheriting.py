"""Batches that a forked child inherits: their slots are not used again before that child has ended.

A child sees the tensors that its parent had at the fork, in the same shared memory. The parent learns of the child's end
from a pipe: the child holds the writing end, and so do its own children; when all have ended the pipe is at its end.
"""

from __future__ import annotations

import os
import select
import threading
from typing import Final

from alluxio_lance.client.arena import known_arenas

__all__ = ["watch"]


class _Child:
    """Says whether a child has ended, and all children of it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, 0)

    def __call__(self) -> bool:
        return bool(self._poll.poll(0))

    def __del__(self) -> None:
        os.close(self._descriptor)


def _never() -> bool:
    """Stand in for a child that cannot be watched, since there was no free descriptor: what it inherited is kept."""
    return False


class _Fork(threading.local):
    """The pipe of the fork that is under way in this thread."""

    ends: tuple[int, int] | None = None
    watched: bool = False


_FORK: Final = _Fork()


def _before() -> None:
    _FORK.watched, _FORK.ends = any(arena.in_use for arena in known_arenas()), None
    if _FORK.watched:
        try:
            _FORK.ends = os.pipe2(os.O_CLOEXEC)
        except OSError:
            # Told to nobody: slots are merely kept, and a process without descriptors has louder troubles.
            _FORK.ends = None


def _in_parent() -> None:
    if not _FORK.watched:
        return
    ends, _FORK.ends, _FORK.watched = _FORK.ends, None, False
    if ends is not None:
        os.close(ends[1])
    child = _never if ends is None else _Child(ends[0])
    for arena in known_arenas():
        arena.forked(child)


def _in_child() -> None:
    # The writing end stays open for as long as this process lives.
    ends, _FORK.ends, _FORK.watched = _FORK.ends, None, False
    if ends is not None:
        os.close(ends[0])


def watch() -> None:
    """Begin to watch the children of this process."""
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
