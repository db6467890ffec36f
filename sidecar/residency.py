"""What is hot on this node: which versions are in shared memory, why, and which one goes when another needs the room."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from alluxio_lance.errors import Conflict, Leased, Unavailable
from alluxio_lance.layout import Pages
from alluxio_lance.lifecycle.ports import TableReader
from alluxio_lance.manager import OnProgress
from alluxio_lance.sidecar.budget import Budget
from alluxio_lance.sidecar.loader import HotColumn, load
from alluxio_lance.sidecar.plan import DEFAULT_SHARD_BYTES
from alluxio_lance.sidecar.resident import Hold, Key, Load, Resident, key_of
from alluxio_lance.sidecar.statistics import CacheStatistics, Role
from alluxio_lance.values import Version

__all__ = ["CacheEvent", "Residency"]

_EVICTION_ORDER: Final = (Role.CACHED, Role.PREVIOUS, Role.ACTIVE)


@dataclass(frozen=True, slots=True)
class CacheEvent:
    """Something happened to a version in shared memory: ``loading``, ``hot``, ``evicted`` or ``failed``."""

    event: str
    version: Version
    message: str = ""
    """Why it failed, when it did."""


class Residency:
    """All versions in the shared memory of this node; safe to use from any thread.

    Parameters
    ----------
    open_reader
        Opens a version in the store.
    budget
        Bytes that all versions may take together.
    keep_previous
        How many versions that were active before stay hot for an instant rollback, per resource.
    shard_bytes
        What the segments of the widest column should have.
    prefer
        The best pages to use.
    on_event
        Told what happens, from the thread in which it happens, without a lock held.
    """

    def __init__(
        self,
        open_reader: Callable[[Version], TableReader],
        budget: Budget,
        *,
        keep_previous: int = 1,
        shard_bytes: int = DEFAULT_SHARD_BYTES,
        prefer: Pages = Pages.HUGE,
        on_event: Callable[[CacheEvent], None] | None = None,
    ) -> None:
        self._open_reader = open_reader
        self._budget = budget
        self._keep_previous = keep_previous
        self._shard_bytes = shard_bytes
        self._prefer = prefer
        self._on_event = on_event
        self._residents: dict[Key, Resident] = {}
        self._active: dict[tuple[str, str], int] = {}
        self._previous: dict[tuple[str, str], list[int]] = {}
        self._events: list[CacheEvent] = []
        """What happened under the lock and is told after it."""
        self._opens = self._hits = self._evictions = self._failed = 0
        self._closed = False
        self._lock = threading.RLock()

    # -- readers ---------------------------------------------------------------------------------------------------

    def open(
        self,
        version: Version,
        columns: Sequence[str] | None = None,
        *,
        holder: str = "",
        on_progress: OnProgress | None = None,
    ) -> Hold:
        """Make columns of a version hot, if they are not, and hold them.

        Parameters
        ----------
        version
            Which version.
        columns
            Which columns, in the order wanted; all by default.
        holder
            Names the reader in a refusal to evict.
        on_progress
            Told how far the load is; must not raise.

        Returns
        -------
        Hold
            The segments; they stay until it is released.

        Raises
        ------
        NotFound
            When there is no such column.
        NoSpace
            When it does not fit, even with everything gone that may go. Then nothing was evicted.
        Corrupt, Unavailable
            When the store does not give the rows that the version has, or cannot be read.
        """
        return self._ensure(version, columns, on_progress, lambda resident, names: resident.hold(names, holder, self._let_go))

    def prefetch(
        self, version: Version, columns: Sequence[str] | None = None, *, on_progress: OnProgress | None = None
    ) -> None:
        """Make columns of a version hot without holding them; errors as in `open`."""
        self._ensure(version, columns, on_progress, lambda resident, names: None)

    def is_hot(self, version: Version, columns: Sequence[str] | None = None) -> bool:
        """Say whether an open would find all these columns (all by default) hot."""
        with self._lock:
            resident = self._residents.get(key_of(version))
            if resident is None:
                return False
            wanted = [column.name for column in resident.plan.columns] if columns is None else columns
            return all(name in resident.columns for name in wanted)
