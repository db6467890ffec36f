"""Which Arrow type becomes which kind of column: the table of docs/format/segments.md as one registry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import pyarrow as pa

from alluxio_lance.layout import ColumnKind

__all__ = ["BFLOAT16", "Leaf", "Shape", "extension_name", "kind_of"]

BFLOAT16: Final = "lance.bfloat16"
_BFLOAT16_NAN: Final = 0x7FC0
_EXTENSION_KEY: Final = b"ARROW:extension:name"

_LISTS: Final = frozenset({pa.lib.Type_FIXED_SIZE_LIST, pa.lib.Type_LARGE_LIST, pa.lib.Type_LIST})


@dataclass(frozen=True, slots=True)
class Leaf:
    """A scalar of fixed width: how Arrow gives it and how a segment keeps it."""

    dtype: str
    """As `layout.Column` names it."""
    source: np.dtype[Any] | None
    """The element of Arrow's data buffer; None for bits."""
    stored: np.dtype[Any]
    """The element in the segment."""
    written: pa.DataType
    """The Arrow type of the segment's field."""
    null: Any = 0
    """What null slots hold."""
    factor: int = 1
    """Stored values are Arrow's values times this (dates in days become milliseconds)."""
    truth: bool = False
    """Any value but 0 is stored as 1."""

    @property
    def plain(self) -> bool:
        """Whether values are stored as Arrow has them."""
        return self.source is not None and not self.truth and self.factor == 1


@dataclass(frozen=True, slots=True)
class Shape:
    """What a column becomes."""

    kind: ColumnKind
    written: pa.Field
    """The field in the segments."""
    leaf: Leaf | None = None
    """The element of FIXED, and of VARIABLE lists of numbers."""
    shape: tuple[int, ...] = ()
    dtype: str = ""

    @property
    def row_bytes(self) -> int:
        """FIXED: bytes of one row; 0 for the other kinds."""
        if self.kind is not ColumnKind.FIXED or self.leaf is None:
            return 0
        return self.leaf.stored.itemsize * int(np.prod(self.shape, dtype=np.int64))

    @property
    def arrays(self) -> int:
        """How many arrays the tree of the segment's batch has, parents first."""
        return _arrays(self.written.type)


def _arrays(type: pa.DataType) -> int:
    if isinstance(type, pa.BaseExtensionType):
        return _arrays(type.storage_type)
    return 1 + _arrays(type.value_type) if type.id in _LISTS else 1


def extension_name(field: pa.Field) -> str | None:
    """Return the name of an extension type, also when this process has not registered it."""
    if isinstance(field.type, pa.BaseExtensionType):
        return str(field.type.extension_name)
    name = (field.metadata or {}).get(_EXTENSION_KEY)
    return None if name is None else name.decode()


def _same(type: pa.DataType, dtype: str, null: Any = 0) -> Leaf:
    stored = np.dtype(dtype)
    return Leaf(dtype, stored, stored, type, null)


_NAT: Final = np.iinfo(np.int64).min
_INT64: Final = np.dtype("int64")


def _truth(type: pa.DataType) -> Leaf:
    source = np.dtype("int8") if isinstance(type, pa.BaseExtensionType) else None
    return Leaf("bool", source, np.dtype("uint8"), pa.bool8(), truth=True)


def _bytes(type: pa.DataType) -> Leaf | None:
    if type.byte_width == 0:
        return None
    stored = np.dtype(f"V{type.byte_width}")
    return Leaf(f"S{type.byte_width}", stored, stored, type, np.zeros((), stored))


def _date(type: pa.DataType) -> Leaf:
    # numpy knows days only as 64-bit numbers, Arrow only as 32-bit ones; both know milliseconds.
    days = type.id == pa.lib.Type_DATE32
    return Leaf(
        "datetime64[ms]", np.dtype("int32") if days else _INT64, _INT64, pa.date64(), _NAT, 86_400_000 if days else 1
    )


def _time(prefix: str) -> Callable[[pa.DataType], Leaf]:
    return lambda arrow: Leaf(f"{prefix}64[{arrow.unit}]", _INT64, _INT64, arrow, _NAT)


def _number(dtype: str) -> Callable[[pa.DataType], Leaf]:
    null = np.dtype(dtype).type("nan") if dtype.startswith("float") else 0
    return lambda arrow: _same(arrow, dtype, null)


