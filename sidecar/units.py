"""Units: ranges of rows of a version that is too large to be hot as a whole, each loaded and evicted on its own."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.layout import PAGE, ColumnKind
from alluxio_lance.sidecar.plan import ColumnPlan, Plan

__all__ = ["UNIT_BYTES", "Units", "runs"]

UNIT_BYTES: Final = 8 << 20
"""What a unit of the widest column has at most, unless whole pages of all columns take more."""


@dataclass(frozen=True, slots=True)
class Units:
    """A version cut into units.

    Where the cuts are depends on the types of all its columns and on its size alone: readers of some columns share units
    with readers of others, and all nodes cut alike.
    """

    plan: Plan
    """Of all columns, with units in place of shards."""

    @classmethod
    def of(cls, plan: Plan) -> Units:
        """Cut a version.

        The units of every FIXED column are whole pages, so that readers can map any of them back to back.
        """
        widths = [column.row_bytes for column in plan.columns if column.shape.kind is ColumnKind.FIXED]
        step = math.lcm(*(PAGE // math.gcd(width, PAGE) for width in widths))
        widest = max((column.row_bytes for column in plan.columns), default=1)
        return cls(replace(plan, shard_rows=max(UNIT_BYTES // widest // step, 1) * step))

    @property
    def rows(self) -> int:
        """Rows of every unit but the last."""
        return self.plan.shard_rows

    @property
    def names(self) -> tuple[str, ...]:
        """Its columns."""
        return tuple(column.name for column in self.plan.columns)

    def kind(self, name: str) -> ColumnKind:
        """How a column is to be laid out."""
        return next(column.shape.kind for column in self.plan.columns if column.name == name)

    @property
    def count(self) -> int:
        """How many there are."""
        return self.plan.shards

    def only(self, names: Sequence[str], as_arrow: Iterable[str] = ()) -> Units:
        """Narrow it to some columns, some of which are laid out as ARROW whatever their types say."""
        return replace(self, plan=_narrow(self.plan, names, as_arrow))

    def one(self, unit: int) -> Plan:
        """Plan the load of one unit."""
        return self.run(unit, unit + 1)

    def run(self, first: int, stop: int) -> Plan:
        """Plan the load of consecutive units."""
        start, end = self.span(first, stop)
        return replace(self.plan, label=f"rows {start} to {end} of {self.plan.label}", num_rows=end - start)

    def span(self, first: int, stop: int) -> tuple[int, int]:
        """Return the first row of consecutive units, and the one behind the last."""
        return first * self.rows, min(stop * self.rows, self.plan.num_rows)

    def need(self, units: int = 1) -> int:
        """Bytes that so many whole units take: exact for FIXED columns, a guess for others."""
        return units * self.one(0).need if self.count else 0

    def check(self, units: Sequence[int]) -> None:
        """Look whether units make a window.

        Raises
        ------
        InvalidArgument
            When there are none, one comes twice, one does not exist, or the short last one is not at the end.
        """
        if not units:
            raise InvalidArgument("a window has at least one unit")
        for unit in units:
            if not 0 <= unit < self.count:
                raise InvalidArgument(f"{self.plan.label} has units 0 to {self.count - 1}, and no unit {unit}")
        if len(set(units)) != len(units):
            raise InvalidArgument(f"a unit comes twice in {list(units)[:20]} - name each once")
        last = self.count - 1
        if last in units[:-1] and self.plan.rows_of(last) < self.rows:
            raise InvalidArgument(f"unit {last} has fewer rows than the others: it can only be at the end of a window")


def _narrow(plan: Plan, names: Sequence[str], as_arrow: Iterable[str]) -> Plan:
    other = frozenset(as_arrow)

    def laid(column: ColumnPlan) -> ColumnPlan:
        return column.as_arrow() if column.name in other else column

    return replace(plan, columns=tuple(laid(column) for column in plan.only(names).columns))


def runs(units: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Cut units into runs of consecutive ones: the first of each, and the one behind its last."""
    first: int | None = None
    stop = 0
    for unit in sorted(units):
        if first is not None and unit != stop:
            yield first, stop
            first = None
        if first is None:
            first = unit
        stop = unit + 1
    if first is not None:
        yield first, stop
