"""Repetitions: all ways in turn, every time in another order, so that a busy minute of the machine meets all of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from alluxio_lance.bench.parts.results import Line
from alluxio_lance.bench.results import Spread

__all__ = ["Rounds"]


class Rounds:
    """Numbers by way and by what was measured, one of each repetition."""

    def __init__(self) -> None:
        self.numbers: dict[str, dict[str, list[float]]] = {}

    def run(
        self,
        ways: Mapping[str, Callable[[], Mapping[str, float]]],
        repetitions: int,
        seed: int,
        tell: Callable[[str], None],
    ) -> None:
        """Measure all ways so many times; a way returns its numbers by name."""
        order = random.Random(seed)  # noqa: S311 - the order of measurements is no secret
        for repetition in range(repetitions):
            for way in order.sample(list(ways), len(ways)):
                tell(f"repetition {repetition + 1} of {repetitions}: {way}")
                for name, number in ways[way]().items():
                    self.numbers.setdefault(way, {}).setdefault(name, []).append(number)

    def line(
        self,
        way: str,
        number: str,
        *,
        name: str | None = None,
        x: float | None = None,
        against: tuple[str, str] | None = None,
        inverse: bool = False,
    ) -> Line:
        """Summarize one number of a way.

        Parameters
        ----------
        against
            Another way and its number: the ratio is this one over that one, repetition by repetition.
        inverse
            That one over this one: how many times as fast, where the numbers are times.
        """
        mine = self.numbers[way][number]
        ratio = None
        if against is not None:
            other = self.numbers[against[0]][against[1]]
            pairs = zip(other, mine, strict=True) if inverse else zip(mine, other, strict=True)
            ratio = Spread.of([above / below for above, below in pairs])
        return Line(name=name or way, x=x, value=Spread.of(mine), ratio=ratio)
