"""Columns of a data file that lie in it as they lie in memory, and their rows read by plain calls."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Final

import numpy as np
import pyarrow as pa

from alluxio_lance.storage.cutting import width_bits
from alluxio_lance.storage.raw.encodings import binary_encoding, plain_encoding
from alluxio_lance.storage.raw.metadata import Page, read_pages
from alluxio_lance.storage.raw.rooms import Rooms

__all__ = ["RawColumn", "raw_columns"]

_INDEX: Final = np.dtype("<u8")


class RawColumn(ABC):
    """A column without a null whose pages are its values, one after the other.

    Parameters
    ----------
    type_
        Its type.
    pages
        In order, with the rows of each.
    size
        Bytes of all values.
    """

    def __init__(self, type_: pa.DataType, pages: Sequence[Page], size: int) -> None:
        self.type: Final = type_
        self.size: Final = size
        self._firsts = list(accumulate((page.rows for page in pages), initial=0))
        """The first row of each page, then the number of rows."""

    @abstractmethod
    def read(self, file: int, start: int, count: int, rooms: Rooms, place: memoryview | None = None) -> pa.Array:
        """Read rows that are there, into ``place`` if it is given and their values have that size.

        Raises
        ------
        EOFError
            When the file ends before them.
        OSError
            When it cannot be read.
        """

    def _parts(self, start: int, count: int) -> Iterator[tuple[int, int, int]]:
        """Cut rows at the borders of pages: the page, and the first and last of its rows."""
        row = start
        while row < start + count:
            page = bisect_right(self._firsts, row) - 1
            first = self._firsts[page]
            stop = min(start + count, self._firsts[page + 1])
            yield page, row - first, stop - first
            row = stop


class _Fixed(RawColumn):
    """Rows that all have the same size."""

    def __init__(self, type_: pa.DataType, pages: Sequence[Page]) -> None:
        self._width = width_bits(type_) // 8
        super().__init__(type_, pages, self._width * sum(page.rows for page in pages))
        self._places = [page.buffers[0][0] for page in pages]

    @classmethod
    def of(cls, type_: pa.DataType, pages: Sequence[Page]) -> RawColumn | None:
        """Return the column if that is what its pages are."""
        encoding = plain_encoding(type_)
        if encoding is None:
            return None
        width = width_bits(type_) // 8
        plain = all(
            page.encoding == encoding and [size for _, size in page.buffers] == [page.rows * width] for page in pages
        )
        return cls(type_, pages) if plain else None

    def read(self, file: int, start: int, count: int, rooms: Rooms, place: memoryview | None = None) -> pa.Array:
        """Read them into one buffer."""
        size = count * self._width
        buffer = _room(rooms, place, size)
        into = memoryview(buffer)
        for page, first, stop in self._parts(start, count):
            part, into = into[: (stop - first) * self._width], into[(stop - first) * self._width :]
            _read_into(file, part, self._places[page] + first * self._width)
        return _shaped(self.type, buffer, count)


class _Binary(RawColumn):
    """Rows of any number of bytes."""

    def __init__(
        self, type_: pa.DataType, pages: Sequence[Page], ends: Sequence[np.ndarray[tuple[int], np.dtype[np.int64]]]
    ) -> None:
        super().__init__(type_, pages, sum(page.buffers[1][1] for page in pages))
        self._places = [page.buffers[1][0] for page in pages]
        self._ends = ends
        """Of each page, where the values begin and end: one number more than it has rows."""

    @classmethod
    def of(cls, type_: pa.DataType, pages: Sequence[Page], file: int) -> RawColumn | None:
        """Return the column if that is what its pages are; reads where values end."""
        if type_ not in {pa.binary(), pa.large_binary()}:
            return None
        ends = []
        for page in pages:
            if len(page.buffers) != 2 or page.buffers[0][1] != page.rows * _INDEX.itemsize:  # noqa: PLR2004 - ends, bytes
                return None
            (place, _), (_, size) = page.buffers
            # Lance takes a number that no end can have for what marks a null.
            if page.encoding != binary_encoding(size + 1):
                return None
            found = np.empty(page.rows + 1, _INDEX)
            found[0] = 0
            _read_into(file, found[1:].view(np.uint8).data, place)
            if found[-1] != size or (found[1:] < found[:-1]).any():
                # A null is among them.
                return None
            ends.append(found.astype(np.int64))
        return cls(type_, pages, ends)

    def read(self, file: int, start: int, count: int, rooms: Rooms, place: memoryview | None = None) -> pa.Array:
        """Read them into one buffer, and where they end into another."""
        parts = [(page, self._ends[page][first : stop + 1]) for page, first, stop in self._parts(start, count)]
        offsets = np.zeros(count + 1, np.int64)
        row = 0
        for _, ends in parts:
            offsets[row + 1 : row + len(ends)] = ends[1:] - ends[0] + offsets[row]
            row += len(ends) - 1
        buffer = _room(rooms, place, int(offsets[-1]))
        into = memoryview(buffer)
        for page, ends in parts:
            size = int(ends[-1] - ends[0])
            part, into = into[:size], into[size:]
            _read_into(file, part, self._places[page] + int(ends[0]))
        values = pa.Array.from_buffers(pa.large_binary(), count, [None, pa.py_buffer(offsets), buffer], null_count=0)
        return values if self.type == values.type else values.cast(self.type)


def raw_columns(file: int, wanted: Mapping[str, tuple[int, pa.DataType]], rows: int) -> dict[str, RawColumn]:
    """Find out which columns of an open data file lie in it as in memory.

    Parameters
    ----------
    wanted
        By name: the number that a column has in the file, and its type.
    rows
        How many the file has.

    Raises
    ------
    ValueError, IndexError, EOFError
        When it is no file of Lance.
    OSError
        When it cannot be read.
    """
    columns = read_pages(file, os.fstat(file).st_size)
    found = {}
    for name, (number, type_) in wanted.items():
        pages = columns[number] if 0 <= number < len(columns) else []
        if rows and sum(page.rows for page in pages) == rows and all(page.rows for page in pages):
            column = _Fixed.of(type_, pages) or _Binary.of(type_, pages, file)
            if column is not None:
                found[name] = column
    return found


def _room(rooms: Rooms, place: memoryview | None, size: int) -> pa.Buffer:
    return rooms.take(size) if place is None or place.nbytes != size else pa.py_buffer(place)


def _read_into(file: int, into: memoryview, place: int) -> None:
    while into:
        count = os.preadv(file, [into], place)
        if not count:
            raise EOFError(f"it ends before byte {place + len(into)}")
        into, place = into[count:], place + count


def _shaped(type_: pa.DataType, values: pa.Buffer, count: int) -> pa.Array:
    """Give values the type of their column."""
    if isinstance(type_, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(type_, _shaped(type_.storage_type, values, count))
    if pa.types.is_fixed_size_list(type_):
        items = _shaped(type_.value_type, values, count * type_.list_size)
        return pa.Array.from_buffers(type_, count, [None], null_count=0, children=[items])
    return pa.Array.from_buffers(type_, count, [None, values], null_count=0)
