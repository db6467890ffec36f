"""What a file of Lance's format 2.0 says of its columns: the pages of each, and how these are encoded.

Source: the format's own description, ``file2.proto`` and ``encodings.proto`` of Lance.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from alluxio_lance.storage.footer import ENTRY, FOOTER, MAGIC
from alluxio_lance.storage.wire import fields, varint

__all__ = ["Page", "read_pages"]

_FORMAT: Final = (0, 3)
"""What a file of format 2.0 calls itself."""
_MOST: Final = 64 << 20
"""Bytes of metadata that are read at most."""
_PAGES, _BUFFERS = 2, 3
_OFFSETS, _SIZES, _ROWS, _ENCODING = 1, 2, 3, 4
_DIRECT: Final = 2
_ARRAY_ENCODING: Final = b"/lance.encodings.ArrayEncoding"


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows of a column."""

    rows: int
    buffers: tuple[tuple[int, int], ...]
    """Where each begins in the file, and its bytes."""
    encoding: bytes
    """An ``ArrayEncoding``, serialized; empty when the page does not have it with it."""


def read_pages(file: int, size: int) -> Sequence[Sequence[Page]]:
    """Read the pages of every column of an open file; none of a file of another format.

    Raises
    ------
    ValueError, IndexError, EOFError
        When it is no such file.
    OSError
        When it cannot be read.
    """
    if size < FOOTER.size:
        return ()
    column_start, offsets, _, _, columns, major, minor, magic = FOOTER.unpack(
        _read(file, size - FOOTER.size, FOOTER.size)
    )
    if magic != MAGIC or (major, minor) != _FORMAT:
        return ()
    if not column_start <= offsets <= offsets + columns * ENTRY.size <= size or size - column_start > _MOST:
        raise ValueError("its footer points beyond the file, or it has too many pages")
    told = _read(file, column_start, size - column_start)
    entries = (ENTRY.unpack_from(told, offsets - column_start + number * ENTRY.size) for number in range(columns))
    return [_pages(told[place - column_start : place - column_start + length], size) for place, length in entries]


def _read(file: int, place: int, length: int) -> bytes:
    data = os.pread(file, length, place)
    if len(data) != length:
        raise EOFError(f"it ends before byte {place + length}")
    return data


def _pages(column: bytes, size: int) -> list[Page]:
    found = list(fields(column))
    if any(number == _BUFFERS for number, _ in found):
        # Buffers of the whole column: no encoding that is of use here has some.
        return []
    return [_page(value, size) for number, value in found if number == _PAGES and isinstance(value, bytes)]


def _page(message: bytes, size: int) -> Page:
    places: list[int] = []
    sizes: list[int] = []
    rows, encoding = 0, b""
    for number, value in fields(message):
        if number == _ROWS and isinstance(value, int):
            rows = value
        elif number == _OFFSETS:
            places += _numbers(value)
        elif number == _SIZES:
            sizes += _numbers(value)
        elif number == _ENCODING and isinstance(value, bytes):
            encoding = _encoding(value)
    buffers = tuple(zip(places, sizes, strict=True))
    if any(place + length > size for place, length in buffers):
        raise ValueError("a page lies beyond the end of the file")
    return Page(rows, buffers, encoding)


def _numbers(value: int | bytes) -> list[int]:
    """Return a repeated number, packed or not."""
    if isinstance(value, int):
        return [value]
    found = []
    place = 0
    while place < len(value):
        number, place = varint(value, place)
        found.append(number)
    return found


def _encoding(message: bytes) -> bytes:
    """Unwrap what lies directly in a page: an ``Encoding`` with bytes that are an ``Any``."""
    direct = dict(fields(message)).get(_DIRECT, b"")
    wrapped = dict(fields(direct)).get(1, b"") if isinstance(direct, bytes) else b""
    told = dict(fields(wrapped)) if isinstance(wrapped, bytes) else {}
    found = told.get(2, b"")
    return found if told.get(1) == _ARRAY_ENCODING and isinstance(found, bytes) else b""
