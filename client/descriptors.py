"""File descriptors of sealed memory: how many a process may hold, and how another process' are taken over."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from alluxio_lance.errors import Unavailable

__all__ = [
    "Descriptors",
    "Identity",
    "Origin",
    "close_all",
    "identities",
    "make_room",
    "take_from",
    "writable",
]

_OTHERS: Final = 256
"""Descriptors that we leave to the rest of the process: DataLoader queues, data files, sockets."""

Identity = tuple[int, int]
"""Device and inode: no two memory files of one boot have the same."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Descriptors as another process knows them."""

    pid: int
    numbers: tuple[int, ...]
    identities: tuple[Identity, ...]


class Descriptors:
    """Descriptors that are closed when the last one who may still map from them lets go.

    Not earlier, since a number that was closed soon names another file, and a thread that is just about to map would
    read that one.
    """

    __slots__ = ("_whole", "numbers")

    def __init__(self, numbers: Iterable[int], whole: Descriptors | None = None) -> None:
        self.numbers: Final = tuple(numbers)
        self._whole = whole

    def part(self, start: int, count: int) -> Descriptors:
        """Some of them, which keep all open."""
        return Descriptors(self.numbers[start : start + count], self)

    def __del__(self, _ending: Callable[[], bool] = sys.is_finalizing) -> None:
        # At the end of the interpreter modules are gone already, and the kernel closes everything.
        if self._whole is None and not _ending():
            close_all(self.numbers)


def identities(descriptors: Iterable[int]) -> tuple[Identity, ...]:
    """Say which files these are."""
    found = map(os.fstat, descriptors)
    return tuple((about.st_dev, about.st_ino) for about in found)


def close_all(descriptors: Iterable[int]) -> None:
    """Close every one."""
    for descriptor in descriptors:
        os.close(descriptor)


class _Counted:
    """What was left when the open files were counted last, less all that was asked for since.

    To count them gives way to other threads with each one: a window that is taken beside a reader has no time for that.
    Without a lock, which a fork might leave locked: two threads at once may take too little off, far less than `_OTHERS`.
    """

    def __init__(self) -> None:
        self.begin(0, 0)

    def begin(self, left: int, soft: int) -> None:
        self._left, self._soft = left, soft

    def covers(self, need: int, soft: int) -> bool:
        """Take so many off, if they are there and the limit is still the same."""
        if soft != self._soft or need > self._left:
            return False
        self._left -= need
        return True


_counted: Final = _Counted()


def make_room(need: int) -> None:
    """Raise this process' soft limit on open files, if so many more would not fit.

    Raises
    ------
    Unavailable
        When the hard limit forbids it; the message says what to raise.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or _counted.covers(need, soft):
        return
    wanted = _open_files() + need + _OTHERS
    if wanted <= soft:
        _counted.begin(soft - wanted, soft)
        return
    if hard != resource.RLIM_INFINITY and wanted > hard:
        raise Unavailable(
            f"this version needs {need} file descriptors and the process may have {hard} - raise `ulimit -Hn`, or open "
            "fewer columns",
            what="descriptors",
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def take_from(origin: Origin, uri: str, refusal: Exception) -> Sequence[int]:
    """Open the files of another process through ``/proc/PID/fd``, and make sure that they are the same ones.

    Raises
    ------
    Unavailable
        When that process has ended or closed them; the message carries why the door did not help either.
    """
    taken: list[int] = []
    try:
        for number in origin.numbers:
            taken.append(os.open(f"/proc/{origin.pid}/fd/{number}", os.O_RDONLY | os.O_CLOEXEC))  # noqa: PERF401 - those opened before a failure must be closed
        if identities(taken) != origin.identities:
            raise OSError(f"process {origin.pid} no longer holds these files")
    except OSError as error:
        close_all(taken)
        raise Unavailable(
            f"cannot reach the memory of {uri}: {refusal}; and not through the process that opened it either ({error}) - "
            "open the dataset again",
            what="lease",
        ) from error
    return taken


def writable(taken: Sequence[int]) -> list[int]:
    """Open anew, to be written, what `take_from` opened for reading, and close that."""
    opened: list[int] = []
    try:
        for number in taken:
            opened.append(os.open(f"/proc/self/fd/{number}", os.O_RDWR | os.O_CLOEXEC))  # noqa: PERF401 - those opened before a failure must be closed
    except BaseException:
        close_all(opened)
        raise
    finally:
        close_all(taken)
    return opened
