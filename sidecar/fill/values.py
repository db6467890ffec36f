"""Views of Arrow arrays as the numpy values that a segment keeps, whatever their offset and nesting."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from alluxio_lance.sidecar.fill.validity import Mask
from alluxio_lance.sidecar.kinds import Leaf

__all__ = ["NullItems", "stored"]

_BLOCK: Final = 1 << 20
"""Bytes converted at a time, so that they are still in the cache when they are written."""

Values = npt.NDArray[Any]


class NullItems(Exception):
    """A list has null items, which an array without a mask cannot show."""


def stored(array: pa.Array, leaf: Leaf, present: Mask | None) -> Iterator[Values]:
    """Yield the elements of all rows as the segment keeps them, in contiguous pieces.

    Parameters
    ----------
    array
        Rows: scalars, or fixed-size lists or tensors of them.
    leaf
        The element.
    present
        Which rows are not null; the elements of others become ``leaf.null``.

    Raises
    ------
    NullItems
        When an item of a row that is present is null.
    """
    rows = len(array)
    if rows == 0:
        return
    items = _elements(_innermost(array, rows, present), leaf).reshape(rows, -1)
    if present is None and not leaf.truth and leaf.factor == 1:
        yield items
        return
    step = max(1, _BLOCK // (items.shape[1] * leaf.stored.itemsize))
    for start in range(0, rows, step):
        piece = _converted(items[start : start + step], leaf)
        if present is not None:
            piece[~present[start : start + step]] = leaf.null
        yield piece


def _innermost(array: pa.Array, rows: int, present: Mask | None) -> pa.Array:
    while True:
        if isinstance(array, pa.ExtensionArray):
            array = array.storage
        elif isinstance(array, pa.FixedSizeListArray):
            size = array.type.list_size
            array = array.values.slice(array.offset * size, len(array) * size)
            _check_items(array, rows, present)
        else:
            return array


def _check_items(items: pa.Array, rows: int, present: Mask | None) -> None:
    if items.null_count == 0:
        return
    faulty = items.is_null().to_numpy(zero_copy_only=False).reshape(rows, -1).any(axis=1)
    if present is None or (faulty & present).any():
        raise NullItems


def _elements(array: pa.Array, leaf: Leaf) -> Values:
    buffer = array.buffers()[1]
    if leaf.source is not None:
        return np.frombuffer(buffer, leaf.source, len(array), array.offset * leaf.source.itemsize)
    first, end = array.offset, array.offset + len(array)
    octets = np.frombuffer(buffer, np.uint8)[first // 8 : -(-end // 8)]
    return np.unpackbits(octets, bitorder="little")[first % 8 : first % 8 + len(array)]


def _converted(items: Values, leaf: Leaf) -> Values:
    """Convert to the stored element; always a copy of its own."""
    if leaf.truth:
        return np.not_equal(items, 0).view(np.uint8)
    values = items.astype(leaf.stored)
    return values if leaf.factor == 1 else np.multiply(values, leaf.factor, out=values)
