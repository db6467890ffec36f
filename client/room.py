"""Memory for the batches of this process: reused, so that no batch pays for fresh pages."""

from __future__ import annotations

from math import prod
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from alluxio_lance.sidecar._shm import BlockPool

__all__ = ["POOL", "room"]

POOL: Final = BlockPool(512 << 20)
"""A block comes back when the last array or tensor over it dies."""
_SMALLEST_BLOCK: Final = 32 << 10
"""Below this the C library's own memory is as warm, and no whole pages are spent."""


def room(shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Make an array with any content, in a block of the pool when it is worth it."""
    need = prod(shape) * dtype.itemsize
    if need < _SMALLEST_BLOCK:
        return np.empty(shape, dtype)
    return np.ndarray(shape, dtype, memoryview(POOL.block(need)))
