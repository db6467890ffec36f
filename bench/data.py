"""The rows that every way has to deliver: images uint8[3, 64, 64] and one unique label each, the same on every run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

__all__ = ["ROW_BYTES", "SHAPE", "Rows", "generate"]

SHAPE = (3, 64, 64)
ROW_BYTES = 3 * 64 * 64
_BLOCK = 4096


@dataclass(frozen=True, slots=True)
class Rows:
    """The generated rows in their folder, as two .npy files."""

    folder: Path
    count: int

    def images(self) -> NDArray[np.uint8]:
        """Map the images, uint8[count, 3, 64, 64], read only."""
        return np.asarray(np.load(self.folder / "images.npy", mmap_mode="r"))

    def labels(self) -> NDArray[np.int64]:
        """Read the labels, int64[count], a permutation of 0 … count - 1: a label names its row."""
        return np.asarray(np.load(self.folder / "labels.npy"))

    def row_of(self) -> NDArray[np.int64]:
        """Return the inverse of the labels: ``row_of()[label]`` is the row that carries the label."""
        return np.argsort(self.labels())

    def __iter__(self) -> Iterator[tuple[NDArray[np.uint8], int]]:
        """Go through the rows in order, for the writers that take one at a time."""
        return zip(self.images(), (int(label) for label in self.labels()), strict=True)


def generate(folder: Path, count: int, seed: int = 0) -> Rows:
    """Write the rows.

    Parameters
    ----------
    folder
        Made if it is missing.
    count
        The number of rows, 12,288 bytes each plus 8 of label.
    seed
        The same seed gives the same bytes. They are random, so no format gains by compression.
    """
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    images = open_memmap(folder / "images.npy", mode="w+", dtype=np.uint8, shape=(count, *SHAPE))
    for start in range(0, count, _BLOCK):
        rows = min(_BLOCK, count - start)
        images[start : start + rows] = random.integers(0, 256, (rows, *SHAPE), dtype=np.uint8)
    images.flush()
    np.save(folder / "labels.npy", random.permutation(count))
    return Rows(folder, count)
