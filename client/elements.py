"""How a layout's element names are read: which numpy dtype the stored bytes have, and which one a reader sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from alluxio_lance.layout import Column

__all__ = ["Element", "element_of"]

_STORED: Final = {"bfloat16": "uint16", "string": "uint8", "binary": "uint8"}
"""What numpy has no type for."""


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
        return self.stored.kind in "fmM" or self.name == "bfloat16"

    @property
    def is_text(self) -> bool:
        """Whether the rows are strings or bytes rather than lists of numbers."""
        return self.name in ("string", "binary")


def element_of(column: Column) -> Element:
    """Read the element of a FIXED or VARIABLE column."""
    name = column.dtype
    if name.startswith("S"):
        return Element(name, np.dtype(np.uint8), (*column.shape, int(name[1:])))
    return Element(name, np.dtype(_STORED.get(name, name)), column.shape)
