"""The bytes of tensors as numbers of 64 bits, also of the element types that numpy does not have."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from alluxio_lance.client.models.elements import NUMPY

__all__ = ["as_numbers"]

_SMALL: Final[Mapping[str, tuple[int, int, str]]] = MappingProxyType(
    {
        "F8_E5M2": (2, 15, "ieee"),
        "F8_E4M3": (3, 7, "fn"),
        "F8_E5M2FNUZ": (2, 16, "fnuz"),
        "F8_E4M3FNUZ": (3, 8, "fnuz"),
    }
)
"""Bits of the fraction, bias of the exponent, and which patterns are no numbers. Formats: arXiv 2209.05433, 2206.02915."""


def as_numbers(dtype: str, data: NDArray[np.uint8]) -> NDArray[np.float64] | None:
    """Return the elements of a tensor as float64, complex ones as pairs; None for types that fill no whole bytes.

    Parameters
    ----------
    data
        Whole elements, as bytes.
    """
    if dtype == "C64":
        return _widened(data.view(NUMPY["F32"]))
    if dtype == "BOOL":
        return _widened(data)
    if dtype in NUMPY:
        return _widened(data.view(NUMPY[dtype]))
    if dtype == "BF16":
        # The upper half of a float32.
        return _widened((data.view("<u2").astype(np.uint32) << 16).view(np.float32))
    if dtype == "F8_E8M0":
        return _powers()[data]
    if dtype in _SMALL:
        return _table(dtype)[data]
    return None


def _widened(numbers: NDArray[np.generic]) -> NDArray[np.float64]:
    # Some patterns that are no numbers raise the processor's flag when they are converted.
    with np.errstate(invalid="ignore"):
        return numbers.astype(np.float64)


@cache
def _powers() -> NDArray[np.float64]:
    """Return the 256 values of a type that is an exponent alone: 2 to the power of it less 127; the last is no number."""
    values = np.ldexp(1.0, np.arange(256) - 127)
    values[255] = np.nan
    return values


@cache
def _table(dtype: str) -> NDArray[np.float64]:
    """Return the 256 values of an element type of sign, exponent and fraction."""
    fraction_bits, bias, kind = _SMALL[dtype]
    patterns = np.arange(256)
    sign = np.where(patterns & 0x80, -1.0, 1.0)
    exponent = (patterns & 0x7F) >> fraction_bits
    fraction = (patterns & ((1 << fraction_bits) - 1)) / (1 << fraction_bits)
    values = sign * np.where(
        exponent == 0, np.ldexp(fraction, 1 - bias), np.ldexp(1 + fraction, np.maximum(exponent, 1) - bias)
    )
    if kind == "fnuz":
        # The pattern of a negative zero is the only one that is no number.
        values[0x80] = np.nan
    elif kind == "fn":
        values[[0x7F, 0xFF]] = np.nan
    else:
        special = exponent == exponent.max()
        values[special] = np.where(fraction[special] == 0, sign[special] * np.inf, np.nan)
    return values
