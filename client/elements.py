"""How a layout's element names are read: which numpy dtype the stored bytes have, and which one a reader sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from alluxio_lance.layout import Column, ColumnKind

__all__ = ["Element", "element_of"]

_TEXTS: Final = ("string", "binary")


@dataclass(frozen=True, slots=True)
class Element:
    """One value of a column."""

    name: str
    """The layout's own name: ``uint8``, ``bfloat16``, ``datetime64[us]``, ``S16``, ``string``."""
    stored: np.dtype[np.generic]
    """What the bytes are; bfloat16, which numpy lacks, are ``uint16``, opaque bytes ``uint8``."""
    shape: tuple[int, ...]
    """The shape of one row of a FIXED column."""

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of a FIXED column."""
        size = self.stored.itemsize
        for side in self.shape:
            size *= side
        return size

    @property
    def has_hole(self) -> bool:
        """Whether the type itself can say that a value is missing (NaN, NaT), so that nulls need no filling."""
        return self.stored.kind in "fmM" or self.name in ("bfloat16", "datetime64[D]")

    @property
    def is_text(self) -> bool:
        """Whether the rows are strings or bytes rather than lists of numbers."""
        return self.name in _TEXTS


def element_of(column: Column) -> Element:
    """Read the element of a FIXED or VARIABLE column."""
    name, shape = column.dtype, column.shape
    if name.startswith("S"):
        width = int(name[1:])
        # The shape of opaque bytes may or may not say their width already.
        return Element(name, np.dtype(np.uint8), shape if shape[-1:] == (width,) else (*shape, width))
    return Element(name, _stored(column, name), shape)


def _stored(column: Column, name: str) -> np.dtype[np.generic]:
    if name in _TEXTS:
        return np.dtype(np.uint8)
    if name == "bfloat16":
        return np.dtype(np.uint16)
    if name == "datetime64[D]" and column.kind is not ColumnKind.ARROW:
        # Arrow's date32 counts days in 32 bits; numpy's datetime64[D] would take 64.
        return np.dtype(np.int32)
    return np.dtype(name)
