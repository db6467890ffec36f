"""One column on its way into shared memory: its segments, written shard by shard."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from alluxio_lance.errors import NoSpace
from alluxio_lance.layout import Column, Pages
from alluxio_lance.sidecar.fill import WRITERS, SegmentWriter
from alluxio_lance.sidecar.fill.writer import Filled
from alluxio_lance.sidecar.memfd import choose_pages, page_bytes
from alluxio_lance.sidecar.plan import ColumnPlan, Plan

__all__ = ["ColumnFilling", "HotColumn", "segment_ids"]

segment_ids: Final = itertools.count(1)
"""Segment ids, unique within one run of the sidecar; taking the next one is atomic."""


@dataclass(frozen=True, slots=True)
class HotColumn:
    """One column that can be read: its description, its open memfds in the order of the shards, the memory they take."""

    column: Column
    descriptors: tuple[int, ...]
    bytes: int
    mapped: int = 0
    """Bytes of files of the disk tier whose descriptors stand in for memfds: no part of the memory that is taken."""

    def close(self) -> None:
        """Close the descriptors: the memory is free when no reader holds its own. Call it once."""
        for fd in self.descriptors:
            os.close(fd)


class ColumnFilling:
    """One column on its way into memory."""

    def __init__(self, plan: Plan, column: ColumnPlan, pages: Pages) -> None:
        self.column = column
        self.pages = pages
        self.need = plan.need_of(column, page_bytes(pages))
        """Bytes expected in all."""
        self._plan = plan
        self._writers: dict[int, SegmentWriter] = {}
        self._coming: dict[int, Future[SegmentWriter]] = {}
        """Writers whose memory another thread takes."""
        self._filled: list[Filled] = []

    @property
    def taken(self) -> int:
        """Bytes taken so far."""
        return sum(filled.bytes for filled in self._filled) + sum(writer.taken for writer in self._writers.values())

    def claim_huge(self) -> None:
        """Claim the memory of all values at once where it is reserved huge pages: there are others to fall back to."""
        if self.pages is not Pages.HUGE:
            return
        try:
            for shard in range(self._plan.shards):
                self._writers[shard] = self._open(shard)
        except NoSpace:
            # Somebody else took the reserved pages since they were counted.
            self.close()
            self.pages = choose_pages(self._plan.shard_rows * self.column.row_bytes, Pages.TRANSPARENT)
            self.need = self._plan.need_of(self.column, page_bytes(self.pages))

    def begin(self, shard: int, pool: Executor) -> None:
        """Have another thread take or clear the memory of a shard's values; a lack of it shows when rows come for it."""
        if shard in self._writers:
            self._writers[shard].clear(pool)
        else:
            self._coming[shard] = pool.submit(self._open, shard)

    def _open(self, shard: int) -> SegmentWriter:
        name = f"alluxio-lance:{self._plan.label}:{self.column.name}:{shard}"
        kind = self.column.shape.kind
        return WRITERS[kind](self.column, self._plan.rows_of(shard), name, self.pages)

    def stretch(self, row: int, count: int) -> int:
        """Tell how many rows from one on lie in its shard, as far as there is memory for them already."""
        shard, within = divmod(row, self._plan.shard_rows)
        return min(count, self._plan.rows_of(shard) - within) if shard in self._writers else 0

    def room(self, row: int, count: int) -> memoryview | None:
        """Return where values of rows may be read to, see `SegmentWriter.room`; rows of two shards have no such place."""
        shard, within = divmod(row, self._plan.shard_rows)
        writer = self._writers.get(shard)
        return None if writer is None or within + count > self._plan.rows_of(shard) else writer.room(within, count)

    def append(self, shard: int, array: pa.Array) -> int:
        """Copy rows into a shard and return the bytes copied."""
        writer = self._writers.get(shard)
        if writer is None:
            coming = self._coming.pop(shard, None)
            writer = self._writers[shard] = self._open(shard) if coming is None else coming.result()
        return writer.append(array)

    def finish(self, shard: int) -> None:
        """Seal a shard that has all its rows."""
        self._filled.append(self._writers[shard].finish(next(segment_ids)))
        del self._writers[shard]

    def done(self) -> HotColumn:
        """Return what was filled; the descriptors are the caller's now."""
        return self._hot(self._filled)

    def each(self) -> list[HotColumn]:
        """Return what was filled, each shard as a column of its own; the descriptors are the caller's now."""
        return [self._hot([filled]) for filled in self._filled]

    def _hot(self, filled: Sequence[Filled]) -> HotColumn:
        shape = self.column.shape
        column = Column(
            name=self.column.name,
            kind=shape.kind,
            dtype=shape.dtype,
            shape=shape.shape,
            nullable=self.column.field.nullable,
            null_count=sum(each.nulls for each in filled),
            schema=self.column.schema,
            segments=tuple(each.segment for each in filled),
        )
        return HotColumn(column, tuple(each.fd for each in filled), sum(each.bytes for each in filled))

    def close(self) -> None:
        """Free everything."""
        # The last first: what waits must be gone before what runs is waited for.
        for coming in reversed(self._coming.values()):
            if not coming.cancel() and coming.exception() is None:
                coming.result().close()
        self._coming.clear()
        for writer in self._writers.values():
            writer.close()
        for filled in self._filled:
            os.close(filled.fd)
        self._writers.clear()
        self._filled.clear()
