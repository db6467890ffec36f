"""One file of a model on its way into shared memory: its head is known, and its pieces come in any order."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future
from typing import Any, Final

from alluxio_lance.errors import NoSpace
from alluxio_lance.layout import Column, Pages, Region, Segment
from alluxio_lance.sidecar.fill.column import HotColumn, segment_ids
from alluxio_lance.sidecar.memfd import HUGE_PAGE, Memfd, choose_pages, page_bytes, round_up
from alluxio_lance.sidecar.plan import ColumnPlan
from alluxio_lance.weights.header import TensorSpec, make_head

__all__ = ["FileFilling"]

_STEP: Final = 64 << 20
"""Bytes of memory that are taken at once: the first pieces wait for no more than that."""


class FileFilling:
    """One column of a model on its way into memory.

    Parameters
    ----------
    column
        The column.
    rows
        Rows of the table.
    specs, metadata
        What the file has.
    label
        Names the version.
    prefer
        The best pages to use.
    pool
        Bytes of free reserved huge pages.

    Raises
    ------
    InvalidArgument
        When there can be no such file.
    """

    def __init__(
        self,
        column: ColumnPlan,
        rows: int,
        specs: Sequence[TensorSpec],
        metadata: Mapping[str, str],
        *,
        label: str,
        prefer: Pages,
        pool: int,
    ) -> None:
        self.column = column
        self._rows = rows
        self._name = f"alluxio-lance:{label}:{column.name}:0"
        self._plain = make_head(specs, metadata)
        self.pages = choose_pages(self._plain.length, prefer, pool=pool)
        # Only memory on reserved huge pages has no other length than whole pages.
        huge = self.pages is Pages.HUGE
        self.head = make_head(specs, metadata, unit=HUGE_PAGE) if huge else self._plain
        self._memfd: Memfd | None = None
        self._coming: list[Future[None]] = []
        """Memory that another thread takes, step by step."""
        self._fd: int | None = None

    @property
    def need(self) -> int:
        """Bytes of memory that it takes."""
        return round_up(self.head.length, page_bytes(self.pages))

    def claim_huge(self) -> None:
        """Claim the memory at once where it is reserved huge pages: there are others to fall back to."""
        if self.pages is not Pages.HUGE:
            return
        try:
            self._memfd = Memfd(self._name, self.head.length, self.pages, claimed=True)
        except NoSpace:
            # Somebody else took the reserved pages since they were counted.
            self.pages = choose_pages(self._plain.length, Pages.TRANSPARENT)
            self.head = self._plain

    def begin(self, pool: Executor) -> None:
        """Have another thread take or clear the memory, the front first; a lack of it shows when a piece comes for it."""
        if self._memfd is not None:
            self._memfd.clear(pool)
        else:
            self._memfd = memfd = Memfd(self._name, 0, self.pages)
            ends = range(_STEP, self.head.length + _STEP, _STEP)
            self._coming = [pool.submit(memfd.ensure, min(end, self.head.length)) for end in ends]

    @property
    def mapped(self) -> bool:
        """Whether there is memory that can be written in place."""
        return self.pages is Pages.HUGE and self._memfd is not None

    def room(self, offset: int, size: int) -> memoryview | None:
        """Return where bytes go, see `Memfd.room`; None where they can only be written."""
        return None if self._memfd is None else self._memfd.room(offset, size)

    def write(self, offset: int, data: Any) -> None:
        """Copy bytes to their place if they are not there, from any thread; `NoSpace` when the kernel has no memory for it."""
        assert self._memfd is not None
        if not len(data):
            return
        if self._coming:
            # Never may two threads take memory of one memfd.
            self._coming[(offset + len(data) - 1) // _STEP].result()
        self._memfd.write(offset, data)

    def finish(self) -> None:
        """Write the head and seal: all pieces have come."""
        assert self._memfd is not None
        for coming in self._coming:
            coming.result()
        self.write(0, self.head.raw)
        self._memfd.seal(self.head.length)
        self._fd = self._memfd.detach()

    @property
    def taken(self) -> int:
        """Bytes of memory that the finished file takes."""
        assert self._fd is not None
        return os.fstat(self._fd).st_blocks * 512

    def done(self) -> HotColumn:
        """Describe the finished column; its descriptor is the caller's after `let_go`."""
        assert self._fd is not None
        length = self.head.length
        segment = Segment(
            id=next(segment_ids), rows=self._rows, length=length, pages=self.pages, data=Region(0, length)
        )
        column = Column(
            name=self.column.name,
            kind=self.column.shape.kind,
            dtype=self.column.shape.dtype,
            schema=self.column.schema,
            segments=(segment,),
        )
        return HotColumn(column, (self._fd,), self.taken)

    def let_go(self) -> None:
        """Leave the descriptor to whoever has the column."""
        self._fd = None

    def cancel(self) -> None:
        """Take no more memory; whoever waits for some is told so."""
        # The last first: what waits must be gone before what runs is waited for.
        for coming in reversed(self._coming):
            coming.cancel()

    def close(self) -> None:
        """Free the memory, after nobody writes any more; a second call does nothing."""
        self.cancel()
        for coming in self._coming:
            if not coming.cancelled():
                coming.exception()
        self._coming.clear()
        if self._memfd is not None:
            self._memfd.close()
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)
