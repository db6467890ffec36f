"""One load of a version: from the disk tier what lies there, the rest from the store, warmed first where it is far, and kept for next time."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from alluxio_lance.layout import Pages
from alluxio_lance.lifecycle.ports import TableReader
from alluxio_lance.manager import OnProgress
from alluxio_lance.sidecar.budget import Room
from alluxio_lance.sidecar.disk import NO_DISK, DiskTier
from alluxio_lance.sidecar.loader import HotColumn, load, load_units
from alluxio_lance.sidecar.models.loading import load_model
from alluxio_lance.sidecar.plan import Plan
from alluxio_lance.sidecar.reading import SharedReader, Versions
from alluxio_lance.sidecar.units import Units, runs
from alluxio_lance.values import Version
from alluxio_lance.ways import CacheShare, DiskStatistics, FileWay, Way, all_blocks, bytes_by_way

__all__ = ["Loaded", "Loading", "UnitWish", "Wish"]


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be loaded, and how."""

    version: Version
    of: Hashable
    """What residency calls the version."""
    plan: Plan
    room: Room
    """Where memory is claimed."""
    prefer: Pages = Pages.HUGE
    """The best pages to use."""
    on_progress: OnProgress | None = None
    """Told of the steps ``disk``, ``cache`` and ``load``, each where there is one; must not raise."""
    cancelled: Callable[[], bool] = lambda: False
    """Asked all the time; when it says yes, the load ends with `Unavailable`."""


@dataclass(frozen=True, slots=True)
class UnitWish:
    """Which units of a version are to be loaded, all with the same columns."""

    version: Version
    units: Units
    """The version, narrowed to these columns."""
    numbers: Sequence[int]
    of: Callable[[int], Hashable]
    """What residency calls a unit."""
    reader: SharedReader
    """Opens the version in the store, when it must be."""
    room: Room
    ready: Callable[[int, list[HotColumn]], None]
    """Takes each unit over as soon as it is loaded."""
    cancelled: Callable[[], bool] = lambda: False
    """As in `Wish`."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a load brought into shared memory, in the order of the plan, and how."""

    columns: Sequence[HotColumn]
    ways: Mapping[Way, int]
    """Bytes by way: of files, for ``disk`` of segments."""
    cached_percent: int | None = None
    """How much of the version lay in the cache before the store at the end; None: it was not asked."""


_WHOLE: Final = 100
_AT_ONCE: Final = 8
"""Units that are loaded together, in parallel from the disk or in one pass from the store: others wait for the first."""


