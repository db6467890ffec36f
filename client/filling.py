"""What stands in for nulls: ``fill_null``, checked once against the columns and ready to be written into batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from alluxio_lance.client.arrow import ArrowColumn
from alluxio_lance.client.columns import AnyColumn
from alluxio_lance.client.elements import Element
from alluxio_lance.client.fixed import FixedColumn
from alluxio_lance.errors import InvalidArgument

__all__ = ["missing", "prepare_fill"]


def prepare_fill(fill_null: Mapping[str, Any] | None, columns: Mapping[str, AnyColumn]) -> dict[str, Any]:
    """Convert each value to what its column stores.

    Raises
    ------
    InvalidArgument
        When a name is no column, or a value does not fit the column's type.
    """
    return {name: _fitted(name, value, columns) for name, value in (fill_null or {}).items()}


def missing(name: str, uri: str) -> InvalidArgument:
    """Make the error for nulls that the target type cannot hold."""
    return InvalidArgument(
        f"column {name!r} of {uri} has nulls, which a tensor of its type cannot hold - give a value for them, "
        f'fill_null={{"{name}": value}}, or leave the column out with columns=[...]',
        column=name,
    )


def _fitted(name: str, value: Any, columns: Mapping[str, AnyColumn]) -> Any:
    if name not in columns:
        raise InvalidArgument(f"fill_null names {name!r}, which is none of the columns {', '.join(columns)}")
    column = columns[name]
    if isinstance(column, ArrowColumn):
        return value
    try:
        if isinstance(column, FixedColumn):
            return np.broadcast_to(_stored(column.element, value), column.element.shape)
        return _row(column.element, value)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidArgument(
            f"fill_null={{{name!r}: {value!r}}} does not fit {column.element.name}: {error}"
        ) from error


def _stored(element: Element, value: Any) -> Any:
    if isinstance(value, bytes):
        return np.frombuffer(value, element.stored)
    if element.name == "bfloat16":
        # Round to nearest, ties to even, on the bits of the 32-bit float.
        bits = np.asarray(value, np.float32).view(np.uint32).astype(np.uint64)
        return ((bits + 0x7FFF + ((bits >> np.uint64(16)) & np.uint64(1))) >> np.uint64(16)).astype(np.uint16)
    filled = np.asarray(value)
    if filled.dtype.kind not in _ACCEPTED.get(element.stored.kind, element.stored.kind):
        raise TypeError(f"a {filled.dtype} is no {element.name}")
    if element.stored.kind in "iu":
        return np.array(value, element.stored)
    return filled.astype(element.stored)


_ACCEPTED = {"f": "fiu", "i": "iu", "u": "iu", "m": "miu", "M": "MUiu", "b": "b"}
"""For the kind of the stored dtype: the kinds of values that fit."""


def _row(element: Element, value: Any) -> Any:
    if element.is_text:
        kind = str if element.name == "string" else bytes
        if not isinstance(value, kind):
            raise TypeError(f"it must be {kind.__name__}")
        return value
    row = _stored(element, value) if len(value) else np.empty(0, element.stored)
    # One value stands for many rows: nobody may write into it.
    row.flags.writeable = False
    return row
