"""The columns of a leased version, each read the way that it is laid out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from alluxio_lance.client.arrow import ArrowColumn
from alluxio_lance.client.counting import ReadCounters
from alluxio_lance.client.descriptors import Descriptors
from alluxio_lance.client.fixed import FixedColumn
from alluxio_lance.client.variable import VariableColumn
from alluxio_lance.errors import InvalidArgument
from alluxio_lance.layout import Column, ColumnKind, Layout

__all__ = ["AnyColumn", "open_columns"]

AnyColumn = FixedColumn | VariableColumn | ArrowColumn

_READERS: Final[dict[ColumnKind, Callable[[Column, Descriptors, int, int, ReadCounters], AnyColumn]]] = {
    ColumnKind.FIXED: FixedColumn,
    ColumnKind.VARIABLE: VariableColumn,
    ColumnKind.ARROW: ArrowColumn,
}


def open_columns(layout: Layout, descriptors: Descriptors, counters: ReadCounters) -> dict[str, AnyColumn]:
    """Make a reader for each column; ``descriptors`` come in the order of the layout, columns first.

    Raises
    ------
    InvalidArgument
        When it is a model, which has no rows to read.
    """
    if any(column.kind is ColumnKind.FILE for column in layout.columns):
        raise InvalidArgument(
            f"{layout.uri} is a model and no dataset: open it with load_model of alluxio.torch or alluxio.tf"
        )
    columns: dict[str, AnyColumn] = {}
    done = 0
    for column in layout.columns:
        own = descriptors.part(done, len(column.segments))
        done += len(column.segments)
        columns[column.name] = _READERS[column.kind](column, own, layout.num_rows, layout.shard_rows, counters)
    return columns