class Loading:
    """How versions get into shared memory.

    Parameters
    ----------
    versions
        The versions in the store.
    disk
        What this node keeps on its disk; None: nothing.
    """

    def __init__(self, versions: Versions, disk: DiskTier | None = None) -> None:
        self._versions = versions
        self._disk = disk

    def load(self, wish: Wish) -> Loaded:
        """Bring the columns of a plan into shared memory; exactly their ``bytes`` stay claimed.

        A version whose columns all lie on the disk is loaded without the store, which need not even answer.

        Raises
        ------
        NoSpace
            When they do not fit.
        NotFound, Restoring
            When the version is not served any more.
        Corrupt, Unavailable
            When the store does not give the rows that the version has, or cannot be read. After any error nothing
            stays claimed.
        """
        kept = {column.column.name: column for column in self._from_disk(wish)}
        missing = [column.name for column in wish.plan.columns if column.name not in kept]
        try:
            loaded = self._from_store(wish, missing) if missing else self._nothing_more(wish)
        except BaseException:
            _give_back(kept.values(), wish.room)
            raise
        if self._disk is not None and missing:
            self._disk.offer(wish.version, wish.of, wish.plan, loaded.columns)
        every = {**kept, **{column.column.name: column for column in loaded.columns}}
        from_disk = sum(segment.length for column in kept.values() for segment in column.column.segments)
        ways = {**loaded.ways, Way.DISK: from_disk} if kept else loaded.ways
        return Loaded(
            [every[column.name] for column in wish.plan.columns],
            {way: ways[way] for way in Way if way in ways},
            loaded.cached_percent,
        )

    def load_units(self, wish: UnitWish) -> None:
        """Bring units into shared memory: from the disk what lies there, the rest from the store, in passes of a few.

        Units do not warm the cache before the store: it would be filled with all of a version for the sake of a few rows.

        Raises
        ------
        NoSpace, NotFound, Restoring, Corrupt, Unavailable
            As of `load`. What was ready before an error stays loaded.
        """
        self._versions.check(wish.version)
        # In order of their numbers: consecutive units are read in one pass.
        numbers = sorted(wish.numbers)
        for start in range(0, len(numbers), _AT_ONCE):
            kept = self._units_from_disk(wish, numbers[start : start + _AT_ONCE])
            missing = {
                unit: tuple(name for name in wish.units.names if name not in {hot.column.name for hot in columns})
                for unit, columns in kept.items()
            }
            try:
                for unit in [unit for unit, names in missing.items() if not names]:
                    wish.ready(unit, kept.pop(unit))
                for names in dict.fromkeys(missing[unit] for unit in kept):
                    self._units_from_store(wish, names, [unit for unit in kept if missing[unit] == names], kept)
            except BaseException:
                _give_back((column for columns in kept.values() for column in columns), wish.room)
                raise

    def _units_from_disk(self, wish: UnitWish, numbers: Iterable[int]) -> dict[int, list[HotColumn]]:
        plans = {unit: wish.units.one(unit) for unit in numbers}
        if self._disk is None:
            return {unit: [] for unit in plans}
        return self._disk.load_units(wish.version.content_hash, plans, wish.room, cancelled=wish.cancelled)

    def _units_from_store(
        self, wish: UnitWish, names: Sequence[str], numbers: Sequence[int], kept: dict[int, list[HotColumn]]
    ) -> None:
        """Read columns of units, and hand over what is complete then; ``kept`` loses it."""
        units = wish.units.only(names)
        for first, stop in runs(numbers):
            start, _ = units.span(first, stop)
            with wish.reader.reading() as reader:
                loaded = load_units(reader, units.run(first, stop), start, wish.room, cancelled=wish.cancelled)
            for unit, columns in zip(range(first, stop), loaded, strict=True):
                if self._disk is not None and all(hot.column.kind is units.kind(hot.column.name) for hot in columns):
                    self._disk.offer(wish.version, wish.of(unit), units.one(unit), columns, unit)
                wish.ready(unit, [*kept.pop(unit), *columns])

    def _from_disk(self, wish: Wish) -> list[HotColumn]:
        if self._disk is None:
            return []
        return self._disk.load(
            wish.version.content_hash,
            wish.plan,
            wish.room,
            prefer=wish.prefer,
            on_progress=wish.on_progress,
            cancelled=wish.cancelled,
        )

    def _nothing_more(self, wish: Wish) -> Loaded:
        self._versions.check(wish.version)
        return Loaded((), {})

    def _from_store(self, wish: Wish, names: Sequence[str]) -> Loaded:
        reader, share = self._open(wish)
        with closing(reader):
            columns = (load_model if wish.plan.is_model else load)(
                reader,
                wish.plan.only(names),
                wish.room,
                prefer=wish.prefer,
                on_progress=wish.on_progress,
                cancelled=wish.cancelled,
            )
            ways = reader.ways
        try:
            return Loaded(columns, bytes_by_way(ways), self._percent(wish, ways, share))
        except BaseException:
            _give_back(columns, wish.room)
            raise

    def _open(self, wish: Wish) -> tuple[TableReader, CacheShare | None]:
        """Open the version, and warm the cache before it unless all of it lies in the blocks of this node.

        To ask the cache what it has takes about as long as to open the version, and those who wait for a load wait for
        it: a worker that has every block need not be asked.
        """
        reader = self._versions.open(wish.version)
        try:
            if all_blocks(reader.ways):
                return reader, None
            share = self._versions.warm(wish.version, wish.on_progress, lambda: not wish.cancelled())
        except BaseException:
            reader.close()
            raise
        if share is None:
            return reader, None
        # What was warmed is nearer now than when it was opened.
        reader.close()
        return self._versions.open(wish.version), share

    def _percent(self, wish: Wish, ways: Sequence[FileWay], share: CacheShare | None) -> int | None:
        if all_blocks(ways):
            return _WHOLE
        share = share or self._versions.share(wish.version)
        return None if share is None else share.percent

    def warm(self, version: Version, go_on: Callable[[], bool]) -> None:
        """Bring a version into the cache before the store, if the rules say so; a failure is logged."""
        self._versions.warm(version, None, go_on)

    def reader(self, version: Version) -> SharedReader:
        """Return what opens a version once for many loads of its units; the caller closes it."""
        return SharedReader(lambda: self._versions.open(version))

    def in_memory(self, version: Version, plan: Plan, unit: int, names: Sequence[str]) -> list[str]:
        """Choose the columns of a unit whose load takes memory: all but those that are mapped from this node's disk.

        Does not wait; what goes from the disk before the load takes memory after all.
        """
        disk = self._disk
        return [name for name in names if disk is None or not disk.maps(version.content_hash, plan, unit, name)]

    def maps_at_once(self, version: Version, plan: Plan, unit: int, names: Sequence[str]) -> bool:
        """Tell whether columns of a unit would all be mapped from this node's disk, unread; does not wait."""
        disk = self._disk
        return disk is not None and all(
            disk.maps(version.content_hash, plan, unit, name, checked=True) for name in names
        )

    # -- what becomes of it afterwards -----------------------------------------------------------------------------

    def used(self, version: Version) -> None:
        """Note that somebody opened a version; does not wait."""
        if self._disk is not None:
            self._disk.use(version.content_hash)

    def forget(self, of: Hashable) -> None:
        """Note that a version has left shared memory; does not wait."""
        if self._disk is not None:
            self._disk.forget(of)

    def disk_statistics(self) -> DiskStatistics:
        """Count what this node keeps on its disk."""
        return NO_DISK if self._disk is None else self._disk.statistics()


def _give_back(columns: Iterable[HotColumn], room: Room) -> None:
    for column in columns:
        column.close()
        room.release(column.bytes)
