"""Batches of an iteration: rows of one table as the map-style dataset gives them, or joined where a window ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy.typing as npt
import torch
from torch.utils.data import default_collate, get_worker_info

from alluxio_lance.client.arenas import Arenas
from alluxio_lance.client.counting import ReadStatistics
from alluxio_lance.client.elements import Element
from alluxio_lance.client.epochs.cursor import Piece
from alluxio_lance.client.fixed import FixedColumn
from alluxio_lance.client.room import room
from alluxio_lance.client.selecting import Selection
from alluxio_lance.client.table import Table
from alluxio_lance.frameworks.torch.decoding import Decode, stacked
from alluxio_lance.frameworks.torch.handing import in_slots
from alluxio_lance.frameworks.torch.reader import Reader
from alluxio_lance.frameworks.torch.rows import BatchTransform, Rows
from alluxio_lance.frameworks.torch.tensors import to_tensor

__all__ = ["Batches", "SampleTransform", "Tally"]

SampleTransform = Callable[[dict[str, Any]], Any]


class Tally:
    """Counts what was moved in this process, over all windows."""

    def __init__(self) -> None:
        self._before = ReadStatistics(views=0, viewed_bytes=0, gathers=0, gathered_bytes=0, refused_views=0)
        self._table: Table | None = None

    def follow(self, table: Table) -> None:
        """Count on with this table."""
        if self._table is not table:
            self._before, self._table = self.statistics(), table

    def statistics(self) -> ReadStatistics:
        """Read the sums."""
        if self._table is None:
            return self._before
        return self._before + self._table.statistics()


class Batches:
    """Reads rows of one table after the other."""

    def __init__(
        self,
        fill_null: Mapping[str, Any] | None,
        decode: Decode | None,
        transform: SampleTransform | None,
        batch_transform: BatchTransform | None,
        arenas: Arenas,
        tally: Tally,
    ) -> None:
        self._fill_null = fill_null
        self._decode = decode
        self._transform = transform
        self._batch_transform = batch_transform
        self._arenas = arenas
        self._tally = tally
        self._reader: Reader | None = None

    def sample(self, pieces: Iterator[Piece]) -> Any:
        """Read a single row, transformed."""
        table, rows = next(pieces)
        return self._sample(table, int(rows[0]))

    def _sample(self, table: Table, row: int) -> Any:
        sample = self._reading(table).sample(row)
        return sample if self._transform is None else self._transform(sample)

    def batch(self, pieces: Iterator[Piece], count: int) -> Any:
        """Read ``count`` rows as one batch, transformed; in a worker it lies in the arena of its parent."""
        if self._transform is not None:
            return default_collate([self._sample(table, row) for table, rows in pieces for row in rows.tolist()])
        table, rows = next(pieces)
        reader = self._reading(table)
        selection = reader.select(rows)
        if len(selection) == count:
            return Rows(reader, selection, self._arenas, self._batch_transform).batch()
        whole = _Whole(count)
        whole.add(reader, selection)
        for table, rows in pieces:
            reader = self._reading(table)
            whole.add(reader, reader.select(rows))
        batch = whole.columns()
        result = batch if self._batch_transform is None else self._batch_transform(batch)
        arena = None if get_worker_info() is None else self._arenas.of_parent()
        return result if arena is None else in_slots(result, arena, [])

    def _reading(self, table: Table) -> Reader:
        if self._reader is None or self._reader.table is not table:
            self._tally.follow(table)
            self._reader = Reader(table, self._fill_null, decode=self._decode)
        return self._reader


class _Read(NamedTuple):
    """Rows of a column of fixed width."""

    values: npt.NDArray[Any]
    element: Element


class _Whole:
    """A batch that comes in parts, in memory of this process alone, that of a worker, too: it is copied once more.

    Parameters
    ----------
    count
        Its rows.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._rows = 0
        self._rooms: dict[str, npt.NDArray[Any]] = {}
        """Of each column of fixed width, for all rows: parts are gathered right to their place."""
        self._parts: dict[str, list[Any]] = {}

    def add(self, reader: Reader, selection: Selection) -> None:
        """Read the next part."""
        stop = self._rows + len(selection)
        for name, column in reader.table.columns.items():
            parts = self._parts.setdefault(name, [])
            if isinstance(column, FixedColumn):
                if name not in self._rooms:
                    self._rooms[name] = room((self._count, *column.element.shape), column.element.stored)
                values = reader.fixed(name, column, selection, self._rooms[name][self._rows : stop])
                parts.append(_Read(values, column.element))
            else:
                parts.append(stacked(reader.listed(name, column, selection)))
        self._rows = stop

    def columns(self) -> dict[str, Any]:
        """Return the batch; all parts are there."""
        return {name: self._joined(name, parts) for name, parts in self._parts.items()}

    def _joined(self, name: str, parts: list[Any]) -> Any:
        if all(isinstance(part, _Read) for part in parts):
            return to_tensor(self._rooms[name], parts[0].element)
        return _joined(parts)


def _joined(parts: list[Any]) -> Any:
    # Lists of one length that turned out to have null items are tensors in one part, and Python's lists in another.
    parts = [to_tensor(*part) if isinstance(part, _Read) else part for part in parts]
    if all(isinstance(part, torch.Tensor) for part in parts) and len({part.shape[1:] for part in parts}) == 1:
        return torch.cat(parts)
    # Pictures of one size are a tensor in one part, and of several sizes a list in another.
    return stacked([value for part in parts for value in part])
