"""Rows of a version that is not in memory as samples and batches of tensors, read as they are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import get_worker_info

from alluxio_lance.address import Address
from alluxio_lance.client.ondemand import OnDemand
from alluxio_lance.client.selecting import Selection
from alluxio_lance.client.streamed import StreamedVersion
from alluxio_lance.client.table import Table
from alluxio_lance.client.views.numbers import RowNumbers
from alluxio_lance.errors import Corrupt
from alluxio_lance.frameworks.torch.decoding import Decode
from alluxio_lance.frameworks.torch.ondemand_batches import PartedBatch
from alluxio_lance.frameworks.torch.reader import Reader, TakeRows
from alluxio_lance.sidecar._shm import Slot

__all__ = ["OnDemandReader"]


class OnDemandReader:
    """Reads one version on demand; what `Reader` is to a version in memory. Picklable.

    Each window is read by a `Reader` of its own. Parameters and attributes are those of `Reader`.
    """

    def __init__(
        self,
        table: OnDemand,
        fill_null: Mapping[str, Any] | None,
        chosen: RowNumbers | None = None,
        decode: Decode | None = None,
    ) -> None:
        self.table: Final = table
        self.fill_null: Final = fill_null
        self.chosen: Final = chosen
        self.decode: Final = decode
        self.rows: Final = table.rows if chosen is None else len(chosen)
        # It says at once what does not fit the columns, and knows how large rows are.
        self._blank = Reader(table.blank, fill_null, decode=decode)
        self._latest: Reader | None = None

    @property
    def opened(self) -> StreamedVersion:
        """The version, for those who only ask about it."""
        return self.table.version

    @property
    def address(self) -> Address:
        """Where the sidecar is."""
        return self.table.address

    @property
    def closed(self) -> bool:
        """Whether the version was closed."""
        return self.table.closed

    @property
    def decoded(self) -> list[str]:
        """The columns whose pictures are decoded."""
        return self._blank.decoded

    def choose(self, indices: Sequence[int] | npt.NDArray[Any] | range) -> Selection:
        """Check indices against the rows of the dataset, and say which rows of the version they are."""
        found = Selection.of(indices, self.rows)
        return found if self.chosen is None else self.select(self.chosen.take(found.indices))

    def select(self, indices: Sequence[int] | npt.NDArray[Any] | range) -> Selection:
        """Check indices against the rows of the version."""
        return Selection.of(indices, self.table.rows)

    def each(self, selection: Selection, take: TakeRows) -> None:
        """Hand out the rows of the version part by part, as `Reader.each` does in one."""
        info = get_worker_info()
        rows = selection.indices

        def taking(table: Table, local: npt.NDArray[np.int64], places: npt.NDArray[np.int64]) -> None:
            reader = self._reading(table)
            try:
                take(reader, reader.select(local), places)
            except Corrupt as error:
                raise _renumbered(error, local, rows[places]) from error.__cause__

        self.table.read(rows, taking, readers=1 if info is None else info.num_workers)

    def _reading(self, table: Table) -> Reader:
        if self._latest is None or self._latest.table is not table:
            self._latest = Reader(table, self.fill_null, decode=self.decode)
        return self._latest

    # -- rows ------------------------------------------------------------------------------------------------------

    def sample(self, index: int) -> dict[str, Any]:
        """One row of the version; `IndexError` when there is none."""
        return self.samples(self.select([index]).indices)[0]

    def samples(self, rows: npt.NDArray[np.int64]) -> list[dict[str, Any]]:
        """Rows of the version one by one, read together."""
        found: list[dict[str, Any]] = [{}] * len(rows)

        def take(reader: Reader, selection: Selection, places: npt.NDArray[np.int64]) -> None:
            for place, row in zip(places.tolist(), selection.indices.tolist(), strict=True):
                found[place] = reader.sample(row)

        self.each(Selection(rows, contiguous=False), take)
        return found

    def gathered(self, indices: Sequence[int] | npt.NDArray[Any] | range, out: Mapping[str, Any] | None = None) -> None:
        """Say that there is no shorter way than `batch`."""

    def batch(self, selection: Selection) -> dict[str, Any]:
        """Rows as one tensor per column of fixed width, one list per other column.

        Raises
        ------
        InvalidArgument
            When an integer or bool column has a null among them and ``fill_null`` has nothing for it.
        """
        return self._batch(selection, None)

    def batch_in(self, slot: Slot, selection: Selection) -> dict[str, Any]:
        """The same, with the tensors in a slot that has `room_for` them."""
        return self._batch(selection, slot)

    def _batch(self, selection: Selection, slot: Slot | None) -> dict[str, Any]:
        whole: dict[str, Any] | None = None
        parted: PartedBatch | None = None

        def take(reader: Reader, part: Selection, places: npt.NDArray[np.int64]) -> None:
            nonlocal whole, parted
            if len(part) == len(selection):
                whole = reader.batch(part) if slot is None else reader.batch_in(slot, part)
                return
            parted = parted or PartedBatch(len(selection), self.rooms(len(selection), slot))
            parted.add(reader, part, places)

        self.each(selection, take)
        if parted is not None:
            return parted.columns(self.table.columns)
        return self._blank.batch(selection) if whole is None else whole

    def batch_out(self, selection: Selection, out: Mapping[str, Any]) -> dict[str, Any]:
        """The same, with the tensors of another batch; `InvalidArgument` when they do not fit."""
        parted = PartedBatch(len(selection), self.rooms_of(len(selection), out))
        self.each(selection, parted.add)
        return parted.columns(self.table.columns)

    def rooms_of(self, rows: int, out: Mapping[str, Any]) -> dict[str, tuple[torch.Tensor, npt.NDArray[Any]]]:
        """Take the tensors of another batch of so many rows, and the arrays to fill them through."""
        return self._blank.rooms_of(rows, out)

    def room_for(self, rows: int) -> int:
        """Bytes of a slot for so many rows; 0 when no column has rows of a fixed width."""
        return self._blank.room_for(rows)

    def rooms(self, rows: int, slot: Slot | None) -> dict[str, tuple[torch.Tensor, npt.NDArray[Any]]]:
        """Make a tensor for so many rows of each column of fixed width, and the array to fill it through."""
        return self._blank.rooms(rows, slot)

    def __getstate__(self) -> tuple[OnDemand, Mapping[str, Any] | None, RowNumbers | None, Decode | None]:
        return self.table, self.fill_null, self.chosen, self.decode

    def __setstate__(self, state: tuple[OnDemand, Mapping[str, Any] | None, RowNumbers | None, Decode | None]) -> None:
        self.__init__(*state)  # type: ignore[misc]  # unpickling makes the object without calling it


def _renumbered(error: Corrupt, local: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]) -> Corrupt:
    """Name the row by its number in the version: in the window it has another one."""
    found = np.flatnonzero(local == error.details.get("row", -1))
    if not len(found):
        return error
    row = int(rows[found[0]])
    message = error.message.replace(f"row {error.details['row']} ", f"row {row} ", 1)
    return Corrupt(message, **{**error.details, "row": row})
