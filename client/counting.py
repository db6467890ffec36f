"""What reading cost in this process: how many bytes were mapped as views, and how many were moved."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass

__all__ = ["ReadCounters", "ReadStatistics"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadStatistics:
    """Counts since the version was opened in this process; sizes in bytes."""

    views: int
    """Contiguous ranges handed out as mappings of their own."""
    viewed_bytes: int
    gathers: int
    """Ranges or selections of rows that were copied."""
    gathered_bytes: int
    refused_views: int
    """Ranges that were copied because the kernel refused another mapping (``vm.max_map_count``)."""

    def __add__(self, other: ReadStatistics) -> ReadStatistics:
        more = asdict(other)
        return ReadStatistics(**{name: count + more[name] for name, count in asdict(self).items()})


class ReadCounters:
    """The counters behind `ReadStatistics`; a forked child counts from zero."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self._owner = os.getpid()
        self._views = self._viewed = self._gathers = self._gathered = self._refused = 0

    def _here(self) -> None:
        if self._owner != os.getpid():
            self._start()

    def viewed(self, bytes: int) -> None:
        """Count a view."""
        self._here()
        self._views += 1
        self._viewed += bytes

    def gathered(self, bytes: int) -> None:
        """Count a copy."""
        self._here()
        self._gathers += 1
        self._gathered += bytes

    def refused(self) -> None:
        """Count a view that had to become a copy."""
        self._here()
        self._refused += 1

    def statistics(self) -> ReadStatistics:
        """Read the counters."""
        self._here()
        return ReadStatistics(
            views=self._views,
            viewed_bytes=self._viewed,
            gathers=self._gathers,
            gathered_bytes=self._gathered,
            refused_views=self._refused,
        )
