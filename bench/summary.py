"""From measurements to the lines of the table: medians, spreads, and ratios within each repetition."""

from __future__ import annotations

from collections.abc import Sequence

from alluxio_lance.bench.results import Line, Measurement, Spread
from alluxio_lance.bench.ways import BASELINE, LIMIT, WAYS

__all__ = ["summarize"]

_Key = tuple[str, int, int]


def summarize(measurements: Sequence[Measurement]) -> tuple[Line, ...]:
    """Make one line for each way and number of workers, in the order of the table of ways.

    Ratios are taken within a repetition, between processes that ran within a few minutes of each other, and only then
    is their median taken: what slows the machine for a while slows both sides.
    """
    first = {(m.way, m.workers, m.repetition): m.first for m in measurements}
    later = {(m.way, m.workers, m.repetition): m.later for m in measurements}
    order = list(WAYS)
    pairs = sorted({(m.way, m.workers) for m in measurements}, key=lambda pair: (pair[1], order.index(pair[0])))
    return tuple(line(way, workers, measurements, first, later) for way, workers in pairs)


def line(
    way: str, workers: int, measurements: Sequence[Measurement], first: dict[_Key, float], later: dict[_Key, float]
) -> Line:
    """Summarize one way with one number of workers."""
    mine = [m for m in measurements if (m.way, m.workers) == (way, workers)]
    return Line(
        way=way,
        workers=workers,
        repetitions=len(mine),
        first=Spread.of([m.first for m in mine]),
        later=Spread.of([m.later for m in mine]),
        first_of_memmap=Spread.of([m.first / first[BASELINE, workers, m.repetition] for m in mine]),
        of_memmap=Spread.of([m.later / later[BASELINE, workers, m.repetition] for m in mine]),
        of_memcpy=Spread.of([m.later / later[LIMIT, 0, m.repetition] for m in mine]),
    )
