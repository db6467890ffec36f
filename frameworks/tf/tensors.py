"""Whole columns as TensorFlow tensors over the mapped memory, and the graph operations that take rows out of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from alluxio_lance.client.arrow import ArrowColumn
from alluxio_lance.client.columns import AnyColumn
from alluxio_lance.client.elements import Element
from alluxio_lance.client.filling import missing, prepare_fill
from alluxio_lance.client.fixed import FixedColumn
from alluxio_lance.client.nulls import Validity
from alluxio_lance.client.table import Table
from alluxio_lance.client.variable import VariableColumn
from alluxio_lance.errors import InvalidArgument
from alluxio_lance.frameworks.tf.decoding import broken, picture

__all__ = ["ALIGNMENT", "Form", "Memory", "Take", "forms_of", "takers"]

ALIGNMENT: Final = 64
"""Bytes: TensorFlow ends the process at a tensor that begins elsewhere. Mapped columns always begin on a page."""

Take = Callable[[Any], Any]
"""From a row number, or a vector of them, to the rows: called once, while the graph is built."""


@dataclass(frozen=True, slots=True)
class Memory:
    """The memory of the rows that tensors are made of: by default that of a version in one piece."""

    holder: object = None
    """Lives for as long as a tensor over the memory does."""
    populate: bool = False
    """Fill the page tables of what is read in a random order beforehand."""
    numbers: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.int64]] = lambda rows: rows
    """From rows of the table to rows of the version, which messages name."""
    read: npt.NDArray[np.int64] | None = None
    """The rows of the table that are read at all; all of them without it."""

    def has_null(self, validity: Validity | None) -> bool:
        """Whether a row that is read is null."""
        return validity is not None and (self.read is None or not validity.take(self.read).all())

    def tensor(self, values: npt.NDArray[Any]) -> Any:
        """Wrap an array without a copy; the tensor keeps its memory mapped."""
        if values.dtype.kind in "mM":
            values = values.view(np.int64)
        if values.size == 0 or values.ctypes.data % ALIGNMENT:
            return tf.constant(values)
        if self.holder is not None:
            values = values.view(_Held)
            values.holder = self.holder  # type: ignore[attr-defined]  # numpy's stubs do not know that `view` makes one
        return tf.experimental.dlpack.from_dlpack(values.__dlpack__())


class _Held(np.ndarray[Any, Any]):
    """An array that has somebody live as long as itself, and so as the tensor that is made of it."""

    holder: object = None


@dataclass(frozen=True, slots=True)
class Form(ABC):
    """How one column becomes tensors: the same for every table of its version, whether that is a window or all of it."""

    name: str
    uri: str
    element: Element
    fill: Any

    @property
    @abstractmethod
    def parts(self) -> tuple[Any, ...]:
        """The ``tf.TensorSpec`` of each of its tensors; the first dimension, where not known, is None."""

    @property
    def batch(self) -> Any:
        """The ``tf.TypeSpec`` of a vector of rows."""
        return tf.TensorSpec((None, *self.element.shape), _shown(self.element))

    def tensors(self, column: AnyColumn, memory: Memory) -> tuple[Any, ...]:
        """Make the tensors of all rows of a table.

        Raises
        ------
        InvalidArgument
            When the rows that are read have nulls that its tensors cannot hold and ``fill_null`` has nothing for it, or lists
            in it have null items.
        OSError
            When bytes cannot be had that `Memory.populate` asks for.
        """
        if isinstance(column, ArrowColumn):
            raise _without_tensor(self.name, column, self.uri)
        if self.fill is None and not self._has_hole and memory.has_null(column.validity):
            raise missing(self.name, self.uri)
        return self._made(column, memory)

    @property
    def _has_hole(self) -> bool:
        return False

    @abstractmethod
    def _made(self, column: Any, memory: Memory) -> tuple[Any, ...]: ...

    @abstractmethod
    def take(self, parts: Sequence[Any], rows: Any) -> Any:
        """Take a row number, a vector of them, or a slice, out of the tensors of a table."""


def forms_of(
    columns: Mapping[str, AnyColumn], fill_null: Mapping[str, Any] | None, decoded: Collection[str], uri: str
) -> dict[str, Form]:
    """Find the one of each column; those of ``decoded`` columns take one row number at a time.

    Raises
    ------
    InvalidArgument
        When the type of a column has no counterpart in TensorFlow, or ``fill_null`` does not fit.
    """
    fill = prepare_fill(fill_null, columns)
    return {name: _form(name, column, fill.get(name), uri, name in decoded) for name, column in columns.items()}


def _form(name: str, column: AnyColumn, fill: Any, uri: str, decoded: bool) -> Form:
    if isinstance(column, ArrowColumn):
        raise _without_tensor(name, column, uri)
    kind: type[Form] = _Lists
    if isinstance(column, FixedColumn):
        kind = _Fixed
    elif decoded:
        kind = _Pictures
    elif column.element.is_text:
        kind = _Texts
    return kind(name, uri, column.element, fill)


def _without_tensor(name: str, column: ArrowColumn, uri: str) -> InvalidArgument:
    return InvalidArgument(
        f"column {name!r} of {uri} is {column.array.type}, for which TensorFlow has no tensor - leave it out with columns=[...]"
    )


def takers(
    table: Table,
    fill_null: Mapping[str, Any] | None,
    decoded: Collection[str] = (),
    read: npt.NDArray[np.int64] | None = None,
) -> dict[str, Take]:
    """Make one for each column of a version in memory, of which only some rows may be read; errors as of `forms_of` and `Form.tensors`."""
    forms = forms_of(table.columns, fill_null, decoded, table.layout.uri)
    memory = Memory(read=read)
    return {name: _taker(form, form.tensors(table.columns[name], memory)) for name, form in forms.items()}


def _taker(form: Form, parts: tuple[Any, ...]) -> Take:
    return lambda rows: form.take(parts, rows)


def _rows_of(tensor: Any, rows: Any) -> Any:
    # A slice along the first dimension is a view; `rows` is one where the batches are in order.
    return tensor[rows] if isinstance(rows, slice) else tf.gather(tensor, rows)


def _stored(element: Element) -> Any:
    """Name the dtype of the tensor over the stored bytes."""
    return tf.int64 if element.stored.kind in "mM" else tf.as_dtype(element.stored)


def _shown(element: Element) -> Any:
    return tf.bfloat16 if element.name == "bfloat16" else _stored(element)


class _Fixed(Form):
    @property
    def parts(self) -> tuple[Any, ...]:
        return (tf.TensorSpec((None, *self.element.shape), _stored(self.element)),)

    @property
    def _has_hole(self) -> bool:
        return self.element.has_hole

    def _made(self, column: FixedColumn, memory: Memory) -> tuple[Any, ...]:
        values = column.view(0, column.rows, populate=memory.populate)
        if self.fill is not None and column.validity is not None:
            values[~column.validity.all()] = self.fill
        return (memory.tensor(values),)

    def take(self, parts: Sequence[Any], rows: Any) -> Any:
        taken = _rows_of(parts[0], rows)
        return tf.bitcast(taken, tf.bfloat16) if self.element.name == "bfloat16" else taken


class _Texts(Form):
    @property
    def parts(self) -> tuple[Any, ...]:
        return (self.batch,)

    @property
    def batch(self) -> Any:
        return tf.TensorSpec((None,), tf.string)

    def _made(self, column: VariableColumn, memory: Memory) -> tuple[Any, ...]:
        # TensorFlow's strings are objects of its own: made once, then gathered like numbers.
        taken = column.whole()
        data, ends = taken.values.tobytes(), taken.offsets.tolist()
        pieces = np.array([b"", *(data[start:stop] for start, stop in pairwise(ends))], object)[1:]
        if self.fill is not None and taken.present is not None:
            pieces[~taken.present] = self.fill.encode() if isinstance(self.fill, str) else self.fill
        return (tf.constant(pieces, tf.string, shape=(len(taken),)),)

    def take(self, parts: Sequence[Any], rows: Any) -> Any:
        return _rows_of(parts[0], rows)


class _Lists(Form):
    @property
    def parts(self) -> tuple[Any, ...]:
        where = tf.TensorSpec((None,), tf.int64)
        return (tf.TensorSpec((None,), _stored(self.element)), where, where)

    @property
    def batch(self) -> Any:
        return tf.RaggedTensorSpec((None, None), _shown(self.element), ragged_rank=1, row_splits_dtype=tf.int64)

    def _made(self, column: VariableColumn, memory: Memory) -> tuple[Any, ...]:
        values, starts, lengths = _joined(column, self.fill)
        return memory.tensor(values), tf.constant(starts), tf.constant(lengths)

    def take(self, parts: Sequence[Any], rows: Any) -> Any:
        flat, begin, length = parts
        return _ragged(flat, _rows_of(begin, rows), _rows_of(length, rows), _shown(self.element))


class _Pictures(Form):
    @property
    def parts(self) -> tuple[Any, ...]:
        where = tf.TensorSpec((None,), tf.int64)
        return (tf.TensorSpec((None,), tf.uint8), where, where, where)

    def _made(self, column: VariableColumn, memory: Memory) -> tuple[Any, ...]:
        values, starts, lengths = _joined(column, self.fill)
        wrong = broken(values, starts, lengths, memory.numbers)
        return memory.tensor(values), tf.constant(starts), tf.constant(lengths), tf.constant(wrong)

    def take(self, parts: Sequence[Any], rows: Any) -> Any:
        return picture(parts, rows, f"column {self.name!r} of {self.uri}")


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
