"""The keys that a split stands on: the values of a column, hashed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from alluxio_lance.client.arrow import ArrowColumn
from alluxio_lance.client.columns import AnyColumn
from alluxio_lance.client.fixed import FixedColumn
from alluxio_lance.client.ondemand import OnDemand
from alluxio_lance.client.streamed import StreamedVersion
from alluxio_lance.client.table import Table
from alluxio_lance.client.variable import VariableColumn
from alluxio_lance.client.views.hashing import hash_bytes, hash_integers
from alluxio_lance.errors import Conflict, InvalidArgument, NoSpace

__all__ = ["hashed_keys"]

_ROWS: Final = 64 << 10
"""Rows that are hashed at a time."""
_WHOLE_NUMBERS: Final = "iubmM"
"""Kinds of numpy: integers, bools, durations and moments."""


def hashed_keys(
    opened: Table | StreamedVersion, rows: npt.NDArray[np.int64], key: str | None, seed: int
) -> npt.NDArray[np.uint64]:
    """Hash the keys of some rows of a version.

    Parameters
    ----------
    opened
        The version, in memory or streamed.
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
    layout = opened.layout
    if isinstance(opened, Table) and key in opened.columns:
        return _joined(_hashes(opened.column(key), rows, layout.uri, seed))
    address = opened.lease.address if isinstance(opened, Table) else opened.address
    try:
        other: Table | OnDemand = Table.open(layout.uri, [key], str(address.run_folder))
    except NoSpace:
        other = OnDemand.open(layout.uri, [key], str(address.run_folder))
    with closing(other):
        if other.layout.content_hash != layout.content_hash:
            raise Conflict(f"{layout.uri} was deleted and made anew meanwhile - open it again")
        if isinstance(other, Table):
            return _joined(_hashes(other.column(key), rows, layout.uri, seed))
        return _on_demand(other, rows, key, seed)


def _on_demand(opened: OnDemand, rows: npt.NDArray[np.int64], key: str, seed: int) -> npt.NDArray[np.uint64]:
    found = np.empty(len(rows), np.uint64)

    def take(table: Table, local: npt.NDArray[np.int64], places: npt.NDArray[np.int64]) -> None:
        found[places] = _joined(_hashes(table.column(key), local, opened.layout.uri, seed))

    opened.read(rows, take)
    return found


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
