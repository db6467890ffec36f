"""Progress for whoever called, and for those who wait for the same operation elsewhere."""

from __future__ import annotations

import time
from typing import Final

from alluxio_lance.lifecycle.ports import Catalog
from alluxio_lance.manager import OnProgress
from alluxio_lance.values import Progress

__all__ = ["Reporter", "fraction"]

_EVERY: Final = 0.5
"""Seconds between two writes into the catalog."""


class Reporter:
    """Tells a caller of every step, and the catalog of some."""

    def __init__(self, catalog: Catalog, operation: str, on_progress: OnProgress | None) -> None:
        self._catalog = catalog
        self._operation = operation
        self._on_progress = on_progress
        self._next = 0.0

    def __call__(self, progress: Progress) -> None:
        """Take a report."""
        if time.monotonic() >= self._next:
            self._catalog.record_progress(self._operation, progress)
            self._next = time.monotonic() + _EVERY
        if self._on_progress is not None:
            self._on_progress(progress)


def fraction(progress: Progress | None) -> float:
    """Tell how much is done, from 0 to 1."""
    if progress is None or not progress.total_bytes:
        return 0.0
    return min(1.0, progress.bytes / progress.total_bytes)
