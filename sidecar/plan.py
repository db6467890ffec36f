"""The plan of a load: how each column of a version is laid out, how rows are cut into shards, and what it will need."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import pyarrow as pa

from alluxio_lance.errors import InvalidArgument, NotFound
from alluxio_lance.layout import PAGE, ROWS_PER_PAGE_GROUP, ColumnKind
from alluxio_lance.sidecar.ipcfile import FileFrame
from alluxio_lance.sidecar.kinds import Shape, kind_of
from alluxio_lance.sidecar.memfd import HUGE_PAGE, LARGE, round_up

__all__ = ["DEFAULT_SHARD_BYTES", "ColumnPlan", "Plan", "make_plan"]

DEFAULT_SHARD_BYTES: Final = 256 << 20
_LEAST_ROW_BYTES: Final = 16
"""Taken for a row of unknown length when the store's size tells nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnPlan:
    """How one column will lie in memory."""

    field: pa.Field
    """As registered."""
    shape: Shape
    row_bytes: int
    """Bytes of values in one row: exact for FIXED, a guess from the store's bytes for others."""

    @property
    def name(self) -> str:
        """The column's name."""
        return str(self.field.name)

    @property
    def schema(self) -> bytes:
        """The registered type as an IPC message."""
        return bytes(pa.schema([self.field]).serialize().to_pybytes())

    def as_arrow(self) -> ColumnPlan:
        """Lay the column out as ARROW instead: its lists have null items."""
        return replace(self, shape=Shape(ColumnKind.ARROW, self.field))

    def segment_bytes(self, rows: int, unit: int = PAGE) -> int:
        """Return what a segment of so many rows takes at most (FIXED) or probably (others), in whole pages.

        Parameters
        ----------
        rows
            Rows in the segment.
        unit
            Bytes that the head and the whole are multiples of.
        """
        data = rows * self.row_bytes
        if self.shape.kind in {ColumnKind.ARROW, ColumnKind.FILE}:
            return round_up(data, PAGE) + PAGE
        validity = [-(-rows // 8)] if self.field.nullable else []
        regions = [data, *validity] if self.shape.kind is ColumnKind.FIXED else [8 * (rows + 1), *validity, data]
        size = sum(round_up(region, PAGE) for region in regions[:-1]) + round_up(regions[-1], 8)
        frame = FileFrame(self.shape.written)
        head = round_up(frame.head_bytes(self.shape.arrays), unit)
        return round_up(head + size + frame.tail_bytes(), unit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a load of some columns of one version will do."""

    label: str
    """Names the version in messages and in the memfds: ``datasets/x@v3``."""
    num_rows: int
    shard_rows: int
    columns: tuple[ColumnPlan, ...]
    stored_bytes: int | None = None
    """Bytes of the data files, where somebody needs to know."""

    @property
    def is_model(self) -> bool:
        """Whether the columns are files of a model."""
        return any(column.shape.kind is ColumnKind.FILE for column in self.columns)

    @property
    def shards(self) -> int:
        """How many shards there are; none when there are no rows."""
        return -(-self.num_rows // self.shard_rows)

    def rows_of(self, shard: int) -> int:
        """Return the rows of a shard."""
        return min(self.shard_rows, self.num_rows - shard * self.shard_rows)

    @property
    def need(self) -> int:
        """Bytes that all segments take on 4 KiB pages."""
        return sum(self.need_of(column) for column in self.columns)

    def need_of(self, column: ColumnPlan, unit: int = PAGE) -> int:
        """Bytes that the segments of one column take on pages of ``unit`` bytes."""
        if not self.num_rows:
            return 0
        last = self.shards - 1
        return last * column.segment_bytes(self.shard_rows, unit) + column.segment_bytes(self.rows_of(last), unit)

    def only(self, names: Sequence[str]) -> Plan:
        """Narrow the plan to some columns, in this order; the shards stay as they are.

        Raises
        ------
        NotFound
            When there is no such column; the message lists those there are.
        InvalidArgument
            When a column is named twice.
        """
        known = {column.name: column for column in self.columns}
        missing = [name for name in names if name not in known]
        if missing:
            raise NotFound(
                f"{self.label} has no column {missing[0]!r}: its columns are {', '.join(known)}", columns=list(known)
            )
        if len(set(names)) != len(names):
            raise InvalidArgument(f"a column is named twice in {list(names)} - name each once")
        return replace(self, columns=tuple(known[name] for name in names))


def make_plan(
    schema: pa.Schema, num_rows: int, *, label: str, num_bytes: int = 0, shard_bytes: int = DEFAULT_SHARD_BYTES
) -> Plan:
    """Plan the load of all columns of a version; the same arguments always give the same plan.

    Parameters
    ----------
    schema
        The table's schema.
    num_rows
        Its rows.
    label
        Names the version in messages and memfds.
    num_bytes
        Bytes of the data files, from which the length of rows without a fixed length is guessed.
    shard_bytes
        What the widest column's segments should have.

    Raises
    ------
    InvalidArgument
        When two columns have the same name.
    """
    if len(set(schema.names)) != len(schema.names):
        raise InvalidArgument(f"{label} has two columns of the same name: {schema.names} - rename one")
    shapes = [kind_of(field) for field in schema]
    guess = _guess(shapes, num_rows, num_bytes)
    columns = tuple(
        ColumnPlan(field=field, shape=shape, row_bytes=shape.row_bytes or guess)
        for field, shape in zip(schema, shapes, strict=True)
    )
    shard_rows = _shard_rows([column.row_bytes for column in columns], num_rows, shard_bytes)
    return Plan(label=label, num_rows=num_rows, shard_rows=shard_rows, columns=columns)


def _guess(shapes: Sequence[Shape], num_rows: int, num_bytes: int) -> int:
    """Share what the store's files have beyond the FIXED columns among the others, per row."""
    others = sum(not shape.row_bytes for shape in shapes)
    if not others or not num_rows:
        return _LEAST_ROW_BYTES
    rest = num_bytes // num_rows - sum(shape.row_bytes for shape in shapes)
    return max(rest // others, _LEAST_ROW_BYTES)


def _shard_rows(widths: Sequence[int], num_rows: int, shard_bytes: int) -> int:
    widest = max(widths, default=1)
    rows = _multiple(shard_bytes // widest, ROWS_PER_PAGE_GROUP)
    step = max(
        [ROWS_PER_PAGE_GROUP]
        + [HUGE_PAGE // math.gcd(width, HUGE_PAGE) for width in widths if min(rows, num_rows) * width >= LARGE]
    )
    whole = _multiple(rows, step)
    return whole if whole * widest <= 2 * shard_bytes else rows


def _multiple(number: int, unit: int) -> int:
    """Return the largest multiple that is not above, but at least one."""
    return max(number // unit, 1) * unit
