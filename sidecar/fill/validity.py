"""Arrow's validity bitmap, put together bit by bit from pieces whose lengths are no multiples of 8."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["Validity", "presence"]

Mask = npt.NDArray[np.bool_]


def presence(array: pa.Array) -> Mask | None:
    """Return which rows are present, or None when all are."""
    if array.null_count == 0:
        return None
    mask: Mask = array.is_valid().to_numpy(zero_copy_only=False)
    return mask


class Validity:
    """Collects which rows are present; costs nothing until the first null comes."""

    def __init__(self) -> None:
        self.rows = 0
        self.nulls = 0
        self._packed = bytearray()
        self._rest: Mask = np.empty(0, np.bool_)
        """Bits that do not fill a byte yet."""

    def append(self, rows: int, present: Mask | None) -> None:
        """Add rows; ``present`` None means that all are."""
        if present is not None:
            if not self.nulls:
                self._packed += b"\xff" * (self.rows // 8)
                self._rest = np.ones(self.rows % 8, np.bool_)
            self.nulls += rows - int(np.count_nonzero(present))
        if self.nulls:
            bits = np.concatenate([self._rest, np.ones(rows, np.bool_) if present is None else present])
            whole = bits.size // 8 * 8
            self._packed += np.packbits(bits[:whole], bitorder="little").tobytes()
            self._rest = bits[whole:].copy()
        self.rows += rows

    def bitmap(self) -> bytes:
        """Return the bitmap of all rows; empty when there is no null."""
        return bytes(self._packed) + np.packbits(self._rest, bitorder="little").tobytes()
