"""A version that is read window by window, and a reader's claim on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from alluxio_lance.layout import PAGE, Column
from alluxio_lance.sidecar.fill.column import HotColumn
from alluxio_lance.sidecar.memfd import round_up
from alluxio_lance.sidecar.reading import SharedReader
from alluxio_lance.sidecar.resident import Hold, Resident, layout_of
from alluxio_lance.sidecar.units import Units
from alluxio_lance.values import Version

__all__ = ["Stream", "Streamed", "joined"]


@dataclass(slots=True, eq=False)
class Streamed:
    """A version that is read window by window."""

    version: Version
    units: Units
    reader: SharedReader
    streams: int = 0
    as_arrow: frozenset[str] = frozenset()
    """Columns that were found to have lists with null items."""
    growth: dict[str, float] = field(default_factory=dict)
    """By column, how many times more than planned its units took at most: without a fixed width that is only guessed."""
    not_on_disk: int = 0
    """The unit that was missing on the disk when all were looked for last."""
    _planned: dict[tuple[int, frozenset[str], str], int] = field(default_factory=dict)
    """What units take by plan: by their rows and column, since to plan takes longer than to look it up."""

    def need(self, resident: Resident, names: Sequence[str]) -> int:
        """Bytes that a load of columns of a unit will take."""
        return int(sum(self._need(resident, name) * self.growth.get(name, 1.0) for name in names))

    def _need(self, resident: Resident, name: str) -> int:
        plan = resident.plan
        key = plan.num_rows, resident.key.as_arrow, name
        if key not in self._planned:
            self._planned[key] = plan.only([name]).need
        return self._planned[key]

    def measure(self, resident: Resident, columns: Sequence[HotColumn]) -> None:
        """Learn from what a load took."""
        for hot in columns:
            name = hot.column.name
            # What is mapped takes no memory, but would: the size of windows must not depend on where units come from.
            taken = hot.bytes or sum(round_up(segment.length, PAGE) for segment in hot.column.segments)
            found = taken / max(self._need(resident, name), 1)
            self.growth[name] = max(self.growth.get(name, 1.0), found)

    def expected(self, units: Units) -> int:
        """Bytes that one whole unit will probably take."""
        return int(sum(units.only([name]).need() * self.growth.get(name, 1.0) for name in units.names))


class Stream(Hold):
    """A reader's claim on a version that it reads window by window: what its lease holds, with no segment in it.

    Windows stay until they are released themselves.

    Attributes
    ----------
    layout
        Its columns, without segments.
    window_units
        How many units a window may have so that two fit into the budget; at least 1, and not more than fit a packet.
    """

    __slots__ = ("streamed", "units", "window_units")

    def __init__(self, streamed: Streamed, units: Units, release: Callable[[], None]) -> None:
        columns = [_empty(units, name) for name in units.names]
        super().__init__(layout_of(streamed.version, streamed.version.num_rows, units.rows, columns), (), release)
        self.streamed = streamed
        self.units = units
        self.window_units = 1


def _empty(units: Units, name: str) -> Column:
    plan = next(column for column in units.plan.columns if column.name == name)
    return Column(
        name=name,
        kind=plan.shape.kind,
        dtype=plan.shape.dtype,
        shape=plan.shape.shape,
        nullable=plan.field.nullable,
        schema=plan.schema,
    )


def joined(units: Sequence[HotColumn]) -> Column:
    """Describe one column of several units as one."""
    return replace(
        units[0].column,
        null_count=sum(hot.column.null_count for hot in units),
        segments=tuple(segment for hot in units for segment in hot.column.segments),
    )
