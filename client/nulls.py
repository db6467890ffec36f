"""Which rows of a column are present, read from the bitmaps of its segments."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from alluxio_lance.client.regions import map_region
from alluxio_lance.layout import Segment
from alluxio_lance.sidecar._shm import Bitmap

__all__ = ["Validity"]


class Validity:
    """The presence of each row; made only for columns that have a null."""

    def __init__(self, segments: Sequence[Segment], descriptors: Sequence[int], shard_rows: int, rows: int) -> None:
        maps = [_bits(segment, fd) for segment, fd in zip(segments, descriptors, strict=True)]
        self._bitmap = Bitmap(maps, shard_rows, rows)

    def at(self, index: int) -> bool:
        """Whether one row is present; negative indices count from the end."""
        return bool(self.take(np.array([index], np.int64))[0])

    def take(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Whether the rows are present, in the order of the indices."""
        present = np.empty(len(indices), np.bool_)
        self._bitmap.gather(indices, present.view(np.uint8))
        return present

    def all(self) -> npt.NDArray[np.bool_]:
        """Whether each row is present, shape ``[N]``."""
        return self.take(np.arange(self._bitmap.rows, dtype=np.int64))


def _bits(segment: Segment, descriptor: int) -> memoryview | None:
    region = segment.validity
    return map_region(segment, descriptor, region.offset, region.length) if region.length else None
