"""Hashes of keys that are the same on every machine, in every process and for ever: splits and orders stand on them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["derived", "hash_bytes", "hash_integers"]

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_FIRST: Final = np.uint64(0xBF58476D1CE4E5B9)
_SECOND: Final = np.uint64(0x94D049BB133111EB)
_ALL_BITS: Final = (1 << 64) - 1


def hash_integers(values: npt.NDArray[Any], seed: int) -> npt.NDArray[np.uint64]:
    """Hash integers, 64 bits each; equal numbers hash equally in every integer type.

    Two rounds of SplitMix64 (Steele, Lea and Flood, 2014), with the seed between them.
    """
    wide = values.astype(np.int64).view(np.uint64) if values.dtype.kind == "i" else values.astype(np.uint64)
    return _mixed(_mixed(wide) ^ _salt(seed))


def hash_bytes(values: Iterable[bytes], seed: int) -> npt.NDArray[np.uint64]:
    """Hash strings of bytes, 64 bits each: BLAKE2b with the seed as its key."""
    key = int(_salt(seed)).to_bytes(8, "little")
    blake = hashlib.blake2b
    digests = b"".join([blake(value, digest_size=8, key=key).digest() for value in values])
    return np.frombuffer(digests, "<u8").astype(np.uint64)


def derived(seed: int, *numbers: int) -> int:
    """Make another seed of a seed and some numbers."""
    for number in numbers:
        seed = int(hash_integers(np.array([number]), seed)[0])
    return seed


def _salt(seed: int) -> np.uint64:
    return np.uint64(_mixed(np.array([seed & _ALL_BITS], np.uint64))[0])


def _mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    values = values + _GOLDEN
    values = (values ^ (values >> np.uint64(30))) * _FIRST
    values = (values ^ (values >> np.uint64(27))) * _SECOND
    return values ^ (values >> np.uint64(31))
