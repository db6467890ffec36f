"""Asks again until an archived version is back, and tells meanwhile how far it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

from alluxio_lance.errors import Restoring
from alluxio_lance.manager import OnProgress
from alluxio_lance.values import Progress

__all__ = ["when_back"]

T = TypeVar("T")

_FIRST: Final = 0.05
_LAST: Final = 2.0
_GROWTH: Final = 1.5
"""Seconds between two questions, from the first to the last, and how they grow: the load of all who wait stays small."""


def when_back(ask: Callable[[str], T], on_progress: OnProgress | None = None) -> T:
    """Ask until the answer is another one than `Restoring`, and return or raise it.

    Parameters
    ----------
    ask
        Gets the operation that the answer before named, empty at first, and asks.
    """
    pause, operation = _FIRST, ""
    while True:
        try:
            return ask(operation)
        except Restoring as error:
            operation = str(error.details.get("operation", ""))
            if on_progress is not None:
                on_progress(_progress(error))
        time.sleep(pause)
        pause = min(pause * _GROWTH, _LAST)


def _progress(error: Restoring) -> Progress:
    total = error.details.get("total_bytes")
    return Progress(
        step=str(error.details.get("step", "restore")),
        bytes=int(error.details.get("bytes", 0)),
        total_bytes=None if total is None else int(total),
    )
