"""Which rows a batch has, and how they are read: a view where they are contiguous, one gather where they are not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

import numpy as np
import numpy.typing as npt

from alluxio_lance.client.filling import missing
from alluxio_lance.client.fixed import FixedColumn
from alluxio_lance.errors import InvalidArgument
from alluxio_lance.sidecar._shm import read_indices, resolve

__all__ = ["Selection", "is_plain", "read_fixed"]

_INT64: Final = np.dtype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """Rows of a table of ``rows`` rows, in order; negative indices are resolved."""

    indices: npt.NDArray[np.int64]
    contiguous: bool

    @classmethod
    def of(cls, indices: Sequence[int] | npt.NDArray[Any] | range, rows: int) -> Selection:
        """Check indices.

        Raises
        ------
        IndexError
            When one is not in ``[-rows, rows)``.
        InvalidArgument
            When they are no integers, or not in one row.
        """
        found = _numbers(indices, rows)
        resolved = np.empty(len(found), np.int64)
        contiguous = resolve(found, rows, resolved)
        return cls(resolved, contiguous)

    @property
    def start(self) -> int:
        """The first row of a contiguous one."""
        return int(self.indices[0]) if len(self.indices) else 0

    def __len__(self) -> int:
        return len(self.indices)


def is_plain(indices: Sequence[int] | npt.NDArray[Any] | range) -> TypeGuard[npt.NDArray[np.int64]]:
    """Tell whether indices are what a shuffle makes: one row of int64, which needs no conversion."""
    return type(indices) is np.ndarray and indices.dtype == _INT64 and indices.ndim == 1 and indices.flags.carray


def _numbers(indices: Sequence[int] | npt.NDArray[Any] | range, rows: int) -> npt.NDArray[np.int64]:
    if is_plain(indices):
        return indices
    if type(indices) is list:
        # What a sampler makes; numpy would need four times as long.
        read = np.empty(len(indices), np.int64)
        if read_indices(indices, read):
            return read
    found = np.asarray(indices)
    if found.size and (found.dtype.kind not in "iu" or found.ndim != 1):
        raise InvalidArgument(f"rows are chosen by a flat sequence of integers, not by {found.dtype} {found.shape}")
    if found.dtype.kind == "u":
        # Before the cast, which would make a negative number of a large unsigned one.
        for outside in found[found >= rows]:
            raise IndexError(f"index {outside} is out of range for {rows} rows")
    return np.require(found.reshape(-1), np.int64, ["C_CONTIGUOUS", "ALIGNED"])


def read_fixed(
    column: FixedColumn, selection: Selection, fill: Any, uri: str, target: npt.NDArray[Any] | None = None
) -> npt.NDArray[Any]:
    """Read a batch of a FIXED column with its nulls filled.

    Parameters
    ----------
    fill
        What stands in for nulls; None when nothing was given.
    uri
        Names the version in messages.
    target
        Copy into this; without it contiguous rows are a view.

    Raises
    ------
    InvalidArgument
        When a row is null, nothing stands in for it and the type has no way to say so.
    """
    if column.validity is None:
        return _rows(column, selection, target)
    present = column.validity.take(selection.indices)
    holes = not present.all()
    if holes and fill is None and not column.element.has_hole:
        raise missing(column.layout.name, uri)
    rows = _rows(column, selection, target)
    if holes and fill is not None:
        rows[~present] = fill
    return rows


def _rows(column: FixedColumn, selection: Selection, target: npt.NDArray[Any] | None) -> npt.NDArray[Any]:
    if selection.contiguous and target is None:
        return column.view(selection.start, selection.start + len(selection))
    return column.take(selection.indices, target)
