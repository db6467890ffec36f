"""What ``__getitems__`` gives to a DataLoader: rows that collate by one gather per column, or one by one.

torch's ``default_collate`` looks the type of the first sample up in ``default_collate_fn_map``, an extension point that
its documentation describes; `Row` is registered there. So the plain DataLoader takes the fast path, and a collate
function of the user's own sees an ordinary sequence of dicts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, overload

import numpy as np
import numpy.typing as npt
from torch.utils.data import get_worker_info
from torch.utils.data._utils.collate import collate, default_collate_fn_map

from alluxio_lance.client.arenas import Arenas
from alluxio_lance.client.columns import AnyColumn
from alluxio_lance.client.filling import missing
from alluxio_lance.client.fixed import FixedColumn
from alluxio_lance.client.ondemand import OnDemand
from alluxio_lance.client.selecting import Selection
from alluxio_lance.client.table import Table
from alluxio_lance.frameworks.torch.decoding import stacked
from alluxio_lance.frameworks.torch.handing import in_slots
from alluxio_lance.sidecar._shm import Slot

__all__ = ["BatchTransform", "ReadsRows", "Row", "Rows"]

BatchTransform = Callable[[dict[str, Any]], Any]


class ReadsRows(Protocol):
    """What reads rows: of one version, or of several as if they were one."""

    @property
    def table(self) -> Table | OnDemand:
        """The version, or the first of them: all have the same columns."""
        ...

    def select(self, indices: Sequence[int] | npt.NDArray[Any] | range) -> Selection:
        """Check indices."""
        ...

    def sample(self, index: int) -> dict[str, Any]:
        """Read one row."""
        ...

    def samples(self, rows: npt.NDArray[np.int64]) -> Iterable[dict[str, Any]]:
        """Read rows, each on its own."""
        ...

    def batch(self, selection: Selection) -> dict[str, Any]:
        """Read rows as one tensor per column of fixed width, one list per other column."""
        ...

    def batch_in(self, slot: Slot, selection: Selection) -> dict[str, Any]:
        """The same, with the tensors in a slot that has `room_for` them."""
        ...

    def room_for(self, rows: int) -> int:
        """Bytes of a slot for so many rows; 0 when no column has rows of a fixed width."""
        ...


class Row(dict[str, Any]):
    """A sample; it remembers where it came from, for the sake of its batch."""

    __slots__ = ("reader",)

    def __init__(self, values: dict[str, Any], reader: ReadsRows) -> None:
        super().__init__(values)
        self.reader = reader

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as a plain dict."""
        return dict, (dict(self),)


class Rows(Sequence[Row]):
    """Some rows of a version, read when they are asked for."""

    def __init__(
        self, reader: ReadsRows, selection: Selection, arenas: Arenas, batch_transform: BatchTransform | None
    ) -> None:
        self._reader = reader
        self._selection = selection
        self._arenas = arenas
        self._batch_transform = batch_transform

    def __len__(self) -> int:
        return len(self._selection)

    @overload
    def __getitem__(self, place: int) -> Row: ...
    @overload
    def __getitem__(self, place: slice) -> Rows: ...
    def __getitem__(self, place: int | slice) -> Row | Rows:
        if isinstance(place, slice):
            part = self._reader.select(self._selection.indices[place])
            return Rows(self._reader, part, self._arenas, self._batch_transform)
        return Row(self._reader.sample(int(self._selection.indices[place])), self._reader)

    def __iter__(self) -> Iterator[Row]:
        # Not place by place: what is read on demand is then asked for once.
        return (Row(sample, self._reader) for sample in self._reader.samples(self._selection.indices))

    def batch(self) -> Any:
        """All of them as one batch, transformed; in a worker of a DataLoader it lies in the arena of its parent."""
        arena = None if get_worker_info() is None else self._arenas.of_parent()
        need = 0 if arena is None else self._reader.room_for(len(self))
        slot = arena.claim(need) if arena is not None and need else None
        batch = self._reader.batch(self._selection) if slot is None else self._reader.batch_in(slot, self._selection)
        slots = [] if slot is None else [slot]
        result = batch if self._batch_transform is None else self._batch_transform(batch)
        return result if arena is None else in_slots(result, arena, slots)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as a list of plain dicts: a collate function may hand the rows on as they are."""
        return list, ([dict(row) for row in self],)


def _collate(batch: Sequence[Row], *, collate_fn_map: dict[Any, Callable[..., Any]] | None = None) -> Any:
    if isinstance(batch, Rows):
        return batch.batch()
    # Samples that went through the hands of the user: their values count, not their rows.
    reader = batch[0].reader
    columns = reader.table.columns
    return {
        name: _joined(name, [row[name] for row in batch], columns.get(name), reader, collate_fn_map)
        for name in batch[0]
    }


def _joined(
    name: str,
    values: list[Any],
    column: AnyColumn | None,
    reader: ReadsRows,
    collate_fn_map: dict[Any, Callable[..., Any]] | None,
) -> Any:
    if isinstance(column, FixedColumn) and any(value is None for value in values):
        raise missing(name, reader.table.layout.uri)
    if column is None or isinstance(column, FixedColumn):
        return collate(values, collate_fn_map=collate_fn_map)
    return stacked(values)


default_collate_fn_map[Row] = _collate
