"""One column on its way into shared memory: its segments, written shard by shard."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from alluxio_lance.errors import NoSpace
from alluxio_lance.layout import Column, Pages, Segment
from alluxio_lance.sidecar.fill import WRITERS, SegmentWriter
from alluxio_lance.sidecar.memfd import choose_pages, page_bytes
from alluxio_lance.sidecar.plan import ColumnPlan, Plan

__all__ = ["ColumnFilling", "HotColumn", "segment_ids"]

segment_ids: Final = itertools.count(1)
"""Segment ids, unique within one run of the sidecar; taking the next one is atomic."""


@dataclass(frozen=True, slots=True)
class HotColumn:
    """One column in shared memory: its description, its open memfds in the order of the shards, the memory they take."""

    column: Column
    descriptors: tuple[int, ...]
    bytes: int

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
        self._segments: list[Segment] = []
        self._descriptors: list[int] = []
        self._nulls = 0
        self._bytes = 0

    @property
    def taken(self) -> int:
        """Bytes taken so far."""
        return self._bytes + sum(writer.taken for writer in self._writers.values())

    def allocate(self) -> None:
        """Take the memory of all values of a FIXED column at once, so that a lack of it shows before any work."""
        try:
            for shard in range(self._plan.shards):
                self._open(shard)
        except NoSpace:
            if self.pages is not Pages.HUGE:
                raise
            # Somebody else took the reserved pages since they were counted.
            self.close()
            self.pages = choose_pages(self._plan.shard_rows * self.column.row_bytes, Pages.TRANSPARENT)
            self.need = self._plan.need_of(self.column, page_bytes(self.pages))
            self.allocate()

    def _open(self, shard: int) -> SegmentWriter:
        name = f"alluxio-lance:{self._plan.label}:{self.column.name}:{shard}"
        kind = self.column.shape.kind
        writer = WRITERS[kind](self.column, self._plan.rows_of(shard), name, self.pages)
        self._writers[shard] = writer
        return writer

    def append(self, shard: int, array: pa.Array) -> int:
        """Copy rows into a shard and return the bytes copied."""
        writer = self._writers.get(shard) or self._open(shard)
        return writer.append(array)

    def finish(self, shard: int) -> None:
        """Seal a shard that has all its rows."""
        filled = self._writers[shard].finish(next(segment_ids))
        del self._writers[shard]
        self._descriptors.append(filled.fd)
        self._segments.append(filled.segment)
        self._nulls += filled.nulls
        self._bytes += filled.bytes

    def done(self) -> HotColumn:
        """Return what was filled; the descriptors are the caller's now."""
        shape = self.column.shape
        column = Column(
            name=self.column.name,
            kind=shape.kind,
            dtype=shape.dtype,
            shape=shape.shape,
            nullable=self.column.field.nullable,
            null_count=self._nulls,
            schema=self.column.schema,
            segments=tuple(self._segments),
        )
        return HotColumn(column, tuple(self._descriptors), self._bytes)

    def close(self) -> None:
        """Free everything."""
        for writer in self._writers.values():
            writer.close()
        for fd in self._descriptors:
            os.close(fd)
        self._writers.clear()
        self._descriptors.clear()
        self._segments.clear()
        self._nulls = self._bytes = 0
