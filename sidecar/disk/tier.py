"""The disk tier: what was in shared memory stays on the node's own disk, to be there again without the store."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import structlog

from alluxio_lance.layout import Pages
from alluxio_lance.manager import OnProgress
from alluxio_lance.sidecar.budget import Room
from alluxio_lance.sidecar.disk.background import Background, Offer, Offered
from alluxio_lance.sidecar.disk.entry import Key, bytes_of
from alluxio_lance.sidecar.disk.folder import DiskFolder
from alluxio_lance.sidecar.disk.index import Index
from alluxio_lance.sidecar.disk.mapping import open_columns
from alluxio_lance.sidecar.disk.marks import Checked
from alluxio_lance.sidecar.disk.reading import Bad, Found, NotNow, is_passing, read_columns
from alluxio_lance.sidecar.disk.uses import Uses
from alluxio_lance.sidecar.disk.writing import Abandoned, write_column
from alluxio_lance.sidecar.fill.column import HotColumn
from alluxio_lance.sidecar.plan import Plan
from alluxio_lance.values import Version
from alluxio_lance.ways import DiskStatistics

__all__ = ["NO_DISK", "DiskTier"]

_log = structlog.get_logger(__name__)

NO_DISK: Final = DiskStatistics(budget_bytes=0, used_bytes=0, columns=0, hits=0, misses=0, dropped_writes=0, corrupt=0)
"""The statistics of a node that keeps nothing on its disk."""


class DiskTier:
    """The columns on the disk of this node; safe to use from any thread.

    Parameters
    ----------
    folder
        Where they lie; it is closed with the tier.
    budget
        Tells how many bytes they may take, from what could be had for them: what is free, and what they have already.
    maps_units
        Hand out the files of units in place of memory.
    """

    def __init__(self, folder: DiskFolder, budget: Callable[[int], int], *, maps_units: bool = True) -> None:
        self._folder = folder
        self._index = Index(folder.recover())
        self._budget = budget(folder.free_bytes() + self._index.bytes)
        self._maps_units = maps_units
        self._checked = Checked()
        self._uses = Uses(folder.touch)
        self._used: dict[str, None] = {}
        """Content hashes that were used in shared memory since the order was last brought up to date."""
        self._hits = self._misses = self._corrupt = 0
        self._lock = threading.Lock()
        for digest in self._index.make_room(0, self._budget):
            folder.remove(digest)
        self._background = Background(self._write)

    @classmethod
    def open(cls, path: Path, budget: Callable[[int], int], *, maps_units: bool = True) -> Self:
        """Open a folder, which is made when it is missing; what a death left in it is removed.

        Raises
        ------
        AlreadyExists
            When another sidecar uses it.
        PermissionDenied, Unavailable
            When it cannot be used.
        """
        folder = DiskFolder.open(path)
        try:
            return cls(folder, budget, maps_units=maps_units)
        except BaseException:
            folder.close()
            raise

    # -- loading ---------------------------------------------------------------------------------------------------

    def load(
        self,
        content_hash: str,
        plan: Plan,
        room: Room,
        *,
        prefer: Pages = Pages.HUGE,
        on_progress: OnProgress | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> list[HotColumn]:
        """Bring what lies here of a plan's columns into shared memory; arguments and errors as of `read_columns`.

        A column whose bytes are not what was written is thrown away, and missing in what is returned. One that cannot be
        read for the moment is missing, too, but stays.
        """
        found = self._find(content_hash, plan)
        self._count_missing(len(plan.columns) - len(found))
        brought = self._bring(found, plan, room, prefer=prefer, on_progress=on_progress, cancelled=cancelled)
        return [hot for _, hot in brought]

    def load_units(
        self, content_hash: str, plans: Mapping[int, Plan], room: Room, *, cancelled: Callable[[], bool]
    ) -> dict[int, list[HotColumn]]:
        """Make readable what lies here of units, all of them in parallel; errors as of `load`.

        It is mapped from the files, or brought into shared memory where that is not wanted.

        Parameters
        ----------
        plans
            What is wanted of each unit, by its number; none is empty.
        """
        found: list[Found] = []
        for unit, plan in plans.items():
            here = self._find(content_hash, plan, unit)
            self._count_missing(len(plan.columns) - len(here))
            found += here
        hot: dict[int, list[HotColumn]] = {unit: [] for unit in plans}
        label = next(iter(plans.values()))
        if self._maps_units:
            made = self._noted(found, label, *open_columns(found, label, self._checked, cancelled=cancelled))
        else:
            made = self._bring(found, label, room, prefer=Pages.SMALL, cancelled=cancelled)
        for one, column in made:
            assert one.entry.key.unit is not None
            hot[one.entry.key.unit].append(column)
        return hot

    def maps(self, content_hash: str, plan: Plan, unit: int, name: str, *, checked: bool = False) -> bool:
        """Tell whether a column of a unit would now be mapped from its file; does not wait.

        Parameters
        ----------
        checked
            Only when its file was found right in this run, so that it need not be read for that.
        """
        if not self._maps_units:
            return False
        column = next(column for column in plan.columns if column.name == name)
        digest = Key.of(content_hash, plan, column, unit).digest
        return self._index.find(digest) is not None and (not checked or self._checked.knows(digest))

    def _bring(
        self,
        found: Sequence[Found],
        plan: Plan,
        room: Room,
        *,
        prefer: Pages,
        cancelled: Callable[[], bool],
        on_progress: OnProgress | None = None,
    ) -> list[tuple[Found, HotColumn]]:
        """Read columns whose files are open, and close these."""
        try:
            hot, bad = read_columns(found, plan, room, prefer=prefer, on_progress=on_progress, cancelled=cancelled)
        finally:
            for one in found:
                one.close()
        return self._noted(found, plan, hot, bad)

    def _noted(
        self, found: Sequence[Found], plan: Plan, hot: Sequence[HotColumn], bad: Sequence[tuple[Found, Bad]]
    ) -> list[tuple[Found, HotColumn]]:
        """Throw away what is bad, note the use of the rest, and return it with what was made of it."""
        for one, fault in bad:
            self._note_fault(one, plan, fault)
        missing = sum(isinstance(fault, NotNow) for _, fault in bad)
        with self._lock:
            self._corrupt += len(bad) - missing
            self._misses += missing
            self._hits += len(hot)
        faulty = {one.entry.key.digest for one, _ in bad}
        good = [one for one in found if one.entry.key.digest not in faulty]
        self._uses.note([one.entry.key.digest for one in good if self._index.use(one.entry.key.digest)])
        return list(zip(good, hot, strict=True))

    def _note_fault(self, one: Found, plan: Plan, fault: Bad) -> None:
        """Throw a column away, unless its bytes may well be right."""
        if isinstance(fault, NotNow):
            _not_now(one.plan.name, fault)
            return
        _log.error(
            "a column in the disk tier is corrupt and goes; it is read from the store instead",
            version=plan.label,
            column=one.plan.name,
            error=str(fault),
        )
        self._drop(one.entry.key.digest)

    def _count_missing(self, columns: int) -> None:
        with self._lock:
            self._misses += columns

    def _find(self, content_hash: str, plan: Plan, unit: int | None = None) -> list[Found]:
        """Open the files of what is there: once open they can be read, whatever is evicted meanwhile."""
        found: list[Found] = []
        for column in plan.columns:
            entry = self._index.find(Key.of(content_hash, plan, column, unit).digest)
            if entry is None:
                continue
            files: list[int] = []
            try:
                files.extend(self._folder.open_segments(entry))
            except OSError as error:
                for file in files:
                    os.close(file)
                if is_passing(error):
                    # For want of descriptors nothing at all can be opened: the whole tier would go, column by column.
                    _not_now(column.name, error)
                    continue
                _log.warning("a column in the disk tier cannot be opened", column=column.name, error=str(error))
                self._drop(entry.key.digest)
            else:
                found.append(Found(column, entry, tuple(files)))
        return found

    # -- keeping ---------------------------------------------------------------------------------------------------

    def offer(
        self, version: Version, of: Hashable, plan: Plan, columns: Sequence[HotColumn], unit: int | None = None
    ) -> None:
        """Keep columns that were loaded from the store, when there is time; does not wait.

        Parameters
        ----------
        version
            Whose they are.
        of
            What `forget` will call it.
        plan
            The plan that they were loaded by.
        columns
            They stay the caller's.
        unit
            Which unit they are of; None: they are whole columns.
        """
        offered: list[Offered] = []
        plans = {column.name: column for column in plan.columns}
        try:
            for hot in columns:
                key = Key.of(version.content_hash, plan, plans[hot.column.name], unit)
                offered.append(Offered(key, hot.column, _duplicates(hot.descriptors)))
        except OSError as error:
            _log.warning("the disk tier could not take a version over", version=version.uri, error=str(error))
        offer = Offer(of, (version.type, version.name), version.content_hash, offered)
        self._background.count_dropped(len(columns) - len(offered))
        if sum(bytes_of(each.column) for each in offered) > self._budget:
            self._background.refuse(offer)
        else:
            self._background.put(offer)

    def use(self, content_hash: str) -> None:
        """Note that a version was used in shared memory; does not wait."""
        with self._lock:
            self._used.pop(content_hash, None)
            self._used[content_hash] = None

    def forget(self, of: Hashable) -> None:
        """Let go of the memory of a version that is hot no longer; what is on the disk stays. Does not wait."""
        self._background.forget(of)

    def keep_only(self, owner: tuple[str, str], content_hashes: Collection[str]) -> None:
        """Remove what is kept for a resource of other versions than these: it was purged."""
        # First what is on its way: a column comes into the index before its writer looks whether it was purged.
        self._background.purge(owner, content_hashes)
        for digest in self._index.belonging(owner, besides=content_hashes):
            self._drop(digest)

    def owners(self) -> set[tuple[str, str]]:
        """Return type and name of all resources that something is kept for."""
        return self._index.owners()

    def _write(self, offer: Offer, offered: Offered) -> None:
        digest, is_unit = offered.key.digest, offered.key.unit is not None
        if self._index.find(digest) is not None:
            return
        if not offer.wanted:
            raise Abandoned
        need = bytes_of(offered.column)
        if need > self._index.spare_room(self._budget, offer.content_hash):
            raise Abandoned
        if self._index.bytes + need > self._budget:
            # Only now the order matters: a version may have a hundred thousand units.
            self._note_uses()
        for one in self._index.make_room(need, self._budget, spare=offer.content_hash):
            self._remove(one)
        self._folder.finish_removals()
        entry = write_column(
            self._folder.path,
            offered.key,
            offer.owner,
            offered.column,
            offered.descriptors,
            # A unit that has left shared memory is so small that its write is rather ended than lost.
            go_on=lambda: offer.wanted or (is_unit and not offer.purged),
            copied=offered.close,
            # Units come by the thousand, and a disk that flushed each would not keep up.
            flushed=not is_unit,
        )
        with suppress(OSError):
            # Hashed on their way to the kernel: what it has of them now needs no second look.
            self._checked.note(digest, self._folder.marks(entry))
        self._uses.note([digest])
        self._index.add(entry)
        if offer.purged:
            self._drop(digest)

    def _note_uses(self) -> None:
        """Bring the order of the columns up to date with what was used in shared memory."""
        with self._lock:
            used, self._used = list(self._used), {}
        for content_hash in used:
            self._uses.note([digest for digest in self._index.of([content_hash]) if self._index.use(digest)])

    def _drop(self, digest: str) -> None:
        if self._index.drop(digest):
            self._remove(digest)

    def _remove(self, digest: str) -> None:
        """Remove the files. Who has them open reads on: they are unlinked, and never cut."""
        self._checked.forget(digest)
        self._folder.remove(digest)

    # -- looking, and the end --------------------------------------------------------------------------------------

    def statistics(self) -> DiskStatistics:
        """Count what is kept now and what was done since the start."""
        with self._lock:
            return DiskStatistics(
                budget_bytes=self._budget,
                used_bytes=self._index.bytes,
                columns=len(self._index),
                hits=self._hits,
                misses=self._misses,
                dropped_writes=self._background.dropped,
                corrupt=self._corrupt,
            )

    def settle(self, timeout: float = 60.0) -> bool:
        """Wait, at most so many seconds, until all that was offered is written or dropped; returns whether it is."""
        return self._background.settle(timeout)

    def close(self) -> None:
        """End: what is not written by now is not kept. A second call does nothing."""
        self._background.close()
        self._note_uses()
        self._uses.flush()
        self._folder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _not_now(column: str, error: Exception) -> None:
    _log.warning(
        "a column in the disk tier cannot be read now; it is read from the store instead",
        column=column,
        error=str(error),
    )


def _duplicates(descriptors: Sequence[int]) -> tuple[int, ...]:
    """Duplicate descriptors, all or none; `OSError` when there are too many open files."""
    made: list[int] = []
    try:
        made.extend(os.dup(descriptor) for descriptor in descriptors)
    except OSError:
        for descriptor in made:
            os.close(descriptor)
        raise
    return tuple(made)
