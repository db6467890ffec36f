"""Bytes as people write them: ``512MiB``, ``2GB``."""

from __future__ import annotations

import re
from typing import Any, Final

__all__ = ["read_size"]

_UNITS: Final = {
    "": 1,
    "b": 1,
    **{f"{letter}ib": 1 << 10 * (power + 1) for power, letter in enumerate("kmgt")},
    **{f"{letter}b": 1000 ** (power + 1) for power, letter in enumerate("kmgt")},
}
_SIZE: Final = re.compile(r"(\d{1,18}(?:\.\d{1,9})?)\s*([a-z]*)", re.IGNORECASE | re.ASCII)
_MOST: Final = 1 << 60


def read_size(value: Any) -> int:
    """Read bytes: a number, or a text such as ``512MiB``, ``4GiB`` or ``2GB``.

    Raises
    ------
    ValueError
        When it is neither, 0, or above 1 EiB.
    """
    match = _SIZE.fullmatch(str(value).strip())
    if isinstance(value, bool) or not match or match[2].lower() not in _UNITS:
        raise ValueError("give bytes as a number, or with a unit: 512MiB, 4GiB, 2GB")
    size = int(float(match[1]) * _UNITS[match[2].lower()])
    if not 0 < size <= _MOST:
        raise ValueError("it must be more than 0 bytes, and at most 1 EiB")
    return size
