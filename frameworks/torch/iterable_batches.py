"""Batches of an iteration: rows of one table as the map-style dataset gives them, or joined where a window ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
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
        now = asdict(self._table.statistics())
        return ReadStatistics(**{name: before + now[name] for name, before in asdict(self._before).items()})


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
        parts = [_part(reader, selection)]
        for table, rows in pieces:
            reader = self._reading(table)
            parts.append(_part(reader, reader.select(rows)))
        batch = {name: _joined([part[name] for part in parts]) for name in parts[0]}
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


def _part(reader: Reader, selection: Selection) -> dict[str, Any]:
    """Read a part of a batch into memory of this process alone, that of a worker, too: it is copied once more."""
    return {
        name: _Read(reader.fixed(name, column, selection), column.element)
        if isinstance(column, FixedColumn)
        else stacked(reader.listed(name, column, selection))
        for name, column in reader.table.columns.items()
    }


def _joined(parts: list[Any]) -> Any:
    if all(isinstance(part, _Read) for part in parts):
        element = parts[0].element
        whole = room((sum(len(part.values) for part in parts), *element.shape), element.stored)
        # Not by torch, whose helper threads take longer to wake than this takes, nor into fresh pages, which do, too.
        return to_tensor(np.concatenate([part.values for part in parts], out=whole), element)
    # Lists of one length that turned out to have null items are tensors in one part, and Python's lists in another.
    parts = [to_tensor(*part) if isinstance(part, _Read) else part for part in parts]
    if all(isinstance(part, torch.Tensor) for part in parts) and len({part.shape[1:] for part in parts}) == 1:
        return torch.cat(parts)
    # Pictures of one size are a tensor in one part, and of several sizes a list in another.
    return stacked([value for part in parts for value in part])
