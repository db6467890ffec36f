"""Where the bytes of a run of rows go, for whoever can read them right there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from alluxio_lance.errors import NoSpace
from alluxio_lance.sidecar.models.file import FileFilling
from alluxio_lance.sidecar.models.runs import Piece

__all__ = ["Placing"]

_AT_ONCE: Final = 16 << 20
"""Bytes of rows that are read by one thread at a time, unless a single one has more."""


class Placing:
    """Implements ``Destination`` for the bytes of pieces that are read one after the other.

    Parameters
    ----------
    pieces
        In the order in which their rows are read.
    fillings
        By name of the column that they go to.
    """

    def __init__(self, pieces: Sequence[Piece], fillings: Mapping[str, FileFilling]) -> None:
        self._pieces = pieces
        self._fillings = fillings

    def stretch(self, column: str, row: int, count: int) -> int:
        """Tell how many pieces lie one behind the other, up to 16 MiB of them; 0 where rows are copied to their place."""
        end = min(row + count, len(self._pieces))
        if row >= end or not self._fillings[self._pieces[row].column].mapped:
            return 0
        first = before = self._pieces[row]
        # Without a slice: where pieces lie in no order, each of them is asked about with all that could follow.
        for number in range(row + 1, end):
            piece = self._pieces[number]
            follows = piece.column == first.column and piece.offset == before.offset + before.size
            if not follows or piece.offset + piece.size - first.offset > _AT_ONCE:
                return number - row
            before = piece
        return end - row

    def room(self, column: str, row: int, count: int) -> memoryview | None:
        """Return the place of the pieces of one stretch."""
        first, last = self._pieces[row], self._pieces[row + count - 1]
        try:
            return self._fillings[first.column].room(first.offset, last.offset + last.size - first.offset)
        except NoSpace:
            # No fault of whoever reads: it is said when the bytes are to be written.
            return None
