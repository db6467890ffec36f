"""Memory for batches that is used again: fresh pages would cost as much as the bytes that are read into them."""

from __future__ import annotations

import sys
import threading
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["Rooms"]

_MOST: Final = 8
"""Pieces of memory that are kept; who holds on to more batches than that gets fresh memory for each."""
_OURS: Final = 3
"""References to a piece that nobody has: from the list, from the loop, and for the count."""


class Rooms:
    """Gives out memory, the same again once no batch over it is left; to any thread."""

    def __init__(self) -> None:
        self._pieces: list[npt.NDArray[np.uint8]] = []
        self._lock = threading.Lock()

    def take(self, size: int) -> pa.Buffer:
        """Return a buffer with any content; it can be written, and whoever has it keeps its memory."""
        with self._lock:
            for piece in self._pieces:
                if piece.size >= size and sys.getrefcount(piece) == _OURS:
                    return pa.py_buffer(piece[:size])
            fresh = np.empty(size, np.uint8)
            if len(self._pieces) < _MOST:
                self._pieces.append(fresh)
            return pa.py_buffer(fresh[:])
