"""Which places of an epoch's order each batch of a rank has: disjoint, complete, and equally many for all ranks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Share"]


@dataclass(frozen=True, slots=True)
class Share:
    """The batches of one rank from a place in the epoch's order to its end.

    A step consumes the next ``batch_size * world_size`` places: rank 0 gets the first ``batch_size`` of them, rank 1 the
    second, and so on. So what is left after a number of steps does not depend on who read it, and another number of
    ranks goes on from there. What does not fill a step is dropped, or dealt in equal shares: where it does not come out
    even, the last places of the order come a second time, the very last first, at most ``world_size - 1`` of them.
    """

    rows: int
    """Of the whole epoch."""
    start: int
    """Places that were consumed before."""
    batch_size: int
    rank: int
    world_size: int
    drop_last: bool

    @property
    def _step(self) -> int:
        return self.batch_size * self.world_size

    @property
    def _full(self) -> int:
        return max(self.rows - self.start, 0) // self._step

    @property
    def _tail(self) -> int:
        """Rows of this rank in the last, smaller batch; 0 when there is none."""
        left = max(self.rows - self.start, 0) - self._full * self._step
        return 0 if self.drop_last else -(-left // self.world_size)

    @property
    def batches(self) -> int:
        """How many there are, the same for every rank."""
        return self._full + (self._tail > 0)

    def positions(self, batch: int) -> npt.NDArray[np.int64]:
        """Places in the epoch's order of a batch, counted from ``start``."""
        size = self.batch_size if batch < self._full else self._tail
        first = self.start + batch * self._step + self.rank * size
        places = np.arange(first, first + size, dtype=np.int64)
        if first + size > self.rows:
            beyond = places >= self.rows
            places[beyond] = self.rows - 1 - (places[beyond] - self.rows) % self.rows
        return places

    def consumed(self, batches: int) -> int:
        """The place that all ranks have come to when each has had so many batches.

        Raises
        ------
        ValueError
            When there are not so many.
        """
        if not 0 <= batches <= self.batches:
            raise ValueError(f"{batches} batches were taken of {self.batches}")
        return max(min(self.start + batches * self._step, self.rows), self.start)
