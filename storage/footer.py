"""The end of a data file of Lance, which says where everything else in it is."""

from __future__ import annotations

import struct
from typing import Final

__all__ = ["ENTRY", "FOOTER", "MAGIC"]

FOOTER: Final = struct.Struct("<QQQIIHH4s")
"""Positions of column metadata and of the two offset tables, counts of buffers and columns, format, magic."""
ENTRY: Final = struct.Struct("<QQ")
"""In an offset table: where something begins, and its bytes."""
MAGIC: Final = b"LANC"
