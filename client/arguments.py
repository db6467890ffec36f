"""The arguments that datasets of all frameworks have in common, looked at before anything is opened.

What is taken on is plain: a number of numpy's own in a state would keep a checkpoint from being read again.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any, Final

from alluxio_lance.errors import InvalidArgument

__all__ = ["LARGEST", "batch_rows", "column_names", "counted"]

LARGEST: Final = (1 << 63) - 1
"""What the numbers of an order are at most: they are kept in 64 bits."""


def _whole_number(value: Any) -> int | None:
    """Return a whole number of any library's as a plain one; None for everything else, True and False too."""
    if isinstance(value, bool):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def counted(name: str, value: Any, least: int = 0) -> int:
    """Take on a number that counts something.

    Raises
    ------
    InvalidArgument
        When it is no whole number, below ``least``, or above `LARGEST`.
    """
    number = _whole_number(value)
    if number is None:
        raise InvalidArgument(f"{name}={value!r} is no whole number")
    if not least <= number <= LARGEST:
        raise InvalidArgument(f"{name}={number} is out of range - give a number from {least} to 2**63 - 1")
    return number


def batch_rows(size: Any) -> int | None:
    """Take on the rows of a batch; None for single samples.

    Raises
    ------
    InvalidArgument
        When it is no number of rows.
    """
    if size is None:
        return None
    number = _whole_number(size)
    if number is None:
        raise InvalidArgument(f"batch_size={size!r} is no number of rows - give columns by their name: columns=[…]")
    if not 1 <= number <= LARGEST:
        raise InvalidArgument(f"batch_size={number} makes no batches - give a number of rows, or None for samples")
    return number


def column_names(columns: Iterable[str] | None) -> list[str] | None:
    """Take on names of columns; None for all columns.

    Raises
    ------
    InvalidArgument
        When they are a single string, none at all, or no strings.
    """
    if columns is None:
        return None
    if isinstance(columns, (str, bytes)):
        raise InvalidArgument(f"columns={columns!r} is one name - give a list of names: columns=[{columns!r}]")
    try:
        names = list(columns)
    except TypeError:
        raise InvalidArgument(f"columns={columns!r} are no names - give a list of names, or None for all") from None
    if not names or not all(isinstance(name, str) for name in names):
        raise InvalidArgument(f"columns={names!r} are no names - give a list of names, or None for all")
    return names
