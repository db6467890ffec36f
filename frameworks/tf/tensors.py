"""Whole columns as TensorFlow tensors over the mapped memory, and the graph operations that take rows out of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from alluxio_lance.client.arrow import ArrowColumn
from alluxio_lance.client.columns import AnyColumn
from alluxio_lance.client.filling import missing, prepare_fill
from alluxio_lance.client.fixed import FixedColumn
from alluxio_lance.client.table import Table
from alluxio_lance.client.variable import VariableColumn
from alluxio_lance.errors import InvalidArgument
from alluxio_lance.frameworks.tf.decoding import picture

__all__ = ["Take", "takers"]

_ALIGNMENT: Final = 64
"""Bytes: TensorFlow ends the process at a tensor that begins elsewhere. Mapped columns always begin on a page."""

Take = Callable[[Any], Any]
"""From a row number, or a vector of them, to the rows: called once, while the graph is built."""


def takers(table: Table, fill_null: Mapping[str, Any] | None, decoded: Collection[str] = ()) -> dict[str, Take]:
    """Make one for each column; those of ``decoded`` columns take one row number at a time.

    Raises
    ------
    InvalidArgument
        When a column has nulls that its tensors cannot hold and ``fill_null`` has nothing for it, or when its type has
        no counterpart in TensorFlow.
    """
    fill = prepare_fill(fill_null, table.columns)
    uri = table.layout.uri
    return {name: _taker(name, column, fill, uri, name in decoded) for name, column in table.columns.items()}


def _taker(name: str, column: AnyColumn, fill: Mapping[str, Any], uri: str, decoded: bool) -> Take:
    if isinstance(column, ArrowColumn):
        type_ = column.array.type
        raise InvalidArgument(
            f"column {name!r} of {uri} is {type_}, for which TensorFlow has no tensor - leave it out with columns=[...]"
        )
    holes = column.validity is not None
    if holes and name not in fill and not (isinstance(column, FixedColumn) and column.element.has_hole):
        raise missing(name, uri)
    if isinstance(column, FixedColumn):
        return _fixed(column, fill.get(name))
    if decoded:
        values, starts, lengths = _joined(column, fill.get(name))
        return picture(values, _tensor(values), starts, lengths, f"column {name!r} of {uri}")
    return _texts(column, fill.get(name)) if column.element.is_text else _lists(column, fill.get(name))


def _fixed(column: FixedColumn, fill: Any) -> Take:
    values = column.view(0, column.rows)
    if fill is not None and column.validity is not None:
        values[~column.validity.all()] = fill
    tensor = _tensor(values)
    if column.element.name == "bfloat16":
        return lambda rows: tf.bitcast(_rows_of(tensor, rows), tf.bfloat16)
    return lambda rows: _rows_of(tensor, rows)


def _rows_of(tensor: Any, rows: Any) -> Any:
    # A slice along the first dimension is a view; `rows` is one where the batches are in order.
    return tensor[rows] if isinstance(rows, slice) else tf.gather(tensor, rows)


def _texts(column: VariableColumn, fill: Any) -> Take:
    # TensorFlow's strings are objects of its own: made once, then gathered like numbers.
    taken = column.whole()
    data, ends = taken.values.tobytes(), taken.offsets.tolist()
    pieces = np.array([b"", *(data[start:stop] for start, stop in pairwise(ends))], object)[1:]
    if fill is not None and taken.present is not None:
        pieces[~taken.present] = fill.encode() if isinstance(fill, str) else fill
    tensor = tf.constant(pieces, tf.string, shape=(len(taken),))
    return lambda rows: _rows_of(tensor, rows)


def _lists(column: VariableColumn, fill: Any) -> Take:
    values, starts, lengths = _joined(column, fill)
    flat, begin, length = _tensor(values), tf.constant(starts), tf.constant(lengths)
    kind = tf.bfloat16 if column.element.name == "bfloat16" else flat.dtype
    return lambda rows: _ragged(flat, _rows_of(begin, rows), _rows_of(length, rows), kind)


def _joined(column: VariableColumn, fill: Any) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Find the values of all rows, with those of ``fill`` behind them for the nulls."""
    values, starts, lengths = column.joined()
    if fill is not None and column.validity is not None:
        more = np.frombuffer(fill, values.dtype) if isinstance(fill, bytes) else fill
        absent = ~column.validity.all()
        starts[absent], lengths[absent] = len(values), len(more)
        values = np.concatenate([values, more]) if len(more) else values
    return values, starts, lengths


def _ragged(flat: Any, begin: Any, length: Any, kind: Any) -> Any:
    if begin.shape.rank == 0:
        return tf.bitcast(flat[begin : begin + length], kind)
    places = tf.ragged.range(begin, begin + length)
    return places.with_flat_values(tf.bitcast(tf.gather(flat, places.flat_values), kind))


def _tensor(values: npt.NDArray[Any]) -> Any:
    """Wrap an array without a copy; the tensor keeps its memory mapped."""
    if values.dtype.kind in "mM":
        values = values.view(np.int64)
    if values.size == 0 or values.ctypes.data % _ALIGNMENT:
        return tf.constant(values)
    return tf.experimental.dlpack.from_dlpack(values.__dlpack__())
