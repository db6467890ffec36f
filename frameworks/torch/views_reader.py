"""Rows of several datasets read as if they were one: a gather per dataset, into one tensor per column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from alluxio_lance.client.fixed import FixedColumn
from alluxio_lance.client.selecting import Selection
from alluxio_lance.client.table import Table
from alluxio_lance.client.views.joining import Joined, Part
from alluxio_lance.frameworks.torch.decoding import stacked
from alluxio_lance.frameworks.torch.reader import Reader
from alluxio_lance.frameworks.torch.tensors import to_tensor
from alluxio_lance.sidecar._shm import Slot

__all__ = ["JoinedReader"]

_WIDE: Final = 64 << 10
"""Bytes of a row from which on a call for each row costs less than moving the row twice."""


class JoinedReader:
    """Reads datasets one behind the other.

    Parameters
    ----------
    readers
        Theirs; all have the same columns, and the first says in which order.
    """

    def __init__(self, readers: Sequence[Reader]) -> None:
        self.readers: Final = tuple(readers)
        self.joined: Final = Joined([reader.rows for reader in readers])

    @property
    def table(self) -> Table:
        """The first one."""
        return self.readers[0].table

    def select(self, indices: Sequence[int] | npt.NDArray[Any] | range) -> Selection:
        """Check indices against the rows of all together."""
        return Selection.of(indices, len(self.joined))

    def sample(self, index: int) -> dict[str, Any]:
        """One row; `IndexError` when there is none."""
        source, row = self.joined.find(int(self.select([index]).indices[0]))
        reader = self.readers[source]
        found = reader.sample(reader.choose([row]).start)
        return {name: found[name] for name in self.table.columns}

    def batch(self, selection: Selection) -> dict[str, Any]:
        """Rows as one tensor per column of fixed width, one list per other column."""
        return self._batch(selection, None)

    def batch_in(self, slot: Slot, selection: Selection) -> dict[str, Any]:
        """The same, with the tensors in a slot that has `room_for` them."""
        return self._batch(selection, slot)

    def room_for(self, rows: int) -> int:
        """Bytes of a slot for so many rows; 0 when no column has rows of a fixed width."""
        return self.readers[0].room_for(rows)

    def tensor(self, name: str, selection: Selection) -> torch.Tensor:
        """Rows of a column of fixed width; nulls are left as they lie there, unless something stands in for them."""
        parts = self._parts(selection)
        values = [reader.values(name, _fixed(reader, name), chosen) for reader, chosen, _ in parts]
        element = _fixed(self.readers[0], name).element
        if len(parts) == 1:
            return to_tensor(values[0], element)
        room = _fixed(self.readers[0], name).room(len(selection))
        for (_, _, part), some in zip(parts, values, strict=True):
            room[part.places] = some
        return to_tensor(room, element)

    def valid(self, name: str, selection: Selection) -> torch.Tensor:
        """Which rows of a column are not null."""
        present = np.empty(len(selection), np.bool_)
        for reader, chosen, part in self._parts(selection):
            present[part.places] = reader.table.column(name).present()[chosen.indices]
        return torch.from_numpy(present)

    def _parts(self, selection: Selection) -> list[tuple[Reader, Selection, Part]]:
        """The rows by dataset, as rows of its version."""
        parts = self.joined.cut(selection.indices)
        return [(self.readers[part.source], self.readers[part.source].choose(part.rows), part) for part in parts]

    def _batch(self, selection: Selection, slot: Slot | None) -> dict[str, Any]:
        parts = self._parts(selection)
        if len(parts) <= 1:
            reader, chosen = parts[0][:2] if parts else (self.readers[0], selection)
            found = reader.batch(chosen) if slot is None else reader.batch_in(slot, chosen)
            return {name: found[name] for name in self.table.columns}
        rooms = self.readers[0].rooms(len(selection), slot)
        batch: dict[str, Any] = {}
        for name in self.table.columns:
            if name in rooms:
                tensor, room = rooms[name]
                _fill(name, room, parts)
                batch[name] = tensor
            else:
                batch[name] = stacked(_listed(name, len(selection), parts))
        return batch


def _fixed(reader: Reader, name: str) -> FixedColumn:
    column = reader.table.column(name)
    assert isinstance(column, FixedColumn)
    return column


def _fill(name: str, room: npt.NDArray[Any], parts: Sequence[tuple[Reader, Selection, Part]]) -> None:
    for reader, chosen, part in parts:
        column = _fixed(reader, name)
        first = int(part.places[0])
        if int(part.places[-1]) - first == len(part.places) - 1:
            reader.fixed(name, column, chosen, room[first : first + len(part.places)])
        elif column.element.row_bytes >= _WIDE:
            for place, row in zip(part.places.tolist(), chosen.indices[:, None], strict=True):
                reader.fixed(name, column, Selection(row, contiguous=True), room[place : place + 1])
        else:
            # The gather fills neighbours only: these rows go to their places in a second step.
            room[part.places] = reader.fixed(name, column, chosen)


def _listed(name: str, count: int, parts: Sequence[tuple[Reader, Selection, Part]]) -> list[Any]:
    rows: list[Any] = [None] * count
    for reader, chosen, part in parts:
        found = reader.listed(name, reader.table.column(name), chosen)
        for place, row in zip(part.places.tolist(), found, strict=True):
            rows[place] = row
    return rows
