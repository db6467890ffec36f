"""The rows of a version that a filter chooses, which are then all that an epoch has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from alluxio_lance.client.selection import selected_rows
from alluxio_lance.client.views.numbers import RowNumbers

if TYPE_CHECKING:
    from alluxio_lance.client.streamed import StreamedVersion
    from alluxio_lance.client.table import Table

__all__ = ["Chosen"]


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """A filter and its rows, ascending; pickled copies share the memory of many rows."""

    filter: str
    numbers: RowNumbers

    @classmethod
    def of(cls, opened: Table | StreamedVersion, filter: str) -> Self:
        """Ask the sidecar which rows of an open version they are; errors as of `selected_rows`."""
        return cls(filter, RowNumbers(selected_rows(opened, filter)))

    def __len__(self) -> int:
        return len(self.numbers)

    def below(self, bounds: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Count the chosen rows that are less than each of some row numbers."""
        return self.numbers.below(bounds)

    def part(self, start: int, stop: int) -> npt.NDArray[np.int64]:
        """The chosen rows at the places ``start`` to ``stop`` of their order, as row numbers."""
        return self.numbers.take(np.arange(start, stop, dtype=np.int64))
