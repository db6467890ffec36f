"""What the door says of a version and of its segments, as values. Standard library only, as the door."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Any

from alluxio_lance.layout import Column, ColumnKind, Layout, Pages, Region, Segment

__all__ = ["read_layout", "read_segment"]


def read_layout(text: str) -> Layout:
    """Read a layout.

    Raises
    ------
    ValueError, KeyError, TypeError
        When it is none.
    """
    record = json.loads(text)
    if not isinstance(record, dict):
        raise TypeError(f"a layout is an object, and this is a {type(record).__name__}")
    columns = tuple(map(_column, record.pop("columns")))
    return Layout(**record, columns=columns)


def _column(record: Mapping[str, Any]) -> Column:
    return Column(
        name=record["name"],
        kind=ColumnKind(record["kind"]),
        dtype=record["dtype"],
        shape=tuple(record["shape"]),
        nullable=record["nullable"],
        null_count=record["null_count"],
        schema=b64decode(record["schema"]),
        segments=tuple(read_segment(*segment) for segment in record["segments"]),
    )


def read_segment(id: int, rows: int, length: int, pages: str, *regions: Sequence[int]) -> Segment:
    """Read the record of one segment."""
    data, offsets, validity = (Region(*region) for region in regions)
    return Segment(id=id, rows=rows, length=length, pages=Pages(pages), data=data, offsets=offsets, validity=validity)
