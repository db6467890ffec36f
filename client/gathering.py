"""How many threads copy one batch: what ``ALLUXIO_LANCE_GATHER_THREADS`` says, else as many as the framework's own copies use."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from alluxio_lance.errors import InvalidArgument

__all__ = ["SETTING", "follow", "gather_threads"]

SETTING: Final = "ALLUXIO_LANCE_GATHER_THREADS"
_DIGITS: Final = 6
_MOST: Final = 4
"""Threads, without the setting."""


class _Framework:
    """The framework of this process: how many threads it would copy with."""

    threads: Callable[[], int] | None = None


def follow(threads: Callable[[], int]) -> None:
    """Ask a framework for the number of threads where there is no setting."""
    _Framework.threads = threads


def gather_threads() -> int:
    """Read the setting, or ask the framework; bounded by the processors that this process may run on.

    Without either it is one. PyTorch says one in the workers of a DataLoader, and what ``torch.set_num_threads`` or
    ``OMP_NUM_THREADS`` say elsewhere; of these at most four, which take what memory gives. Threads that the kernel lets
    wait are left out of the next gathers. Processes inherit the setting, workers of a DataLoader too.

    Raises
    ------
    InvalidArgument
        When the setting is no positive number.
    """
    text = os.environ.get(SETTING)
    if text is None:
        return 1 if _Framework.threads is None else min(_Framework.threads(), _MOST, len(os.sched_getaffinity(0)))
    if not (text.isascii() and text.isdigit() and len(text) < _DIGITS and int(text) > 0):
        raise InvalidArgument(f"{SETTING} is {text!r} - give the number of threads that copy a batch, 1 or more")
    return min(int(text), len(os.sched_getaffinity(0)))
