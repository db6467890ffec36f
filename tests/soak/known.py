"""The rows that a soak reads: each carries a checksum of itself, so that any batch can be checked wherever it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import torch

__all__ = ["NAME", "ROWS", "URI", "checked", "columns_of", "table"]

NAME = "soak"
URI = f"alluxio://datasets/{NAME}"
ROWS = 6000
SHAPE = (3, 32, 32)
"""3 KiB a row: batches of more than 21 rows stay in their slot, smaller ones are copied out of it."""
WORDS = 3 * 32 * 32 // 8
WEIGHTS = np.random.default_rng(0).integers(1, 2**62, WORDS) | 1


def table(version: int) -> pa.Table:
    """Make the rows of a version; no two versions and no two rows are alike."""
    images = np.random.default_rng(version).integers(0, 256, (ROWS, *SHAPE), dtype=np.uint8)
    number = np.arange(ROWS)
    with np.errstate(over="ignore"):
        sums = (images.reshape(ROWS, -1).view(np.int64) * WEIGHTS).sum(1) + number * 31 + version
    return pa.table(
        {
            "image": pa.FixedShapeTensorArray.from_numpy_ndarray(images),
            "number": pa.array(number),
            "version": pa.array(np.full(ROWS, version)),
            "checksum": pa.array(sums),
            "text": pa.array([f"row {i} of {version}" for i in number]),
        }
    )


def columns_of(batch: dict[str, Any], place: slice) -> dict[str, Any]:
    """Take views of some rows."""
    return {name: column[place] for name, column in batch.items()}


def checked(batch: dict[str, Any], rows: list[int] | None = None) -> int:
    """Compare each row with its own checksum, and with the rows that were asked for; return the version that it is of.

    Raises
    ------
    AssertionError
        When a byte is wrong, a row is another one, or the rows are of several versions.
    """
    number, images = batch["number"], batch["image"].contiguous()
    versions = set(batch["version"].tolist())
    assert len(versions) == 1, f"rows of versions {versions} in one batch"
    (version,) = versions
    words = images.reshape(len(number), -1).view(torch.int64)
    found = (words * torch.from_numpy(WEIGHTS)).sum(1) + number * 31 + version
    assert torch.equal(found, batch["checksum"]), f"wrong bytes in rows {number[found != batch['checksum']].tolist()}"
    assert batch["text"] == [f"row {i} of {version}" for i in number.tolist()]
    assert rows is None or number.tolist() == rows, f"rows {number.tolist()} came for {rows}"
    return int(version)
