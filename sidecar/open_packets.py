"""A version that was opened at the door as packets: its layout in pieces, beside the descriptors of its segments."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable, Sequence
from typing import Any, Final

from alluxio_lance.layout import Column, Layout
from alluxio_lance.sidecar.connections import MOST_DESCRIPTORS
from alluxio_lance.sidecar.window_packets import segment_record

__all__ = ["layout_text", "open_packets"]

_PIECE: Final = 16 << 10
"""Characters of the layout in one packet. They are ASCII, and at worst each is escaped by another one."""


def layout_text(layout: Layout) -> str:
    """Write a layout as JSON."""
    return json.dumps(
        {
            "type": layout.type,
            "name": layout.name,
            "semver": layout.semver,
            "version": layout.version,
            "branch": layout.branch,
            "content_hash": layout.content_hash,
            "num_rows": layout.num_rows,
            "shard_rows": layout.shard_rows,
            "columns": [_column(column) for column in layout.columns],
        },
        separators=(",", ":"),
    )


def _column(column: Column) -> dict[str, Any]:
    return {
        "name": column.name,
        "kind": column.kind.value,
        "dtype": column.dtype,
        "shape": column.shape,
        "nullable": column.nullable,
        "null_count": column.null_count,
        "schema": b64encode(column.schema).decode(),
        "segments": [segment_record(segment) for segment in column.segments],
    }


def open_packets(
    lease: str, layout: str, segments: Sequence[int], descriptors: Sequence[int]
) -> Iterable[tuple[dict[str, Any], Sequence[int], bool]]:
    """Cut what was opened into packets, each with the descriptors of its segments; tells of each whether it is the last.

    Parameters
    ----------
    layout
        As `layout_text` writes it.
    segments
        The ids of the segments, in the order of the descriptors.
    """
    count = max(-(-len(layout) // _PIECE), -(-len(segments) // MOST_DESCRIPTORS), 1)
    for number in range(count):
        here = slice(number * MOST_DESCRIPTORS, (number + 1) * MOST_DESCRIPTORS)
        text = layout[number * _PIECE : (number + 1) * _PIECE]
        last = number == count - 1
        piece = {"lease": lease, "layout": text, "descriptors": len(segments), "segments": segments[here]}
        yield {"ok": True, **piece, "more": not last}, descriptors[here], last
