"""How files are brought into the workers of Alluxio, without a call for it: by reading one byte of each block.

Alluxio's REST service has no load. A worker that serves any part of a block caches the whole block behind the reader's
back, so that a byte per block is enough, and the bytes themselves never pass the network; how far it is shows in the
percentages. What does not come that way (a worker drops such wishes when it has too many) is read in full.

Nothing tells how large the cache of a cluster is, nor how much of it is pinned. So files are asked for a few at a time,
and as soon as one that came is gone again, the cache is full of this very version: then it ends.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from alluxio_lance.errors import Corrupt
from alluxio_lance.files.namespace import FileStatus

__all__ = ["Warming"]

_WHOLE: Final = 100
_BLOCKS: Final = 4
"""Blocks that are asked for and have not come yet: few enough for the smallest cache, and the damage when it is full."""
_FILES: Final = 64
"""The same in files, which may be much smaller than a block."""
_SMALL: Final = 1 << 20
"""Bytes of a file that is read in full at once: a byte costs as much."""
_POLL: Final = 0.1
"""Seconds between two listings; the workers tell the master once a second by default."""
_AFTERWARDS: Final = 3.0
"""Seconds in which a block shows that was read in full: it is cached with its last byte."""

Part = tuple[str, int, int]
"""Bytes of a file: path, offset, length."""


class Warming:
    """Brings files in, in their order.

    Parameters
    ----------
    paths
        Relative to the table.
    look
        Lists the files of the table.
    read
        Reads bytes of a file: path, offset, length.
    run
        ``map`` over several threads.
    patience
        Seconds in which something has to come of what was asked for with a byte, before it is read in full.
    """

    def __init__(
        self,
        paths: Sequence[str],
        *,
        look: Callable[[], Mapping[str, FileStatus]],
        read: Callable[[str, int, int], Iterable[bytes]],
        run: Callable[[Callable[[Part], None], Iterable[Part]], Iterator[None]],
        patience: float,
    ) -> None:
        self._paths = paths
        self._look = look
        self._read = read
        self._run = run
        self._patience = patience
        self._asked: dict[str, int] = {}
        """What was asked for and has not come: bytes by path."""
        self._read_in_full: set[str] = set()
        self._came: set[str] = set()
        self._given_up: set[str] = set()
        self._best = -1
        self._since = 0.0
        """When something last came, or was asked for."""
        self._came_lately = False
        """Whether something came since some were given up."""

    def run(self, on_bytes: Callable[[int], None], go_on: Callable[[], bool]) -> None:
        """Bring them in until all are there, no more fit, nothing comes any more, or ``go_on`` says no."""
        while True:
            found = self._look()
            there = {path: found[path] for path in self._paths if path in found}
            on_bytes(sum(_cached(file) for file in there.values()))
            absent = [path for path, file in there.items() if file.cached_percent < _WHOLE]
            self._note(there, absent)
            if self._given_up.issuperset(absent) or not self._came.isdisjoint(absent) or not go_on():
                return
            fresh = list(self._next(there, absent))
            self._touch(there, [path for path in fresh if there[path].length > _SMALL], whole=False)
            self._touch(there, [path for path in fresh if there[path].length <= _SMALL], whole=True)
            if self._is_late() and not self._hurry(there):
                return
            time.sleep(_POLL)

    def _note(self, there: Mapping[str, FileStatus], absent: Sequence[str]) -> None:
        """Take note of what has come since."""
        arrived = self._asked.keys() - set(absent)
        for path in arrived:
            del self._asked[path]
        self._came |= arrived
        now = sum(_cached(there[path]) for path in (*self._came, *self._asked) if path in there)
        if now > self._best or arrived:
            self._best, self._since, self._came_lately = max(now, self._best), time.monotonic(), True

    def _next(self, there: Mapping[str, FileStatus], absent: Sequence[str]) -> Iterator[str]:
        """Choose what is asked for now."""
        for path in absent:
            if path in self._asked or path in self._given_up:
                continue
            file = there[path]
            room = _BLOCKS * file.block_bytes - sum(self._asked.values())
            if self._asked and (file.length > room or len(self._asked) >= _FILES):
                return
            self._asked[path] = file.length
            self._since = time.monotonic()
            yield path

    def _is_late(self) -> bool:
        patience = _AFTERWARDS if self._read_in_full.issuperset(self._asked) else self._patience
        return time.monotonic() - self._since > patience

    def _hurry(self, there: Mapping[str, FileStatus]) -> bool:
        """Read in full what does not come, or give it up when that was done; False when nothing comes any more."""
        late = [path for path in self._asked if path not in self._read_in_full and path in there]
        if late:
            self._touch(there, late, whole=True)
            self._since = time.monotonic()
            return True
        self._given_up.update(self._asked)
        self._asked.clear()
        went_on, self._came_lately = self._came_lately, False
        return went_on

    def _touch(self, there: Mapping[str, FileStatus], paths: Sequence[str], *, whole: bool) -> None:
        if whole:
            self._read_in_full.update(paths)
        parts = [
            (path, offset, length if whole else 1) for path in paths for offset, length in _absent_blocks(there[path])
        ]
        for _ in self._run(self._read_away, parts):
            pass

    def _read_away(self, part: Part) -> None:
        try:
            for _ in self._read(*part):
                pass
        except Corrupt:
            # Removed meanwhile: the next listing does not have it.
            return


def _cached(file: FileStatus) -> int:
    return file.length * file.cached_percent // _WHOLE


def _absent_blocks(file: FileStatus) -> Iterator[tuple[int, int]]:
    return ((offset, min(file.block_bytes, file.length - offset)) for offset in file.absent)
