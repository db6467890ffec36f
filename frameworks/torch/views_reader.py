"""Rows of several datasets read as if they were one: a gather per dataset, into one tensor per column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import torch

from alluxio_lance.client.columns import AnyColumn
from alluxio_lance.client.fixed import FixedColumn
from alluxio_lance.client.ondemand import OnDemand
from alluxio_lance.client.selecting import Selection
from alluxio_lance.client.table import Table
from alluxio_lance.client.views.joining import Joined, Part
from alluxio_lance.errors import InvalidArgument
from alluxio_lance.frameworks.torch.decoding import stacked
from alluxio_lance.frameworks.torch.ondemand import OnDemandReader
from alluxio_lance.frameworks.torch.ondemand_batches import PartedBatch, fill_places
from alluxio_lance.frameworks.torch.reader import Reader
from alluxio_lance.frameworks.torch.tensors import to_tensor
from alluxio_lance.sidecar._shm import Slot

__all__ = ["AnyReader", "JoinedReader"]

AnyReader = Reader | OnDemandReader


class JoinedReader:
    """Reads datasets one behind the other.

    Parameters
    ----------
    readers
        Theirs; all have the same columns, and the first says in which order.
    """

    def __init__(self, readers: Sequence[AnyReader]) -> None:
        self.readers: Final = tuple(readers)
        self.joined: Final = Joined([reader.rows for reader in readers])
        self._on_demand = any(isinstance(reader, OnDemandReader) for reader in readers)
        # Lists of one length are no tensor in a dataset that has null items in them.
        self._in_parts = self._on_demand or any(_kinds(reader) != _kinds(readers[0]) for reader in readers[1:])

    @property
    def table(self) -> Table | OnDemand:
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

    def samples(self, rows: npt.NDArray[np.int64]) -> Iterable[dict[str, Any]]:
        """Rows one by one; where some are read on demand all are read now."""
        if not self._on_demand:
            return (self.sample(row) for row in rows.tolist())
        found: list[dict[str, Any]] = [{}] * len(rows)
        for reader, chosen, part in self._parts(Selection(rows, contiguous=False)):
            for place, sample in zip(part.places.tolist(), reader.samples(chosen.indices), strict=True):
                found[place] = {name: sample[name] for name in self.table.columns}
        return found

    def batch(self, selection: Selection) -> dict[str, Any]:
        """Rows as one tensor per column of fixed width, one list per other column."""
        return self._batch(selection, None)

    def batch_out(self, selection: Selection, out: Mapping[str, Any]) -> dict[str, Any]:
        """The same, with the tensors of another batch; `InvalidArgument` when they do not fit."""
        batch = PartedBatch(len(selection), self.readers[0].rooms_of(len(selection), out))
        return self._parted(batch, self._parts(selection))

    def batch_in(self, slot: Slot, selection: Selection) -> dict[str, Any]:
        """The same, with the tensors in a slot that has `room_for` them."""
        return self._batch(selection, slot)

    def room_for(self, rows: int) -> int:
        """Bytes of a slot for so many rows; 0 when no column has rows of a fixed width."""
        # Of what is a list in the first one another one may still make a tensor.
        return max(reader.room_for(rows) for reader in self.readers)

    def tensor(self, name: str, selection: Selection) -> torch.Tensor:
        """Rows of a column of fixed width; nulls are left as they lie there, unless something stands in for them.

        Raises
        ------
        InvalidArgument
            When it has null items in the lists of some dataset: there it has no fixed width.
        """
        parts = self._in_memory(name, selection)
        # All are looked at before the first one is copied.
        columns = [_fixed(reader, name) for reader, _, _ in parts]
        values = [reader.values(name, own, chosen) for (reader, chosen, _), own in zip(parts, columns, strict=True)]
        column = self.table.column(name)
        assert isinstance(column, FixedColumn)
        if len(parts) == 1:
            return to_tensor(values[0], column.element)
        room = column.room(len(selection))
        for (_, _, part), some in zip(parts, values, strict=True):
            room[part.places] = some
        return to_tensor(room, column.element)

    def valid(self, name: str, selection: Selection) -> torch.Tensor:
        """Which rows of a column are not null."""
        present = np.empty(len(selection), np.bool_)
        for reader, chosen, part in self._in_memory(name, selection):
            present[part.places] = reader.table.column(name).present()[chosen.indices]
        return torch.from_numpy(present)

    def _parts(self, selection: Selection) -> list[tuple[AnyReader, Selection, Part]]:
        """The rows by dataset, as rows of its version."""
        parts = self.joined.cut(selection.indices)
        return [(self.readers[part.source], self.readers[part.source].choose(part.rows), part) for part in parts]

    def _in_memory(self, name: str, selection: Selection) -> list[tuple[Reader, Selection, Part]]:
        """The same, where a column as a whole is asked for: `NoSpace` when it is not in memory."""
        found = []
        for reader, chosen, part in self._parts(selection):
            if isinstance(reader, OnDemandReader):
                reader.table.column(name)
            found.append((reader, chosen, part))
        return found

    def _batch(self, selection: Selection, slot: Slot | None) -> dict[str, Any]:
        parts = self._parts(selection)
        if len(parts) <= 1:
            reader, chosen = parts[0][:2] if parts else (self.readers[0], selection)
            found = reader.batch(chosen) if slot is None else reader.batch_in(slot, chosen)
            return {name: found[name] for name in self.table.columns}
        rooms = self.readers[0].rooms(len(selection), slot)
        if self._in_parts:
            return self._parted(PartedBatch(len(selection), rooms), parts)
        resident = cast("list[tuple[Reader, Selection, Part]]", parts)
        batch: dict[str, Any] = {}
        for name in self.table.columns:
            if name in rooms:
                tensor, room = rooms[name]
                for reader, chosen, part in resident:
                    fill_places(reader, name, chosen, room, part.places)
                batch[name] = tensor
            else:
                batch[name] = stacked(_listed(name, len(selection), resident))
        return batch

    def _parted(self, batch: PartedBatch, parts: Sequence[tuple[AnyReader, Selection, Part]]) -> dict[str, Any]:
        """Fill a batch dataset by dataset and not column by column: no window is held while another one is waited for."""
        for reader, chosen, part in parts:

            def add(
                reading: Reader,
                rows: Selection,
                places: npt.NDArray[np.int64],
                where: npt.NDArray[np.int64] = part.places,
            ) -> None:
                batch.add(reading, rows, where[places])

            reader.each(chosen, add)
        return batch.columns(self.table.columns)


def _kinds(reader: AnyReader) -> dict[str, type[AnyColumn]]:
    return {name: type(column) for name, column in reader.table.columns.items()}


def _fixed(reader: Reader, name: str) -> FixedColumn:
    column = reader.table.column(name)
    if not isinstance(column, FixedColumn):
        raise InvalidArgument(
            f"column {name!r} of {reader.table.layout.uri} has lists with null items, and is no single tensor together with "
            "the others - read it by rows"
        )
    return column


def _listed(name: str, count: int, parts: Sequence[tuple[Reader, Selection, Part]]) -> list[Any]:
    rows: list[Any] = [None] * count
    for reader, chosen, part in parts:
        found = reader.listed(name, reader.table.column(name), chosen)
        for place, row in zip(part.places.tolist(), found, strict=True):
            rows[place] = row
    return rows
