"""Brings columns from the disk tier into sealed shared memory, in parallel, each segment verified before it is sealed.

Bytes go through a small buffer that stays in the processor's cache, where they are hashed, and from there into the memfd
by ``pwrite``: that is as quick as reading into a mapping of it, which pays for page faults, and works with all pages.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Final

from blake3 import blake3

from alluxio_lance.errors import NoSpace, Unavailable
from alluxio_lance.layout import Pages
from alluxio_lance.manager import OnProgress
from alluxio_lance.sidecar.account import Account
from alluxio_lance.sidecar.budget import Room
from alluxio_lance.sidecar.disk.entry import Entry, Kept
from alluxio_lance.sidecar.fill.column import HotColumn, segment_ids
from alluxio_lance.sidecar.memfd import HUGE_PAGE, Memfd, choose_pages, free_huge_bytes, page_bytes, round_up
from alluxio_lance.sidecar.plan import ColumnPlan, Plan
from alluxio_lance.values import Progress

__all__ = ["MOST_THREADS", "Bad", "Found", "NotNow", "is_passing", "read_checked", "read_columns"]

_STEP: Final = 256 << 10
"""Bytes of the buffer."""
_TOLD: Final = 8 << 20
"""Bytes between two reports of progress."""
MOST_THREADS: Final = 4
"""Segments that are read at once."""
_PASSING: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


@dataclass(frozen=True, slots=True)
class Found:
    """A column that lies on the disk, its files open; `close` them."""

    plan: ColumnPlan
    entry: Entry
    files: tuple[int, ...]

    def close(self) -> None:
        """Close the files. Call it once."""
        for file in self.files:
            os.close(file)


class Bad(Exception):
    """The bytes of a segment are not what was written, or cannot be read."""


class NotNow(Bad):
    """The bytes of a segment cannot be read for the moment: nothing says that they are not what was written."""


def is_passing(error: OSError) -> bool:
    """Tell whether this process, or the machine, is short of something, which says nothing about the file."""
    return error.errno in _PASSING


@dataclass(slots=True)
class _Filling:
    """One column on its way into memory."""

    found: Found
    pages: Pages
    memfds: list[Memfd] = field(default_factory=list)
    fault: Bad | None = None

    @property
    def need(self) -> int:
        """Bytes of memory that its segments take."""
        return sum(round_up(kept.segment.length, page_bytes(self.pages)) for kept in self.found.entry.segments)

    def prepare(self, label: str) -> None:
        """Make the memfds; reserved huge pages are taken at once, since others may take them."""
        try:
            for shard, kept in enumerate(self.found.entry.segments):
                name = f"alluxio-lance:{label}:{self.found.plan.name}:{shard}"
                self.memfds.append(Memfd(name, kept.segment.length if self.pages is Pages.HUGE else 0, self.pages))
        except NoSpace:
            if self.pages is not Pages.HUGE:
                raise
            self.close()
            self.pages = choose_pages(self.found.entry.segments[0].segment.length, Pages.TRANSPARENT)
            self.prepare(label)

    @property
    def taken(self) -> int:
        """Bytes of memory that its segments have taken."""
        return sum(os.fstat(memfd.fd).st_blocks * 512 for memfd in self.memfds)

    def done(self) -> HotColumn:
        """Return the hot column; the descriptors are the caller's now."""
        segments = [replace(kept.segment, id=next(segment_ids), pages=self.pages) for kept in self.found.entry.segments]
        column, taken = self.found.entry.column(self.found.plan, segments), self.taken
        return HotColumn(column, tuple(memfd.detach() for memfd in self.memfds), taken)

    def close(self) -> None:
        """Free the memory."""
        for memfd in self.memfds:
            memfd.close()
        self.memfds.clear()


