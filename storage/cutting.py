"""Where Lance ends one data file and begins the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from alluxio_lance.storage.encoding import is_fixed_width
from alluxio_lance.storage.place import Place

__all__ = ["Cut", "cut_for", "width_bits"]

_BYTES: Final = 512 << 20
"""Bytes after which another file begins, where any size is read the same way."""
_ROWS: Final = 1 << 30
"""Files are cut by bytes, not by rows; Lance allows 2^32 rows in one."""
_PAGE: Final = 8 << 20
"""Bytes that Lance holds back of each column, and does not count, before it writes them."""
_MARGIN: Final = 16 << 20
_SHARE: Final = 4
_GUESS: Final = 32 * 8
"""Bits of a value whose size is not known. Too few do no harm: the file is then cut by its bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """When a file ends."""

    bytes: int
    """After this many bytes."""
    rows: int
    """At this many rows."""


def cut_for(place: Place, schema: pa.Schema) -> Cut:
    """Choose the limits of a file for Lance's writers, such that what is near can be read in one piece.

    Lance ends a file after the limit was passed: what it holds back of up to 8 MiB a column comes on top. Hence a
    margin of 16 MiB, or a quarter of a small piece, and for tables with many columns a limit of the rows, too. Values
    of unknown size may still make a file larger; then its blocks are joined when it is read.
    """
    whole = place.file_bytes()
    if whole is None:
        return Cut(bytes=_BYTES, rows=_ROWS)
    margin = min(_MARGIN, whole // _SHARE)
    limit = whole - margin
    widths = [max(1, width_bits(field.type)) if is_fixed_width(field.type) else _GUESS for field in schema]
    rows = max(1, 8 * limit // max(1, sum(widths)))
    held_back = sum(min(_PAGE, rows * width // 8) for width in widths)
    return Cut(bytes=limit, rows=rows if held_back > margin else _ROWS)


def width_bits(type_: Any) -> int:
    """Return the bits of one value of a fixed-width type."""
    if isinstance(type_, pa.BaseExtensionType):
        return width_bits(type_.storage_type)
    if pa.types.is_fixed_size_list(type_):
        return int(type_.list_size) * width_bits(type_.value_type)
    return int(type_.bit_width)