_SCALARS: Final[Mapping[int, Callable[[pa.DataType], Leaf | None]]] = MappingProxyType(
    {
        **{
            getattr(pa.lib, f"Type_{name.upper()}"): _number(name)
            for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
        },
        pa.lib.Type_HALF_FLOAT: _number("float16"),
        pa.lib.Type_FLOAT: _number("float32"),
        pa.lib.Type_DOUBLE: _number("float64"),
        pa.lib.Type_BOOL: _truth,
        pa.lib.Type_DATE32: _date,
        pa.lib.Type_DATE64: _date,
        pa.lib.Type_TIMESTAMP: _time("datetime"),
        pa.lib.Type_DURATION: _time("timedelta"),
        pa.lib.Type_TIME32: _number("int32"),
        pa.lib.Type_TIME64: _number("int64"),
        pa.lib.Type_FIXED_SIZE_BINARY: _bytes,
    }
)


def _bfloat16(type: pa.DataType) -> Leaf:
    stored = np.dtype("uint16")
    return Leaf("bfloat16", stored, stored, type, _BFLOAT16_NAN)


_EXTENSIONS: Final[Mapping[str, Callable[[pa.DataType], Leaf]]] = MappingProxyType(
    {BFLOAT16: _bfloat16, "arrow.bool8": _truth}
)


def _leaf(field: pa.Field) -> Leaf | None:
    name = extension_name(field)
    if name is None:
        make = _SCALARS.get(field.type.id)
        return make(field.type) if make else None
    known = _EXTENSIONS.get(name)
    return known(field.type) if known else None


def _arrow(field: pa.Field) -> Shape:
    return Shape(ColumnKind.ARROW, field)


def _scalar(field: pa.Field) -> Shape:
    leaf = _leaf(field)
    if leaf is None:
        return _arrow(field)
    return Shape(ColumnKind.FIXED, field.with_type(leaf.written), leaf, (), leaf.dtype)


def _fixed_list(field: pa.Field) -> Shape:
    type = field.type
    inner = _fixed(type.value_field)
    if inner.kind is not ColumnKind.FIXED or type.list_size == 0:
        return _arrow(field)
    written = pa.list_(inner.written, type.list_size)
    return Shape(ColumnKind.FIXED, field.with_type(written), inner.leaf, (type.list_size, *inner.shape), inner.dtype)


def _tensor(field: pa.Field) -> Shape:
    type = field.type
    leaf = _leaf(pa.field("item", type.value_type))
    identity = type.permutation is None or list(type.permutation) == list(range(len(type.shape)))
    if leaf is None or not identity or 0 in type.shape:
        return _arrow(field)
    shape = tuple(type.shape)
    if leaf.written == type.value_type:
        return Shape(ColumnKind.FIXED, field, leaf, shape, leaf.dtype)
    written = pa.list_(pa.field("item", leaf.written), int(np.prod(shape)))
    return Shape(ColumnKind.FIXED, field.with_type(written), leaf, shape, leaf.dtype)


def _fixed(field: pa.Field) -> Shape:
    """Read a type of fixed width; ARROW when it is none."""
    if isinstance(field.type, pa.FixedShapeTensorType):
        return _tensor(field)
    if extension_name(field) is None and field.type.id == pa.lib.Type_FIXED_SIZE_LIST:
        return _fixed_list(field)
    return _scalar(field)


def _list(field: pa.Field) -> Shape:
    item = field.type.value_field
    leaf = _leaf(item)
    if leaf is None or leaf.dtype.startswith("S"):
        return _arrow(field)
    written = pa.large_list(item.with_type(leaf.written))
    return Shape(ColumnKind.VARIABLE, field.with_type(written), leaf, (), leaf.dtype)


def _text(field: pa.Field) -> Shape:
    return Shape(ColumnKind.VARIABLE, field.with_type(pa.large_string()), None, (), "string")


def _binary(field: pa.Field) -> Shape:
    return Shape(ColumnKind.VARIABLE, field.with_type(pa.large_binary()), None, (), "binary")


_VARIABLE: Final[Mapping[int, Callable[[pa.Field], Shape]]] = MappingProxyType(
    {
        pa.lib.Type_STRING: _text,
        pa.lib.Type_LARGE_STRING: _text,
        pa.lib.Type_STRING_VIEW: _text,
        pa.lib.Type_BINARY: _binary,
        pa.lib.Type_LARGE_BINARY: _binary,
        pa.lib.Type_BINARY_VIEW: _binary,
        pa.lib.Type_LIST: _list,
        pa.lib.Type_LARGE_LIST: _list,
    }
)


def kind_of(field: pa.Field) -> Shape:
    """Say how a column is laid out, by its type alone (null items of lists show only in the data)."""
    make = _VARIABLE.get(field.type.id)
    if make is not None and extension_name(field) is None:
        return make(field)
    return _fixed(field)
