"""The keys that a split stands on: the values of a column, hashed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from alluxio_lance.client.arrow import ArrowColumn
from alluxio_lance.client.columns import AnyColumn
from alluxio_lance.client.fixed import FixedColumn
from alluxio_lance.client.table import Table
from alluxio_lance.client.variable import VariableColumn
from alluxio_lance.client.views.hashing import hash_bytes, hash_integers
from alluxio_lance.errors import Conflict, InvalidArgument

__all__ = ["hashed_keys"]

_ROWS: Final = 64 << 10
"""Rows that are hashed at a time."""
_WHOLE_NUMBERS: Final = "iubmM"
"""Kinds of numpy: integers, bools, durations and moments."""


def hashed_keys(table: Table, rows: npt.NDArray[np.int64], key: str | None, seed: int) -> npt.NDArray[np.uint64]:
    """Hash the keys of some rows of a version.

    Parameters
    ----------
    key
        A column of integers, bools, moments, strings or bytes; one that was not opened is opened for as long as this
        takes. None: the row's number in the version.

    Raises
    ------
    NotFound
        When there is no such column.
    InvalidArgument
        When it has other values, or is null in one of the rows.
    """
    if key is None:
        return _joined(hash_integers(some, seed) for some in _spans(rows))
    if key in table.columns:
        return _joined(_hashes(table.column(key), rows, table.layout.uri, seed))
    with Table.open(table.layout.uri, [key], str(table.lease.address.run_folder)) as other:
        if other.layout.content_hash != table.layout.content_hash:
            raise Conflict(f"{table.layout.uri} was deleted and made anew meanwhile - open it again")
        return _joined(_hashes(other.column(key), rows, table.layout.uri, seed))


def _joined(parts: Iterator[npt.NDArray[np.uint64]]) -> npt.NDArray[np.uint64]:
    return np.concatenate([np.empty(0, np.uint64), *parts])


def _spans(rows: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
    for start in range(0, len(rows), _ROWS):
        # The gathers take neighbours only.
        yield np.ascontiguousarray(rows[start : start + _ROWS])


def _hashes(column: AnyColumn, rows: npt.NDArray[np.int64], uri: str, seed: int) -> Iterator[npt.NDArray[np.uint64]]:
    for some in _spans(rows):
        _check_present(column, some, uri)
        if isinstance(column, FixedColumn) and _is_bytes(column):
            yield hash_bytes((row.tobytes() for row in column.array[some]), seed)
        elif isinstance(column, FixedColumn) and _is_whole(column):
            values = column.array[some]
            yield hash_integers(values.view(np.int64) if values.dtype.kind in "mM" else values, seed)
        elif isinstance(column, VariableColumn) and column.element.is_text:
            taken = column.take(some)
            data = taken.values.tobytes()
            yield hash_bytes((data[start:stop] for start, stop in pairwise(taken.offsets.tolist())), seed)
        else:
            raise InvalidArgument(
                f"column {column.layout.name!r} of {uri} has values that are no keys - split by a column of integers, "
                "bools, moments, strings or bytes"
            )


def _check_present(column: AnyColumn, rows: npt.NDArray[np.int64], uri: str) -> None:
    if isinstance(column, ArrowColumn) or column.validity is None or column.validity.take(rows).all():
        return
    name = column.layout.name
    raise InvalidArgument(
        f"column {name!r} of {uri} is null in some of the rows, which have no part then - split by another key, or leave "
        f'those rows out first: filter("`{name}` IS NOT NULL")'
    )


def _is_bytes(column: FixedColumn) -> bool:
    """Whether the rows are opaque bytes of one length."""
    return column.element.name.startswith("S") and len(column.element.shape) == 1


def _is_whole(column: FixedColumn) -> bool:
    """Whether the rows are single whole numbers; bfloat16 is stored as such, and is none."""
    element = column.element
    return not element.shape and element.stored.kind in _WHOLE_NUMBERS and element.name != "bfloat16"
