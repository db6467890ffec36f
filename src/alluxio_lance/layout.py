"""Where the bytes of a hot version lie: the values that the sidecar writes and the client maps.

Specified in docs/format/segments.md. Plain and picklable, since DataLoader workers receive them by pickle.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

__all__ = ["PAGE", "ROWS_PER_PAGE_GROUP", "Column", "ColumnKind", "Layout", "Pages", "Region", "Segment"]

PAGE: Final = 4096
"""Bytes of the smallest page; every region starts on one."""
ROWS_PER_PAGE_GROUP: Final = 4096
"""Shards have a multiple of this many rows, so that any fixed-width column fills whole pages."""


class ColumnKind(StrEnum):
    """How a column's rows are laid out in its segments."""

    FIXED = "fixed"
    """Every row has the same number of bytes: the shards join into one ``[N, *shape]`` array."""
    VARIABLE = "variable"
    """Strings, binary, lists of fixed-width values: 64-bit offsets and values."""
    ARROW = "arrow"
    """Anything else: the segment is read with ``pyarrow.ipc``."""
    FILE = "file"
    """Of a model: one segment, whose ``data`` are a whole safetensors file."""


class Pages(StrEnum):
    """The pages that back a segment."""

    SMALL = "4k"
    TRANSPARENT = "thp"
    HUGE = "hugetlb"


@dataclass(frozen=True, slots=True)
class Region:
    """Bytes within a segment; ``length`` 0 means the region is absent."""

    offset: int = 0
    length: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One column of one shard in one sealed memfd, which is also a complete file of ``length`` bytes.

    Of a model it is a safetensors file, otherwise an Arrow IPC file.
    """

    id: int
    """Unique within one run of the sidecar."""
    rows: int
    length: int
    """Bytes of the file, which is the whole memfd."""
    pages: Pages
    data: Region = Region()
    """FIXED: row-major values. VARIABLE: the values that the offsets point into. FILE: all of it."""
    offsets: Region = Region()
    """VARIABLE: ``rows + 1`` little-endian int64, in elements of ``Column.dtype`` (bytes for strings and binary)."""
    validity: Region = Region()
    """Arrow's bitmap, least significant bit first, 1 = present; absent when the segment has no null."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column over all shards."""

    name: str
    kind: ColumnKind
    dtype: str
    """FIXED and VARIABLE: the element, in numpy's names plus ``bfloat16`` (``uint8``, ``float16``, ``bool``,
    ``datetime64[us]``, ``S16`` for 16 opaque bytes); VARIABLE also ``string`` and ``binary``. ARROW: empty. FILE: the
    format, ``safetensors``."""
    shape: tuple[int, ...] = ()
    """FIXED: the shape of one row, () for scalars."""
    nullable: bool = False
    null_count: int = 0
    schema: bytes = b""
    """A one-field Arrow schema, as an IPC message: the type as the user registered it."""
    segments: tuple[Segment, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """All columns of one version that a lease covers."""

    type: str
    name: str
    semver: str
    version: int
    content_hash: str
    num_rows: int
    shard_rows: int
    """Rows of every shard but the last: a multiple of ``ROWS_PER_PAGE_GROUP``, or in a window the rows of a unit, which
    fill whole pages of every FIXED column, too."""
    columns: tuple[Column, ...]
    branch: str = ""
    """The branch it lies on; empty on the main line."""

    @property
    def uri(self) -> str:
        """The URI of exactly this version."""
        selector = self.semver if self.branch else f"v{self.version}"
        return f"alluxio://{self.type}/{self.name}@{selector}"
