"""Random permutations that are the same wherever and whenever they are made."""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["permutation"]

_NAME: Final = "alluxio-lance epoch plan 1"
"""Part of every key: another algorithm gets another name."""


def permutation(count: int, *key: int | str) -> npt.NDArray[np.int64]:
    """Permute ``0 … count - 1``, as the key says.

    The words of Philox 4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011) whose key are the
    first 16 bytes of a SHA-256 over the parts of ours; word i has its lowest bits replaced by i, and the words are
    sorted. So it needs no stable sort, and nothing of numpy but its promise that the raw words of a bit generator do not
    change: the methods of `numpy.random.Generator` have no such promise.
    """
    if count == 0:
        return np.empty(0, np.int64)
    text = "\n".join(str(part) for part in (_NAME, *key))
    generator = np.random.Philox(key=int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little"))
    words: npt.NDArray[np.uint64] = np.asarray(generator.random_raw(count), np.uint64)
    low = np.uint64((1 << (count - 1).bit_length()) - 1)
    words &= ~low
    words |= np.arange(count, dtype=np.uint64)
    words.sort()
    words &= low
    return words.view(np.int64)
