"""Rows of an open version as samples and batches of tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import get_worker_info

from alluxio_lance.address import Address
from alluxio_lance.client.arrow import ArrowColumn
from alluxio_lance.client.columns import AnyColumn
from alluxio_lance.client.filling import prepare_fill
from alluxio_lance.client.fixed import FixedColumn
from alluxio_lance.client.selecting import Selection, is_plain, read_fixed
from alluxio_lance.client.table import Table
from alluxio_lance.client.variable import RaggedRows, VariableColumn
from alluxio_lance.client.views.numbers import RowNumbers
from alluxio_lance.frameworks.torch.decoding import Decode, decoders, stacked
from alluxio_lance.frameworks.torch.tensors import given_room, shared_room, slot_room, to_tensor
from alluxio_lance.sidecar._shm import Slot

__all__ = ["Reader", "TakeRows"]

_ALIGNED: Final = 64
"""Columns in a slot begin on a line of the processor's cache."""

TakeRows = Callable[["Reader", Selection, npt.NDArray[np.int64]], None]
"""Takes rows: what reads them, which ones they are for it, and which of those asked for."""


class Reader:
    """Reads one version; picklable.

    Parameters
    ----------
    chosen
        The rows that the dataset has; by default all of the version.
    decode
        Columns of encoded pictures, see `alluxio_lance.frameworks.torch.decoding`.

    Attributes
    ----------
    rows
        The number of rows that the dataset has.
    """

    def __init__(
        self,
        table: Table,
        fill_null: Mapping[str, Any] | None,
        chosen: RowNumbers | None = None,
        decode: Decode | None = None,
    ) -> None:
        self.table: Final = table
        self.fill_null: Final = fill_null
        self.chosen: Final = chosen
        self.decode: Final = decode
        self.rows: Final = table.rows if chosen is None else len(chosen)
        self._fill = prepare_fill(fill_null, table.columns)
        self._plain = chosen is None and all(
            isinstance(column, FixedColumn) and column.validity is None for column in table.columns.values()
        )
        self._pictures = decoders(decode, table.columns, table.layout.uri)
        # Made once: it is asked for with every column of every batch.
        self._uri = table.layout.uri

    @property
    def opened(self) -> Table:
        """The version, for those who only ask about it."""
        return self.table

    @property
    def address(self) -> Address:
        """Where the sidecar is."""
        return self.table.lease.address

    @property
    def closed(self) -> bool:
        """Whether the version was closed."""
        return self.table.lease.closed

    @property
    def decoded(self) -> list[str]:
        """The columns whose pictures are decoded."""
        return sorted(self._pictures)

    def choose(self, indices: Sequence[int] | npt.NDArray[Any] | range) -> Selection:
        """Check indices against the rows of the dataset, and say which rows of the version they are."""
        found = Selection.of(indices, self.rows)
        return found if self.chosen is None else self.select(self.chosen.take(found.indices))

    def sample(self, index: int) -> dict[str, Any]:
        """One row of the version; `IndexError` when there is none."""
        return {name: self._value(name, column, index) for name, column in self.table.columns.items()}

    def samples(self, rows: npt.NDArray[np.int64]) -> Iterator[dict[str, Any]]:
        """Rows of the version one by one, each read when it is its turn."""
        return (self.sample(row) for row in rows.tolist())

    def each(self, selection: Selection, take: TakeRows) -> None:
        """Hand out rows of the version part by part: all are one."""
        take(self, selection, np.arange(len(selection)))

    def gathered(
        self, indices: Sequence[int] | npt.NDArray[Any] | range, out: Mapping[str, Any] | None = None
    ) -> dict[str, torch.Tensor] | None:
        """Rows as a batch, where one gather for each column is all there is to do; None where it is not.

        The short way for what a shuffle makes: in a batch of short rows the usual one is seen. The gathers check.
        """
        if not (
            self._plain
            and is_plain(indices)
            and len(indices) > 1
            # Neighbours may be a view.
            and indices.item(0) + 1 != indices.item(1)
            and get_worker_info() is None
        ):
            return None
        # A thread of the user's may write into its own while rows are copied, after they were checked.
        order = indices.copy()
        if out is not None:
            rooms = self.rooms_of(len(order), out)
            for name, column in self.table.columns.items():
                assert isinstance(column, FixedColumn), "all are"
                column.take(order, rooms[name][1])
            return {name: tensor for name, (tensor, _) in rooms.items()}
        return {
            name: to_tensor(column.take(order), column.element)
            for name, column in self.table.columns.items()
            if isinstance(column, FixedColumn)
        }

    def batch(self, selection: Selection) -> dict[str, Any]:
        """Rows as one tensor per column of fixed width, one list per other column.

        Raises
        ------
        InvalidArgument
            When an integer or bool column has a null among them and ``fill_null`` has nothing for it.
        """
        if get_worker_info() is not None:
            return {name: self._shared(name, column, selection) for name, column in self.table.columns.items()}
        # The shortest way for what most batches are: in a small one each call more is seen.
        fill, uri = self._fill, self._uri
        return {
            name: to_tensor(read_fixed(column, selection, fill.get(name), uri), column.element)
            if isinstance(column, FixedColumn)
            else stacked(self.listed(name, column, selection))
            for name, column in self.table.columns.items()
        }

    def batch_in(self, slot: Slot, selection: Selection) -> dict[str, Any]:
        """The same, with the tensors in a slot that has `room_for` them."""
        places = self._places(len(selection))
        return {
            name: stacked(self.listed(name, column, selection))
            if not isinstance(column, FixedColumn)
            else self._filled(name, column, selection, slot_room(slot, places[name], len(selection), column.element))
            for name, column in self.table.columns.items()
        }

    def batch_out(self, selection: Selection, out: Mapping[str, Any]) -> dict[str, Any]:
        """The same, with the tensors of another batch; `InvalidArgument` when they do not fit."""
        rooms = self.rooms_of(len(selection), out)
        return {
            name: self._filled(name, column, selection, rooms[name])
            if isinstance(column, FixedColumn)
            else stacked(self.listed(name, column, selection))
            for name, column in self.table.columns.items()
        }

    def rooms_of(self, rows: int, out: Mapping[str, Any]) -> dict[str, tuple[torch.Tensor, npt.NDArray[Any]]]:
        """Take the tensors of another batch of so many rows, and the arrays to fill them through."""
        return {
            name: given_room(out.get(name), rows, column.element, name)
            for name, column in self.table.columns.items()
            if isinstance(column, FixedColumn)
        }

    def room_for(self, rows: int) -> int:
        """Bytes of a slot for so many rows; 0 when no column has rows of a fixed width."""
        return self._places(rows)[None]

    def _places(self, rows: int) -> dict[str | None, int]:
        """Where in a slot each column of fixed width begins; under None where the last one ends."""
        places: dict[str | None, int] = {}
        end = 0
        for name, column in self.table.columns.items():
            if isinstance(column, FixedColumn):
                places[name] = end
                end += -(-rows * column.element.row_bytes // _ALIGNED) * _ALIGNED
        return {**places, None: end}

    def select(self, indices: Sequence[int] | npt.NDArray[Any] | range) -> Selection:
        """Check indices against the rows of the version."""
        return Selection.of(indices, self.table.rows)

    def values(self, name: str, column: FixedColumn, selection: Selection | None = None) -> npt.NDArray[Any]:
        """Rows of a column, where they are neighbours over the mapped memory, copy on write; by default all of the dataset."""
        if selection is None and self.chosen is None:
            values = column.view(0, column.rows)
            present = None if column.validity is None else column.validity.all()
        else:
            chosen = selection or self.choose(range(self.rows))
            first = chosen.start
            values = column.view(first, first + len(chosen)) if chosen.contiguous else column.take(chosen.indices)
            present = None if column.validity is None else column.validity.take(chosen.indices)
        if name in self._fill and present is not None:
            values[~present] = self._fill[name]
        return values

    def rooms(self, rows: int, slot: Slot | None) -> dict[str, tuple[torch.Tensor, npt.NDArray[Any]]]:
        """Make a tensor for so many rows of each column of fixed width, and the array to fill it through."""
        fixed = {name: column for name, column in self.table.columns.items() if isinstance(column, FixedColumn)}
        if slot is not None:
            places = self._places(rows)
            return {name: slot_room(slot, places[name], rows, column.element) for name, column in fixed.items()}
        if get_worker_info() is not None:
            return {name: shared_room(rows, column.element) for name, column in fixed.items()}
        arrays = {name: column.room(rows) for name, column in fixed.items()}
        return {name: (to_tensor(array, fixed[name].element), array) for name, array in arrays.items()}

    def fixed(
        self, name: str, column: FixedColumn, selection: Selection, target: npt.NDArray[Any] | None = None
    ) -> npt.NDArray[Any]:
        """Read rows of a column of fixed width, into a target if there is one."""
        return read_fixed(column, selection, self._fill.get(name), self._uri, target)

    def listed(self, name: str, column: AnyColumn, selection: Selection) -> list[Any]:
        """Read rows of any other column."""
        assert not isinstance(column, FixedColumn)
        if name in self._pictures:
            assert isinstance(column, VariableColumn), "checked when the decoder was made"
            return list(self._pictures[name].many(column, selection.indices, self._fill.get(name)))
        taken = column.take(selection.indices)
        rows = taken.rows() if isinstance(taken, RaggedRows) else taken
        fill = self._fill.get(name)
        return [_plain(fill if row is None else row, column) for row in rows]

    def _value(self, name: str, column: AnyColumn, index: int) -> Any:
        if name in self._pictures:
            assert isinstance(column, VariableColumn), "checked when the decoder was made"
            return self._pictures[name].one(column, index, self._fill.get(name))
        if not isinstance(column, FixedColumn):
            found = column.row(index)
            found = self._fill.get(name) if found is None else found
            return _plain(found, column)
        values = column.row(index)
        if column.validity is not None and not column.validity.at(index):
            if name in self._fill:
                values[...] = self._fill[name]
            elif not column.element.has_hole:
                return None
        return to_tensor(values, column.element)

    def _shared(self, name: str, column: AnyColumn, selection: Selection) -> Any:
        """Read rows in a worker of a DataLoader, into memory that it hands over as it is."""
        if isinstance(column, FixedColumn):
            return self._filled(name, column, selection, shared_room(len(selection), column.element))
        return stacked(self.listed(name, column, selection))

    def _filled(
        self, name: str, column: FixedColumn, selection: Selection, room: tuple[torch.Tensor, npt.NDArray[Any]]
    ) -> torch.Tensor:
        self.fixed(name, column, selection, room[1])
        return room[0]

    def __getstate__(self) -> tuple[Table, Mapping[str, Any] | None, RowNumbers | None, Decode | None]:
        return self.table, self.fill_null, self.chosen, self.decode

    def __setstate__(self, state: tuple[Table, Mapping[str, Any] | None, RowNumbers | None, Decode | None]) -> None:
        self.__init__(*state)  # type: ignore[misc]  # unpickling makes the object without calling it


def _plain(value: Any, column: AnyColumn) -> Any:
    """Leave strings, bytes, None and Arrow's objects as they are; make lists of numbers tensors."""
    if isinstance(column, ArrowColumn) or not isinstance(value, np.ndarray):
        return value
    assert not isinstance(column, FixedColumn)
    # A row that is a view into its batch's values stays one; a fill value, shared by all, may not be written into.
    return to_tensor(value if value.flags.writeable else value.copy(), column.element)
