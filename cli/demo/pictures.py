"""Real images to work on: scikit-learn's handwritten digits, and tiles of its two photographs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from alluxio_lance.errors import Unavailable

__all__ = ["TILE", "write_digits", "write_tiles", "write_turned_digits"]

TILE: Final = 64
"""Pixels of a tile's side."""
_STRIDE: Final = 8
_TURNED: Final = 600
_ANGLE: Final = 12.0
"""Degrees: a digit that is turned this little keeps its meaning."""


def write_digits(file: Path) -> None:
    """Write the 1,797 digits: ``image`` uint8[8, 8], ``label`` int64."""
    digits = _sklearn_datasets().load_digits()
    _write(file, digits.images.astype(np.uint8), digits.target)


def write_turned_digits(file: Path) -> None:
    """Write 600 of the digits again, turned by 12 degrees to either side in turns."""
    from scipy import ndimage  # type: ignore[import-untyped]  # noqa: PLC0415 - scipy carries no types; comes with scikit-learn

    digits = _sklearn_datasets().load_digits()
    turned = [
        ndimage.rotate(image, _ANGLE if place % 2 else -_ANGLE, reshape=False, order=1)
        for place, image in enumerate(digits.images[:_TURNED])
    ]
    _write(file, np.stack(turned).round().astype(np.uint8), digits.target[:_TURNED])


def write_tiles(file: Path) -> None:
    """Write overlapping tiles of the two photographs: ``image`` uint8[64, 64, 3], ``label`` the photograph's number."""
    photographs = _sklearn_datasets().load_sample_images().images
    tiles = [_tiles(photograph) for photograph in photographs]
    labels = np.repeat(np.arange(len(tiles)), [len(each) for each in tiles])
    _write(file, np.concatenate(tiles), labels)


def _tiles(photograph: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    windows = np.lib.stride_tricks.sliding_window_view(photograph, (TILE, TILE), axis=(0, 1))
    return windows[::_STRIDE, ::_STRIDE].transpose(0, 1, 3, 4, 2).reshape(-1, TILE, TILE, photograph.shape[2])


def _write(file: Path, images: npt.NDArray[np.uint8], labels: npt.NDArray[Any]) -> None:
    tensor = pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(images))
    pq.write_table(pa.table({"image": tensor, "label": pa.array(labels.astype(np.int64))}), file)


def _sklearn_datasets() -> Any:
    try:
        from sklearn import datasets  # noqa: PLC0415 - only the demo needs it
    except ModuleNotFoundError as error:
        raise Unavailable(
            "the demo takes its images from scikit-learn, which is not installed: pip install scikit-learn, or give "
            "your own with --data",
            what="scikit-learn",
        ) from error
    return datasets
