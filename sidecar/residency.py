"""What is hot on this node: which versions are in shared memory, why, and which one goes when another needs the room."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, Self

from alluxio_lance.errors import Conflict, Leased, Unavailable
from alluxio_lance.layout import Pages
from alluxio_lance.manager import OnProgress
from alluxio_lance.sidecar.budget import Budget
from alluxio_lance.sidecar.loading import Loaded, Loading, Wish
from alluxio_lance.sidecar.plan import DEFAULT_SHARD_BYTES
from alluxio_lance.sidecar.resident import Hold, Load, Resident, describe, key_of
from alluxio_lance.sidecar.shelf import Shelf
from alluxio_lance.sidecar.statistics import CacheStatistics, ResidentVersion, Role
from alluxio_lance.sidecar.windows import PATIENCE, Windows
from alluxio_lance.values import Version
from alluxio_lance.ways import Way

__all__ = ["CacheEvent", "Residency"]


@dataclass(frozen=True, slots=True)
class CacheEvent:
    """Something happened to a version in shared memory: ``loading``, ``hot``, ``evicted`` or ``failed``."""

    event: str
    version: Version
    message: str = ""
    """Why it failed, when it did."""


_WHY: Final = tuple(Role)
"""Of several reasons for which parts of a version are here, the first one counts."""


def _always() -> bool:
    """Say that a load is wanted to its end."""
    return True


class Residency:
    """All versions in the shared memory of this node; safe to use from any thread.

    Parameters
    ----------
    loading
        Brings versions into shared memory.
    budget
        Bytes that all versions may take together.
    keep_previous
        How many versions that were active before stay hot for an instant rollback, per resource.
    shard_bytes
        What the segments of the widest column should have.
    prefer
        The best pages to use.
    patience
        Seconds that a window waits for room which others hold.
    on_event
        Told what happens, from the thread in which it happens, without a lock held; must not raise.
    """

    def __init__(
        self,
        loading: Loading,
        budget: Budget,
        *,
        keep_previous: int = 1,
        shard_bytes: int = DEFAULT_SHARD_BYTES,
        prefer: Pages = Pages.HUGE,
        patience: float = PATIENCE,
        on_event: Callable[[CacheEvent], None] | None = None,
    ) -> None:
        self._loading = loading
        self._budget = budget
        self._shelf = Shelf(budget, keep_previous, self._dropped)
        self._lock = threading.Condition(threading.Lock())
        self.windows = Windows(loading, budget, self._shelf, self._lock, self._locked, patience=patience)
        """What is read of versions that do not fit as a whole."""
        self._shard_bytes = shard_bytes
        self._prefer = prefer
        self._on_event = on_event
        self._events: list[CacheEvent] = []
        """What happened under the lock and is told after it."""
        self._opens = self._hits = self._failed = 0
        self._closed = False

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
            Which columns, in the order wanted; None or empty means all.
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
        return self._claim(version, columns, holder, on_progress, counted=True)

    def open_hot(self, version: Version, columns: Sequence[str] | None = None, *, holder: str = "") -> Hold | None:
        """Hold columns of a version as `open` does, if all of them are hot; None when one would have to be loaded.

        Never waits.
        """
        with self._locked():
            resident = None if self._closed else self._shelf.find(version)
            if resident is None:
                return None
            names = resident.wanted(columns)
            if any(name not in resident.columns for name in names):
                return None
            self._opens += 1
            self._hits += 1
            return self._hold(resident, names, holder, counted=True)

    def prefetch(
        self,
        version: Version,
        columns: Sequence[str] | None = None,
        *,
        on_progress: OnProgress | None = None,
        go_on: Callable[[], bool] = _always,
    ) -> None:
        """Make columns of a version hot without holding them; arguments and errors as in `open`.

        Parameters
        ----------
        go_on
            Whether this is still wanted: a load that nobody wants any more ends with `Unavailable`.
        """
        self._claim(version, columns, "prefetch", on_progress, go_on, counted=False).release()

    def warm(self, version: Version, *, go_on: Callable[[], bool] = _always) -> None:
        """Bring a version that was loaded from this node's disk into the cache before the store too, if the rules say so.

        The next node that needs it finds it there, and so does this one when its disk has dropped it. A failure is
        logged.
        """
        with self._locked():
            resident = self._shelf.find(version)
            from_disk = resident is not None and set(resident.ways) == {Way.DISK}
        if from_disk:
            self._loading.warm(version, go_on)

    def _claim(
        self,
        version: Version,
        columns: Sequence[str] | None,
        holder: str,
        on_progress: OnProgress | None,
        go_on: Callable[[], bool] = _always,
        *,
        counted: bool,
    ) -> Hold:
        fresh = counted
        while True:
            with self._locked():
                resident = self._find(version)
                names = resident.wanted(columns)
                missing = [name for name in names if name not in resident.columns]
                self._opens += fresh
                self._hits += fresh and not missing
                fresh = False
                if not missing:
                    self._shelf.put(resident)
                    return self._hold(resident, names, holder, counted=counted)
                running = resident.load
                mine = self._begin(resident, missing) if running is None else running
                mine.join(go_on)
                mine.listen(on_progress)
            if running is None:
                loaded = self._load(resident, mine, names)
                with self._locked():
                    self._publish(resident, mine, loaded)
                    return self._hold(resident, names, holder, counted=counted)
            error = running.wait()
            if error is not None and running.says(error, missing):
                raise error

    def _find(self, version: Version) -> Resident:
        if self._closed:
            raise Unavailable("the sidecar is shutting down - open the version again when it is back", what="sidecar")
        return self._shelf.find(version) or Resident.of(version, self._shard_bytes)

    def _hold(self, resident: Resident, names: Sequence[str], holder: str, *, counted: bool) -> Hold:
        if counted:
            resident.opened_at = datetime.now(UTC)
            self._loading.used(resident.version)
        return resident.hold(names, holder, self._let_go)

    def _let_go(self, resident: Resident, holder: str) -> None:
        with self._locked():
            resident.holders.remove(holder)
            resident.touch()
            self._shelf.drop_if_unwanted(resident)

    # -- loading ---------------------------------------------------------------------------------------------------

    def _begin(self, resident: Resident, missing: Sequence[str]) -> Load:
        self._shelf.put(resident)
        resident.retired = False
        resident.load = Load(missing)
        self._events.append(CacheEvent("loading", resident.version))
        return resident.load

    def _load(self, resident: Resident, mine: Load, wanted: Sequence[str]) -> Loaded:
        started = time.monotonic()
        plan = resident.plan
        wish = Wish(
            resident.version,
            key_of(resident.version),
            plan.only([column.name for column in plan.columns if column.name in mine.columns]),
            _EvictingRoom(self, resident, wanted),
            self._prefer,
            mine.report,
            lambda: self._closed or mine.unwanted(),
        )
        try:
            if wish.plan.need > self._budget.limit:
                # Before anything is evicted for the part of it that lies on the disk.
                raise self._budget.refusal(wish.plan.need)
            loaded = self._loading.load(wish)
        except BaseException as error:
            self._fail(resident, mine, error)
            raise
        resident.load_seconds = time.monotonic() - started
        return loaded

    def _fail(self, resident: Resident, mine: Load, error: BaseException) -> None:
        with self._locked():
            resident.load = None
            self._failed += not mine.given_up
            self._events.append(CacheEvent("failed", resident.version, str(error)))
            if not resident.columns:
                del self._shelf.residents[resident.key]
            self._shelf.drop_if_unwanted(resident)
        mine.end(error)

    def _publish(self, resident: Resident, mine: Load, loaded: Loaded) -> None:
        resident.load = None
        if self._closed:
            for column in loaded.columns:
                column.close()
            self._budget.release(sum(column.bytes for column in loaded.columns))
            error = Unavailable(f"the load of {resident.plan.label} was cut off by the shutdown", what="sidecar")
            mine.end(error)
            raise error
        resident.columns.update((column.column.name, column) for column in loaded.columns)
        resident.ways, resident.cached_percent = loaded.ways, loaded.cached_percent
        self._events.append(CacheEvent("hot", resident.version))
        mine.end()

    def _dropped(self, resident: Resident) -> None:
        """Note that columns of a version or a unit have left; the lock is held, and what it is told does not wait."""
        self._loading.forget(resident.key)
        if not resident.is_unit and not resident.columns:
            self._events.append(CacheEvent("evicted", resident.version))

    def make_room(self, resident: Resident, wanted: Sequence[str], need: int, huge: int) -> None:
        """Claim bytes for a load of who wants these columns; what nobody reads makes room."""
        with self._locked():
            self._shelf.make_room([resident], need, huge, wanted=wanted)

    def give_room(self, size: int) -> None:
        """Give back what a load has claimed and does not need."""
        self._budget.release(size)

    # -- the pointer and eviction ----------------------------------------------------------------------------------

    def set_active(self, type: str, name: str, semver: str | None) -> None:
        """Note that the pointer of a resource has moved; loads nothing.

        The version that was active before is kept as a previous one. Versions beyond ``keep_previous``, and that of a
        resource without any active version now, go as soon as nobody holds them.
        """
        with self._locked():
            self._shelf.move(type, name, semver)

    def retire(self, version: Version) -> None:
        """Note that a version was deprecated or archived, or is gone: it goes as soon as nobody holds it."""
        with self._locked():
            self._shelf.retire(version)

    def resident(self, type: str, name: str) -> list[Version]:
        """List the versions of a resource that are here or on their way."""
        with self._locked():
            here = [resident for key, resident in self._shelf.residents.items() if key[:2] == (type, name)]
            return list({resident.key[:4]: resident.version for resident in here}.values())

    def forget(self, type: str, name: str) -> None:
        """Note that a resource was deleted: all its versions go as soon as nobody holds them."""
        with self._locked():
            self._shelf.forget(type, name)

    def evict(self, version: Version) -> int:
        """Drop a version from shared memory, and all its units that nobody holds.

        Returns
        -------
        int
            Bytes that are free again; 0 when it was not there.

        Raises
        ------
        Leased
            While somebody holds it; ``details["holders"]`` has the names that the holders gave to `open`.
        Conflict
            While it is being loaded.
        """
        with self._locked():
            resident = self._shelf.find(version)
            here = [*([resident] if resident else []), *self._shelf.units(version)]
            freed = sum(self._shelf.drop(one) for one in here if one.idle)
            busy = [one for one in here if not one.idle]
            # Of units some are always in use: what could go has gone.
            if not busy or (freed and resident not in busy):
                return freed
            holders = list(dict.fromkeys(holder for one in busy for holder in one.holders))
            if holders:
                raise Leased(
                    f"{version.uri} is read by {len(holders)}: {', '.join(holders)} - end them, or wait",
                    holders=holders,
                )
            raise Conflict(f"{version.uri} is being loaded - try again when it is hot")

    # -- looking ---------------------------------------------------------------------------------------------------

    def is_hot(self, version: Version, columns: Sequence[str] | None = None) -> bool:
        """Say whether an open would find all these columns (all by default) hot."""
        with self._locked():
            resident = self._shelf.find(version)
            if resident is None:
                return False
            wanted = resident.wanted(columns)
            return all(name in resident.columns for name in wanted)

    def statistics(self) -> CacheStatistics:
        """Count what is hot now and what was done since the start."""
        with self._locked():
            return CacheStatistics(
                budget_bytes=self._budget.limit,
                used_bytes=self._budget.used,
                versions=self._described(),
                opens=self._opens,
                hits=self._hits,
                evictions=self._shelf.dropped,
                failed_loads=self._failed,
                disk=replace(
                    self._loading.disk_statistics(),
                    mapped_bytes=sum(resident.mapped_bytes for resident in self._shelf.residents.values()),
                ),
            )

    def _described(self) -> tuple[ResidentVersion, ...]:
        """Describe what is here, all that is here of one version in one."""
        grouped: dict[tuple[object, ...], list[Resident]] = {}
        for resident in self._shelf.residents.values():
            grouped.setdefault(resident.key[:4], []).append(resident)
        return tuple(describe(group, min(map(self._shelf.role, group), key=_WHY.index)) for group in grouped.values())

    # -- the end ---------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Cut off running loads, and close all segments; readers keep what they have mapped. A second call does nothing."""
        self.windows.close()
        with self._locked():
            self._closed = True
            loads = [r.load for r in self._shelf.residents.values() if r.load is not None]
        for running in loads:
            running.wait()
        with self._locked():
            for resident in list(self._shelf.residents.values()):
                self._shelf.drop(resident)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock, then tell what happened under it."""
        try:
            with self._lock:
                yield
        finally:
            with self._lock:
                # Whatever it was: somebody may wait for it.
                self._lock.notify_all()
                events, self._events = self._events, []
            if self._on_event is not None:
                for event in events:
                    self._on_event(event)


class _EvictingRoom:
    """The budget as one load sees it: what nobody reads makes room."""

    def __init__(self, residency: Residency, resident: Resident, wanted: Sequence[str]) -> None:
        self._residency = residency
        self._resident = resident
        self._wanted = wanted

    def reserve(self, need: int, *, huge: int = 0) -> None:
        self._residency.make_room(self._resident, self._wanted, need, huge)

    def release(self, size: int) -> None:
        self._residency.give_room(size)
