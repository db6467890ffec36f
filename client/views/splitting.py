"""Splits: which part a row belongs to, decided by the hash of its key alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from alluxio_lance.errors import InvalidArgument

__all__ = ["NO_PART", "parts_of", "shares"]

NO_PART: Final = 255
_MOST: Final = 255
_ROUNDING: Final = 1e-9
"""0.7 + 0.2 + 0.1 shall be all."""


def shares(fractions: Mapping[str, float]) -> npt.NDArray[np.float64]:
    """Return where each part ends between 0 and 1, in order.

    Raises
    ------
    InvalidArgument
        When there is none or one has no sensible size, or when they are more than 1 together.
    """
    if not 1 <= len(fractions) < _MOST:
        raise InvalidArgument(f"a split has 1 to {_MOST - 1} parts, not {len(fractions)}")
    for name, fraction in fractions.items():
        if (
            isinstance(fraction, bool)
            or not isinstance(fraction, int | float | np.integer | np.floating)
            or not 0 <= fraction <= 1
        ):
            raise InvalidArgument(f"the part {name!r} of a split is a fraction from 0 to 1, not {fraction!r}")
    sizes = list(fractions.values())
    ends = np.array([math.fsum(sizes[: count + 1]) for count in range(len(sizes))])
    if ends[-1] > 1 + _ROUNDING:
        raise InvalidArgument(
            f"the parts of a split are {ends[-1]:g} together and may be 1: {', '.join(map(repr, fractions))} - make them "
            "smaller"
        )
    # The end of the last part, and of empty ones behind it, is all.
    return np.where(ends > 1 - _ROUNDING, 1.0, ends)


def parts_of(hashes: npt.NDArray[np.uint64], ends: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return the number of the part of each hash; `NO_PART` when it lies behind the last."""
    # 53 bits, as many as a float has: so that 1.0 is never reached.
    places = (hashes >> np.uint64(11)).astype(np.float64) * 2.0**-53
    found = np.searchsorted(ends, places, side="right")
    return np.where(found == len(ends), NO_PART, found).astype(np.uint8)
