"""How many threads copy one batch: one, unless ``ALLUXIO_LANCE_GATHER_THREADS`` says otherwise."""

from __future__ import annotations

import os
from typing import Final

from alluxio_lance.errors import InvalidArgument

__all__ = ["SETTING", "gather_threads"]

SETTING: Final = "ALLUXIO_LANCE_GATHER_THREADS"
_DIGITS: Final = 6


def gather_threads() -> int:
    """Read the setting, bounded by the processors that this process may run on.

    One by default: a single thread is close to what memory gives it, and on a machine that has other work a second one
    is waited for longer than it helps. Processes inherit the setting, workers of a DataLoader too.

    Raises
    ------
    InvalidArgument
        When the setting is no positive number.
    """
    text = os.environ.get(SETTING)
    if text is None:
        return 1
    if not (text.isascii() and text.isdigit() and len(text) < _DIGITS and int(text) > 0):
        raise InvalidArgument(f"{SETTING} is {text!r} - give the number of threads that copy a batch, 1 or more")
    return min(int(text), len(os.sched_getaffinity(0)))
