"""Batches of about 8 MiB out of a stream of batches of any size, without a copy where the source is large."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import pyarrow as pa

__all__ = ["TARGET", "rechunk"]

TARGET: Final = 8 << 20
"""Bytes. One batch becomes one page of a file: larger pages are slow to write and to read (page faults)."""
_FEWEST_ROWS: Final = 2
"""A page with a single value is kept by Lance as a constant, for ever in its metadata cache."""
_SKEW: Final = 2


def rechunk(batches: Iterable[pa.RecordBatch], target: int = TARGET) -> Iterator[pa.RecordBatch]:
    """Cut and join batches to about ``target`` bytes and at least two rows each; the rows keep their order.

    At most a few times ``target`` is held besides the source's own batch. Empty batches go.
    """
    held: pa.RecordBatch | None = None
    for batch in _gather(batches, target):
        if held is None:
            held = batch
        elif batch.num_rows < _FEWEST_ROWS:
            held = _join([held, batch])
        else:
            yield held
            held = batch
    if held is not None:
        yield held


def _gather(batches: Iterable[pa.RecordBatch], target: int) -> Iterator[pa.RecordBatch]:
    pending: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        for piece in _split(batch, target):
            # A small rest joins the large piece behind it: one copy, against a page that is too small for ever.
            full = size >= target // 2 or (size >= target // 4 and size + piece.nbytes > target)
            if full and rows >= _FEWEST_ROWS:
                yield _join(pending)
                pending, rows, size = [], 0, 0
            pending.append(piece)
            rows += piece.num_rows
            size += piece.nbytes
    if pending:
        yield _join(pending)


def _split(batch: pa.RecordBatch, target: int) -> Iterator[pa.RecordBatch]:
    """Cut into equal numbers of rows, and again where the rows are of very different sizes."""
    # What remains of no rows are dictionaries: all pieces share them and they do not get smaller by cutting.
    own = batch.nbytes - batch.slice(0, 0).nbytes
    parts = min(-(-own // target), batch.num_rows // _FEWEST_ROWS)
    if parts <= 1:
        if batch.num_rows:
            yield batch
        return
    rows = -(-batch.num_rows // parts)
    for start in range(0, batch.num_rows, rows):
        piece = batch.slice(start, rows)
        skewed = piece.nbytes - batch.slice(0, 0).nbytes > _SKEW * target
        yield from _split(piece, target) if skewed else (piece,)


def _join(pieces: list[pa.RecordBatch]) -> pa.RecordBatch:
    return pieces[0] if len(pieces) == 1 else pa.concat_batches(pieces)
