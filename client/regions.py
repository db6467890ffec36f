"""Bytes of segments as memory: one region on its own, or the same region of many shards joined into one range."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from alluxio_lance.layout import PAGE, Pages, Segment
from alluxio_lance.sidecar._shm import Mapping

__all__ = ["map_joined", "map_region", "map_values"]

_HUGE: Final = 2 << 20


def _page(segment: Segment) -> int:
    return _HUGE if segment.pages is Pages.HUGE else PAGE


def map_region(segment: Segment, descriptor: int, offset: int, length: int) -> memoryview:
    """Map bytes of one segment, read only; they may begin anywhere."""
    ahead = offset % _page(segment)
    return memoryview(Mapping([(descriptor, offset - ahead, length + ahead)]))[ahead:]


def map_joined(
    segments: Sequence[Segment],
    descriptors: Sequence[int],
    row_bytes: int,
    shard_rows: int,
    start: int,
    stop: int,
    *,
    writable_copy: bool,
) -> tuple[Mapping, int]:
    """Map the data of rows ``start`` to ``stop`` of a FIXED column, over all shards that they lie in.

    Returns
    -------
    (Mapping, int)
        The mapping, and the offset of the first row in it: mappings begin where a page does.
    """
    pieces = list(_pieces(segments, descriptors, row_bytes, shard_rows, start, stop))
    if not pieces:
        return Mapping([], writable_copy=writable_copy), 0
    segment, descriptor, offset, length = pieces[0]
    ahead = offset % _page(segment)
    whole = [(descriptor, offset - ahead, length + ahead), *(piece[1:] for piece in pieces[1:])]
    huge_pages = any(piece[0].pages is Pages.TRANSPARENT for piece in pieces)
    return Mapping(whole, writable_copy=writable_copy, huge_pages=huge_pages), ahead


def map_values(segments: Sequence[Segment], descriptors: Sequence[int]) -> tuple[Mapping, list[int]]:
    """Map the values of a VARIABLE column's segments into one range: whole pages, so with gaps between the shards.

    Returns
    -------
    (Mapping, list of int)
        The mapping, copy on write, and where each shard's values begin in it.
    """
    pieces: list[tuple[int, int, int]] = []
    starts: list[int] = []
    done = 0
    for segment, descriptor in zip(segments, descriptors, strict=True):
        ahead = segment.data.offset % _page(segment)
        length = -(-(segment.data.length + ahead) // _page(segment)) * _page(segment)
        starts.append(done + ahead)
        # A piece without bytes takes no place.
        done += length
        pieces.append((descriptor, segment.data.offset - ahead, length))
    return Mapping(pieces, writable_copy=True), starts


def _pieces(
    segments: Sequence[Segment], descriptors: Sequence[int], row_bytes: int, shard_rows: int, start: int, stop: int
) -> Iterator[tuple[Segment, int, int, int]]:
    if stop <= start or row_bytes == 0:
        return
    for shard in range(start // shard_rows, (stop - 1) // shard_rows + 1):
        first = max(start - shard * shard_rows, 0)
        last = min(stop - shard * shard_rows, shard_rows)
        segment = segments[shard]
        yield segment, descriptors[shard], segment.data.offset + first * row_bytes, (last - first) * row_bytes
