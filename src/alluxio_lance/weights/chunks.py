"""How a part of a model is cut into pieces."""

from __future__ import annotations

from typing import Final

__all__ = ["CHUNK_BYTES", "chunk_bytes", "chunk_count"]

CHUNK_BYTES: Final = 4 << 20
"""Bytes of every piece but the last of its part. Two of them make one batch: Lance keeps a page of one value in memory."""


def chunk_count(size: int) -> int:
    """Return how many pieces a part of some bytes has; one without bytes has one."""
    return max(-(-size // CHUNK_BYTES), 1)


def chunk_bytes(size: int, chunk: int) -> int:
    """Return what a piece of a part of some bytes has."""
    return min(CHUNK_BYTES, size - chunk * CHUNK_BYTES)
