"""How pages of plain values are described, byte by byte: a page whose description differs is left to Lance."""

from __future__ import annotations

import pyarrow as pa

from alluxio_lance.storage.encoding import is_fixed_width

__all__ = ["binary_encoding", "plain_encoding"]


def _number(value: int) -> bytes:
    parts = []
    while value > 0x7F:  # noqa: PLR2004 - seven bits each
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def _varint(field: int, value: int) -> bytes:
    return _number(field << 3) + _number(value)


def _nested(field: int, message: bytes) -> bytes:
    return _number(field << 3 | 2) + _number(len(message)) + message


def _flat(bits: int, buffer: int) -> bytes:
    """``ArrayEncoding{flat: Flat{bits_per_value, buffer: Buffer{buffer_index, buffer_type: page}}}``, not compressed."""
    return _nested(1, _varint(1, bits) + _nested(2, _varint(1, buffer) if buffer else b""))


def _without_nulls(values: bytes) -> bytes:
    """``ArrayEncoding{nullable: Nullable{no_nulls: NoNull{values}}}``."""
    return _nested(2, _nested(1, _nested(1, values)))


def _lists(size: int, items: bytes) -> bytes:
    """``ArrayEncoding{fixed_size_list: FixedSizeList{dimension, items}}``, without validity."""
    return _nested(3, _varint(1, size) + _nested(2, items))


def plain_encoding(type_: pa.DataType) -> bytes | None:
    """Describe pages that are the values of a fixed-width type one after the other; None for types never stored so."""
    if isinstance(type_, pa.BaseExtensionType):
        return plain_encoding(type_.storage_type)
    if pa.types.is_fixed_size_list(type_):
        items = plain_encoding(type_.value_type)
        return None if items is None else _without_nulls(_lists(type_.list_size, items))
    if not is_fixed_width(type_) or not type_.bit_width or type_.bit_width % 8:
        return None
    return _without_nulls(_flat(type_.bit_width, 0))


def binary_encoding(null_adjustment: int) -> bytes:
    """Describe pages of two buffers: where each value ends, as 64-bit numbers, and the bytes of all.

    The end of a null is ``null_adjustment`` higher.
    """
    ends, values = _without_nulls(_flat(64, 0)), _flat(8, 1)
    return _nested(6, _nested(1, ends) + _nested(2, values) + _varint(3, null_adjustment))
