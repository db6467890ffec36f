"""What can be done with data that nobody has described: which columns are read, and which two could train a network."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Final

from alluxio_lance.client.fixed import FixedColumn
from alluxio_lance.client.table import Table
from alluxio_lance.layout import Column, ColumnKind

__all__ = ["Choice", "choose"]

_FEWEST_VALUES: Final = 16
"""An image has at least this many values."""
_MOST_CLASSES: Final = 1000
_LABELS: Final = ("label", "labels", "target", "class", "y")
_INTEGERS: Final = frozenset({"uint8", "int8", "int16", "uint16", "int32", "int64"})
_NUMBERS: Final = _INTEGERS | {"float16", "float32", "float64"}


@dataclass(frozen=True, slots=True)
class Choice:
    """Columns by their use."""

    columns: tuple[str, ...]
    """Numbers of one size per row, without nulls: what both frameworks hand out byte for byte."""
    left_out: tuple[str, ...]
    pair: tuple[str, str] | None
    """Image and label; None when there is no such pair."""


def choose(table: Table) -> Choice:
    """Choose columns by their types, an image by its size, a label by its name and its values."""
    readable = [column for column in table.layout.columns if _readable(column)]
    names = tuple(column.name for column in readable)
    image, label = _image(readable), _label(readable)
    trains = image and label and table.rows and _are_classes(table.column(label))
    return Choice(
        columns=names,
        left_out=tuple(column.name for column in table.layout.columns if column.name not in names),
        pair=(image, label) if image and label and trains else None,
    )


def _readable(column: Column) -> bool:
    return column.kind is ColumnKind.FIXED and column.dtype in _NUMBERS and column.null_count == 0


def _image(columns: list[Column]) -> str | None:
    shaped = [column for column in columns if prod(column.shape) >= _FEWEST_VALUES]
    return max(shaped, key=lambda column: prod(column.shape)).name if shaped else None


def _label(columns: list[Column]) -> str | None:
    scalars = {column.name for column in columns if column.shape == () and column.dtype in _INTEGERS}
    return next((name for name in _LABELS if name in scalars), None)


def _are_classes(column: object) -> bool:
    if not isinstance(column, FixedColumn):
        return False
    return int(column.array.min()) >= 0 and int(column.array.max()) < _MOST_CLASSES
