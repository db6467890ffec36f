"""A window as packets of the door: what the client cannot know, its segments, beside their descriptors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from alluxio_lance.layout import Layout, Region, Segment
from alluxio_lance.sidecar.connections import MOST_DESCRIPTORS

__all__ = ["segment_record", "window_packets"]


def window_packets(
    id: str, layout: Layout, descriptors: Sequence[int]
) -> Iterable[tuple[dict[str, Any], Sequence[int]]]:
    """Cut a window into packets, each with the descriptors of its segments.

    Names and types of the columns are in the layout of the lease; only which kind a column has depends on its data.
    """
    columns = [[column.kind.value, column.null_count] for column in layout.columns]
    segments = [segment_record(segment) for column in layout.columns for segment in column.segments]
    for start in range(0, len(segments), MOST_DESCRIPTORS):
        here = slice(start, start + MOST_DESCRIPTORS)
        # There are at least as many segments as columns.
        piece = {"window": id, "rows": layout.num_rows, "columns": columns[here], "segments": segments[here]}
        yield {"ok": True, **piece, "more": here.stop < len(segments)}, descriptors[here]


def segment_record(segment: Segment) -> list[Any]:
    """Write one segment."""
    regions = (segment.data, segment.offsets, segment.validity)
    return [segment.id, segment.rows, segment.length, segment.pages.value, *map(_region, regions)]


def _region(region: Region) -> list[int]:
    return [region.offset, region.length]
