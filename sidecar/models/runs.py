"""Which rows of a model's table are read together, and where the bytes of each go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from alluxio_lance.weights.chunks import CHUNK_BYTES

__all__ = ["Piece", "Run", "runs_of"]

_MOST_ROWS: Final = 4096
_BATCH_BYTES: Final = 2 * CHUNK_BYTES
"""What a batch has at most, wherever it begins: a few of them are read ahead."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One row, and where its bytes go."""

    row: int
    title: str
    """Names it in messages."""
    column: str
    offset: int
    size: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive rows that are all wanted."""

    pieces: Sequence[Piece]
    batch_rows: int
    """At most how many of them make a batch, so that none gets too large: short and long rows lie side by side."""

    @property
    def rows(self) -> tuple[int, int]:
        """The first row and the one behind the last."""
        return self.pieces[0].row, self.pieces[-1].row + 1


def runs_of(pieces: Sequence[Piece]) -> Iterator[Run]:
    """Cut pieces, given in any order, into runs in the order of the table."""
    ordered = sorted(pieces, key=lambda piece: piece.row)
    start = 0
    for end in range(1, len(ordered) + 1):
        if end == len(ordered) or ordered[end].row != ordered[end - 1].row + 1:
            run = ordered[start:end]
            yield Run(run, _batch_rows([piece.size for piece in run]))
            start = end


def _batch_rows(sizes: Sequence[int]) -> int:
    """Return the largest power of two of rows of which no consecutive ones pass the bytes of a batch."""
    ends = np.concatenate(([0], np.cumsum(sizes, dtype=np.int64)))
    rows = 1
    while 2 * rows <= _MOST_ROWS:
        wider = min(2 * rows, len(sizes))
        if int((ends[wider:] - ends[:-wider]).max()) > _BATCH_BYTES:
            break
        rows *= 2
    return rows
