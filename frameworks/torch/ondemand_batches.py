"""A batch whose rows come in parts, each from memory that is let go before the next part is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from alluxio_lance.client.fixed import FixedColumn
from alluxio_lance.client.selecting import Selection
from alluxio_lance.frameworks.torch.decoding import stacked
from alluxio_lance.frameworks.torch.reader import Reader
from alluxio_lance.frameworks.torch.tensors import to_tensor

__all__ = ["PartedBatch", "fill_places"]

_WIDE: Final = 64 << 10
"""Bytes of a row from which on a call for each row costs less than moving the row twice."""


class PartedBatch:
    """Rows that are put to their places as they come.

    Parameters
    ----------
    rows
        How many there are.
    rooms
        Of each column of fixed width the tensor, and the array to fill it through.
    """

    def __init__(self, rows: int, rooms: Mapping[str, tuple[torch.Tensor, npt.NDArray[Any]]]) -> None:
        self._rows = rows
        self._rooms = dict(rooms)
        self._lists: dict[str, list[Any]] = {}

    def add(self, reader: Reader, selection: Selection, places: npt.NDArray[np.int64]) -> None:
        """Read a part, and put its rows to these places of the batch."""
        for name, column in reader.table.columns.items():
            if not isinstance(column, FixedColumn):
                self._put(name, reader.listed(name, column, selection), places)
            elif name in self._rooms:
                fill_places(reader, name, selection, self._rooms[name][1], places)
            else:
                values = to_tensor(reader.fixed(name, column, selection), column.element)
                self._put(name, list(values), places)

    def _put(self, name: str, values: list[Any], places: npt.NDArray[np.int64]) -> None:
        if name not in self._lists:
            # Lists of one length that turn out to have null items, in a window but the first: from here on they are lists.
            room = self._rooms.pop(name, None)
            self._lists[name] = [None] * self._rows if room is None else list(room[0])
        rows = self._lists[name]
        for place, value in zip(places.tolist(), values, strict=True):
            rows[place] = value

    def columns(self, names: Mapping[str, Any]) -> dict[str, Any]:
        """Return the batch, with its columns in this order; all parts are there."""
        return {
            name: self._rooms[name][0] if name in self._rooms else stacked(self._lists.get(name, [])) for name in names
        }


def fill_places(
    reader: Reader, name: str, selection: Selection, room: npt.NDArray[Any], places: npt.NDArray[np.int64]
) -> None:
    """Read rows of a column of fixed width to ascending places of an array."""
    column = reader.table.column(name)
    assert isinstance(column, FixedColumn)
    first = int(places[0])
    if int(places[-1]) - first == len(places) - 1:
        reader.fixed(name, column, selection, room[first : first + len(places)])
    elif column.element.row_bytes >= _WIDE:
        for place, row in zip(places.tolist(), selection.indices[:, None], strict=True):
            reader.fixed(name, column, Selection(row, contiguous=True), room[place : place + 1])
    else:
        # The gather fills neighbours only: these rows go to their places in a second step.
        room[places] = reader.fixed(name, column, selection)