def read_columns(
    columns: Sequence[Found],
    plan: Plan,
    room: Room,
    *,
    prefer: Pages = Pages.HUGE,
    on_progress: OnProgress | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> tuple[list[HotColumn], list[tuple[Found, Bad]]]:
    """Bring columns into shared memory.

    Parameters
    ----------
    columns
        What is read; the files stay the caller's.
    plan
        Of the version; names it in messages and memfds.
    room
        Where memory is claimed; at the end exactly the ``bytes`` of the hot columns stay claimed.
    prefer
        The best pages to use; segments that were laid out for smaller ones stay on those.
    on_progress
        Told the bytes, from any thread, one call at a time.
    cancelled
        Asked all the time; when it says yes, the load ends with `Unavailable`.

    Returns
    -------
    tuple
        The hot columns, and those that are bad, with what is wrong.

    Raises
    ------
    NoSpace
        When they do not fit. Then, as after any other error, nothing stays claimed.
    """
    run = _Run(plan, Account(room), on_progress, cancelled)
    try:
        return run.read(columns, prefer)
    except BaseException:
        run.undo()
        raise


class _Run:
    def __init__(
        self, plan: Plan, account: Account, on_progress: OnProgress | None, cancelled: Callable[[], bool]
    ) -> None:
        self._plan = plan
        self._account = account
        self._on_progress = on_progress
        self._cancelled = cancelled
        self._fillings: list[_Filling] = []
        self._failed = False
        self._lock = threading.Lock()
        self._done = self._total = 0

    def read(self, columns: Sequence[Found], prefer: Pages) -> tuple[list[HotColumn], list[tuple[Found, Bad]]]:
        self._fillings = _choose(columns, prefer)
        self._total = sum(kept.segment.length for found in columns for kept in found.entry.segments)
        huge = sum(filling.need for filling in self._fillings if filling.pages is Pages.HUGE)
        self._account.reserve(sum(filling.need for filling in self._fillings), huge=huge)
        for filling in self._fillings:
            filling.prepare(self._plan.label)
        jobs = [
            (filling, memfd, file, kept)
            for filling in self._fillings
            for memfd, file, kept in zip(filling.memfds, filling.found.files, filling.found.entry.segments, strict=True)
        ]
        self._in_parallel(jobs)
        bad = [(filling.found, filling.fault) for filling in self._fillings if filling.fault is not None]
        for filling in self._fillings:
            if filling.fault is not None:
                filling.close()
        good = [filling for filling in self._fillings if filling.fault is None]
        # Before the descriptors are given away: there may be no room for what the kernel took beyond the claim.
        self._account.settle(sum(filling.taken for filling in good))
        return [filling.done() for filling in good], bad

    def undo(self) -> None:
        for filling in self._fillings:
            filling.close()
        self._account.settle(0)

    def _in_parallel(self, jobs: Sequence[tuple[_Filling, Memfd, int, Kept]]) -> None:
        if not jobs:
            return
        workers = min(MOST_THREADS, len(jobs), os.cpu_count() or 1)
        with ThreadPoolExecutor(workers, thread_name_prefix="disk-read") as threads:
            # All have ended when this block is left, whatever one of them raised.
            for outcome in [threads.submit(self._fill, *job) for job in jobs]:
                outcome.result()

    def _fill(self, filling: _Filling, memfd: Memfd, file: int, kept: Kept) -> None:
        if filling.fault is not None or self._failed:
            return
        try:
            self._copy(memfd, file, kept.segment.length, kept.hash)
        except Bad as fault:
            filling.fault = fault
        except BaseException:
            self._failed = True
            raise

    def _copy(self, memfd: Memfd, file: int, length: int, expected: str) -> None:
        memfd.ensure(length)
        for at, piece in read_checked(file, length, expected, self._plan, self._cancelled):
            memfd.write(at, piece)
            self._report(len(piece))
        memfd.seal(length)

    def _report(self, size: int) -> None:
        with self._lock:
            before, self._done = self._done, self._done + size
            told = before // _TOLD != self._done // _TOLD or self._done == self._total
            if told and self._on_progress is not None:
                self._on_progress(Progress(step="disk", bytes=self._done, total_bytes=self._total))


def read_checked(
    file: int, length: int, expected: str, plan: Plan, cancelled: Callable[[], bool]
) -> Iterator[tuple[int, memoryview]]:
    """Read a segment's file in pieces, each with where it lies; their memory is used again for the next one.

    Raises
    ------
    Bad
        When it cannot be read, `NotNow` where that may pass, or, behind the last piece, when all of them have not the
        hash that they should have.
    Unavailable
        When nobody wants it any more.
    """
    hasher = blake3()
    buffer = memoryview(bytearray(min(_STEP, length)))
    at = 0
    while at < length:
        if cancelled():
            raise Unavailable(f"the load of {plan.label} was cancelled - open it again", what="load")
        piece = buffer[: _read(file, buffer[: length - at], at)]
        hasher.update(piece)
        yield at, piece
        at += len(piece)
    if hasher.hexdigest() != expected:
        raise Bad(f"its BLAKE3 is {hasher.hexdigest()} instead of {expected}")


def _read(file: int, buffer: memoryview, at: int) -> int:
    """Read something, which is not always all that the buffer holds."""
    try:
        size = os.preadv(file, [buffer], at)
    except OSError as error:
        raise (NotNow if is_passing(error) else Bad)(f"it cannot be read at {at}: {error.strerror}") from error
    if not size:
        raise Bad(f"it ends at {at}")
    return size


def _choose(columns: Iterable[Found], prefer: Pages) -> list[_Filling]:
    """Choose the pages of each column: never better ones than it was laid out for."""
    pool = free_huge_bytes()
    order = list(Pages)
    chosen = []
    for found in columns:
        lengths = [kept.segment.length for kept in found.entry.segments]
        best = min(prefer, found.entry.pages, key=order.index)
        wanted = sum(round_up(length, HUGE_PAGE) for length in lengths)
        filling = _Filling(found, choose_pages(max(lengths, default=0), best, wanted=wanted, pool=pool))
        pool -= filling.need if filling.pages is Pages.HUGE else 0
        chosen.append(filling)
    return chosen
