"""Windows: units of a version that are hot together, though the whole would not fit.

A window claims all the room that it needs before it loads anything, and holds nothing while it waits for room, so that
two of them never wait for each other.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Final

import structlog

from alluxio_lance.errors import AlluxioLanceError, InvalidArgument, NoSpace, Unavailable
from alluxio_lance.layout import ColumnKind
from alluxio_lance.sidecar import mapped_all
from alluxio_lance.sidecar.budget import Budget, size_text
from alluxio_lance.sidecar.claim import Asker, Claim, MoreRoom, PaidRoom
from alluxio_lance.sidecar.loading import Loading
from alluxio_lance.sidecar.models.planning import is_model_version
from alluxio_lance.sidecar.plan import DEFAULT_SHARD_BYTES
from alluxio_lance.sidecar.promises import Promises
from alluxio_lance.sidecar.resident import Hold, Key, Load, Resident, key_of, layout_of
from alluxio_lance.sidecar.shelf import Shelf
from alluxio_lance.sidecar.stream import Stream, Streamed, joined
from alluxio_lance.sidecar.unit_loads import UnitLoads
from alluxio_lance.sidecar.units import Units
from alluxio_lance.values import Version

__all__ = ["PATIENCE", "Asker", "Stream", "Windows"]

_log = structlog.get_logger(__name__)

PATIENCE: Final = 600.0
"""Seconds that a window waits for room which others hold."""
_AGAIN: Final = 0.2
"""Seconds between two looks whether its reader still waits."""
_AT_ONCE: Final = 8
"""Units that are asked for ahead and loaded at once: between two such steps it is seen whether they are still wanted."""
_MOST_UNITS: Final = 4096
"""Units of a window that is not asked for otherwise: 32 GiB of the widest column, and their numbers fit into a packet."""
_WINDOWS: Final = 2
"""Windows of one reader that the budget has room for: the one that is read, and the next one."""


class Windows:
    """The windows of a node's residency, which share its lock, its budget and its shelf; safe to use from any thread.

    Parameters
    ----------
    changed
        Residency's lock; it is notified whenever something was let go.
    locked
        Holds it, and tells afterwards what happened.
    patience
        Seconds that a window waits for room which others hold.
    """

    def __init__(
        self,
        loading: Loading,
        budget: Budget,
        shelf: Shelf,
        changed: threading.Condition,
        locked: Callable[[], AbstractContextManager[None]],
        *,
        patience: float = PATIENCE,
    ) -> None:
        self._loading = loading
        self._budget = budget
        self._shelf = shelf
        self._changed = changed
        self._locked = locked
        self._patience = patience
        self._streamed: dict[Key, Streamed] = {}
        self._promises = Promises()
        self._loads = UnitLoads(loading, budget, shelf, locked)
        self._waiting = 0
        """Windows that wait for room."""
        self._closed = False

    # -- versions --------------------------------------------------------------------------------------------------

    def open(self, version: Version, columns: Sequence[str] | None, asker: Asker) -> Stream:
        """Begin to read a version window by window.

        Loads nothing, but for one unit when there are columns without a fixed width: only then it is known what they
        take.

        Raises
        ------
        NotFound
            When there is no such column, or the version is not served any more.
        NoSpace
            When not even one unit fits into the budget.
        InvalidArgument
            When it is a model.
        """
        if is_model_version(version):
            raise InvalidArgument(
                f"{version.uri} is a model, which is read as a whole - open it without streaming, as load_model does"
            )
        stream = self._begin_stream(version, columns)
        try:
            guessed = {each.name for each in stream.units.plan.columns if each.shape.kind is not ColumnKind.FIXED}
            if stream.units.count and not guessed <= stream.streamed.growth.keys():
                self.hold(stream, [0], asker).release()
            most = self._budget.limit // _WINDOWS // max(stream.streamed.expected(stream.units), 1)
            stream.window_units = max(min(most, stream.units.count, _MOST_UNITS), 1)
        except BaseException:
            stream.release()
            raise
        return stream

    def _begin_stream(self, version: Version, columns: Sequence[str] | None) -> Stream:
        with self._locked():
            self._check_open()
            key = key_of(version)
            streamed = self._streamed.get(key)
            if streamed is None:
                units = Units.of(Resident.of(version, DEFAULT_SHARD_BYTES).plan)
                streamed = Streamed(version, units, self._loading.reader(version))
            names = [column.name for column in (streamed.units.plan.only(columns or streamed.units.names)).columns]
            units = streamed.units.only(names)
            if units.need() > self._budget.limit:
                raise self._too_large(units, 1, units.need())
            self._streamed[key] = streamed
            streamed.streams += 1
            return Stream(streamed, units, lambda: self._end(streamed))

    def could_stream(self, version: Version, columns: Sequence[str] | None = None) -> bool:
        """Say whether a version that does not fit as a whole can be read window by window."""
        if is_model_version(version):
            return False
        units = Units.of(Resident.of(version, DEFAULT_SHARD_BYTES).plan)
        return 0 < units.only(columns or units.names).need() <= self._budget.limit

    def _end(self, streamed: Streamed) -> None:
        with self._locked():
            streamed.streams -= 1
            if streamed.streams:
                return
            self._streamed.pop(key_of(streamed.version), None)
        streamed.reader.close()

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable("the sidecar is shutting down - open the version again when it is back", what="sidecar")

    # -- windows ---------------------------------------------------------------------------------------------------

    def hold(self, stream: Stream, numbers: Sequence[int], asker: Asker, *, at_once: bool = False) -> Hold:
        """Make units hot, if they are not, and hold them together; waits for loads, and for room that others hold.

        Parameters
        ----------
        at_once
            Do not wait for room, and take none that somebody else has a use for: so a reader may hold a window while it
            asks for the next one, and nobody waits for one who waits.

        Returns
        -------
        Hold
            Its layout has the units as shards, in the order of ``numbers``.

        Raises
        ------
        InvalidArgument
            When the units make no window: see `Units.check`.
        NoSpace
            When they can never fit, others held the room for too long, or there is none at once.
        NotFound, Restoring
            When the version is not served any more.
        Corrupt, Unavailable
            When it cannot be loaded, or the reader is gone.
        """
        stream.units.check(numbers)
        until = time.monotonic() + self._patience
        shortage: NoSpace | None = None
        while True:
            with self._locked():
                if shortage is not None:
                    if time.monotonic() >= until or not self._narrow(stream, numbers):
                        self._wait(stream, numbers, shortage, until)
                    shortage = None
                claim = (
                    self._claim_spare(stream, numbers, asker) if at_once else self._claim(stream, numbers, asker, until)
                )
                others = self._join(claim, asker)
            try:
                hold = self._loaded(stream, claim, others, asker)
            except NoSpace as error:
                # Rows of no fixed width took more than was guessed.
                if at_once:
                    raise
                shortage = error
                continue
            if hold is not None:
                return hold

    def hold_mapped(self, stream: Stream, asker: Asker) -> Hold:
        """Hold all units of a version together, each mapped from this node's disk: they take no room of the budget.

        Returns
        -------
        Hold
            As of `hold`, with the units in the order of their numbers.

        Raises
        ------
        NoSpace
            When one of them was not read from the disk in this run, or is in memory and in use, when they are too many
            files, or when the page cache could not hold what they have. It may be otherwise at the next window.
        NotFound, Restoring, Corrupt, Unavailable
            As of `hold`.
        """
        mapped_all.check(stream, self._loading, self._budget)
        with self._locked():
            self._check_open()
            claim = self._begin_mapped(stream, asker)
            others = self._join(claim, asker)
        hold = self._loaded(stream, claim, others, asker)
        if hold is None:
            raise mapped_all.refusal(stream, "was loaded in another way meanwhile")
        return hold

    def _join(self, claim: Claim, asker: Asker) -> list[Load]:
        """Hold what a claim is about, under the lock, and list the loads of others that it has to wait for."""
        for resident in claim.residents:
            resident.holders.append(asker.holder)
            resident.touch()
        return [load for one in claim.residents if (load := one.load) and one not in claim.missing]

    def _loaded(self, stream: Stream, claim: Claim, others: Sequence[Load], asker: Asker) -> Hold | None:
        """Run the loads of a claim and wait for those of others; None when one of these has spoiled it."""
        try:
            self._loads.run(claim)
            awaited = set(others)
            for load in others:
                _raise_failure(load, awaited, stream.units.names)
            with self._locked():
                if claim.complete:
                    self._promises.keep(claim.residents, asker.owner)
                    return self._hold(stream, claim, asker.holder)
        except BaseException:
            self._let_go(claim.residents, asker.holder)
            raise
        # Somebody else's load brought other columns, was given up, or found lists with null items.
        self._let_go(claim.residents, asker.holder)
        return None

    def ahead(self, stream: Stream, numbers: Sequence[int], asker: Asker) -> None:
        """Load units that will be wanted soon, as far as there is room that nobody has a use for; never fails.

        They stay, unless a window needs the room, until the asker has read them or `forget` is called.
        """
        for start in range(0, len(numbers), _AT_ONCE):
            try:
                with self._locked():
                    if self._closed or self._waiting or not asker.go_on():
                        return
                    claim = self._begin(stream, numbers[start : start + _AT_ONCE], asker, for_later=True)
                    most = _WINDOWS * stream.window_units
                    for given_up in self._promises.promise(claim.residents, asker.owner, most):
                        self._shelf.drop_if_mapped(given_up)
                self._loads.run(claim)
            except NoSpace:
                return
            except AlluxioLanceError as error:
                # The window that asks for them in earnest is told why.
                _log.info("units could not be loaded ahead", uri=stream.layout.uri, error=error.message)
                return

    def forget(self, owner: str) -> None:
        """Note that an asker has no use any more for what it asked for ahead."""
        with self._locked():
            for given_up in self._promises.forget(owner):
                self._shelf.drop_if_mapped(given_up)

    def _hold(self, stream: Stream, claim: Claim, holder: str) -> Hold:
        self._loading.used(stream.streamed.version)
        for one in claim.residents:
            one.opened_at = datetime.now(UTC)
        columns = [[one.columns[name] for one in claim.residents] for name in claim.units.names]
        units = claim.units
        rows = sum(units.plan.rows_of(number) for number in claim.numbers)
        layout = layout_of(stream.streamed.version, rows, units.rows, [joined(column) for column in columns])
        descriptors = tuple(fd for column in columns for hot in column for fd in hot.descriptors)
        return Hold(layout, descriptors, lambda: self._let_go(claim.residents, holder))

    def _let_go(self, residents: Iterable[Resident], holder: str) -> None:
        with self._locked():
            for resident in residents:
                resident.holders.remove(holder)
                resident.touch()
                self._shelf.drop_if_unwanted(resident)
                self._shelf.drop_if_mapped(resident)

    # -- room, under the lock --------------------------------------------------------------------------------------

    def _claim(self, stream: Stream, numbers: Sequence[int], asker: Asker, until: float) -> Claim:
        """Begin the loads of a window as soon as there is room for all of them."""
        while True:
            self._check_open()
            if not asker.go_on():
                raise Unavailable("the reader that asked for a window is gone", what="reader")
            try:
                return self._begin(stream, numbers, asker, for_later=False)
            except NoSpace as error:
                self._wait(stream, numbers, error, until)

    def _claim_spare(self, stream: Stream, numbers: Sequence[int], asker: Asker) -> Claim:
        """Begin the loads of a window from room that nobody else has a use for."""
        self._check_open()
        if self._waiting:
            raise NoSpace(
                f"others wait for room before {_units(len(numbers))} of {stream.units.plan.label} - ask again, and wait",
                budget=self._budget.limit,
                need=stream.units.need(len(numbers)),
            )
        return self._begin(stream, numbers, asker, for_later=True)

    def _wait(self, stream: Stream, numbers: Sequence[int], shortage: NoSpace, until: float) -> None:
        """Wait until somebody may have let go of something; raise when nobody can, or the time is over."""
        held = any(one.holders or one.load for one in self._shelf.residents.values())
        if not held or shortage.details["need"] > self._budget.limit:
            raise shortage
        if time.monotonic() >= until:
            raise self._kept_waiting(stream, numbers, shortage) from shortage
        self._waiting += 1
        try:
            self._changed.wait(_AGAIN)
        finally:
            self._waiting -= 1

    def _begin_mapped(self, stream: Stream, asker: Asker) -> Claim:
        """Begin the loads of all units from the disk; those that lie in memory for nobody leave it."""
        streamed, names = stream.streamed, stream.units.names
        if not self._shelf.has_descriptors(mapped_all.descriptors(stream)):
            raise mapped_all.refusal(stream, "would take too many of the sidecar's descriptors")
        found = self._residents(streamed, range(streamed.units.count))
        for number, one in enumerate(found):
            if one.load is not None or (one.bytes and (one.holders or one.promised)):
                raise mapped_all.refusal(stream, "is in memory, and in use", number)
            if not self._loading.maps_at_once(one.version, one.plan, number, names):
                raise mapped_all.refusal(stream, "was not read from the disk yet", number)
        for one in found:
            if one.bytes:
                self._shelf.drop(one)
        return self._begin(stream, range(len(found)), asker, for_later=True, room=mapped_all.NoMoreRoom(stream))

    def _begin(
        self, stream: Stream, numbers: Sequence[int], asker: Asker, *, for_later: bool, room: MoreRoom | None = None
    ) -> Claim:
        streamed = stream.streamed
        units = streamed.units.only(stream.units.names, streamed.as_arrow)
        residents = self._residents(streamed, numbers)
        missing = {
            one: names
            for one in residents
            if one.load is None and (names := tuple(name for name in units.names if name not in one.columns))
        }
        need = sum(streamed.need(one, self._in_memory(one, names)) for one, names in missing.items())
        if room is not None and need:
            # It left the disk since it was looked for there; nothing was taken for it yet.
            raise mapped_all.gone(stream)
        # What is hot of other columns is no part of it, and makes room when nobody holds it.
        whole = need + sum(one.columns[name].bytes for one in residents for name in units.names if name in one.columns)
        if whole > self._budget.limit:
            raise self._too_large(units, len(numbers), whole)
        if need:
            self._shelf.make_room(residents, need, wanted=units.names, for_later=for_later)
        if missing:
            self._shelf.make_descriptors(residents, sum(map(len, missing.values())))
        loads = {one: Load(names) for one, names in missing.items()}
        for one, load in loads.items():
            self._shelf.put(one)
            one.retired = False
            one.load = load
        for one in residents:
            if one.load is not None:
                one.load.join(asker.go_on)
        paid = PaidRoom(room or self, residents, need)
        return Claim(streamed, units, tuple(numbers), residents, missing, loads, paid)

    def _in_memory(self, resident: Resident, names: Sequence[str]) -> Sequence[str]:
        assert resident.key.unit is not None
        return self._loading.in_memory(resident.version, resident.plan, resident.key.unit, names)

    def _residents(self, streamed: Streamed, numbers: Sequence[int]) -> list[Resident]:
        """Find units that are here, and make those that are not."""
        units = streamed.units.only(streamed.units.names, streamed.as_arrow)
        whole = key_of(streamed.version)._replace(as_arrow=streamed.as_arrow)
        keys = [whole._replace(unit=number) for number in numbers]
        return [
            self._shelf.residents.get(key) or Resident(streamed.version, units.one(number), key)
            for number, key in zip(numbers, keys, strict=True)
        ]

    def _narrow(self, stream: Stream, numbers: Sequence[int]) -> bool:
        """Close all that nobody holds of other columns of units; tells whether that gave room."""
        return self._shelf.narrow(self._residents(stream.streamed, numbers), stream.units.names) > 0

    def make_room(self, residents: Sequence[Resident], need: int) -> None:
        """Claim bytes for a load beyond what it was expected to need."""
        with self._locked():
            self._shelf.make_room(residents, need)

    def give_room(self, size: int) -> None:
        """Give back what a load has claimed and does not need."""
        with self._locked():
            self._budget.release(size)

    def _too_large(self, units: Units, count: int, need: int) -> NoSpace:
        limit = self._budget.limit
        most = limit // max(units.need(), 1)
        advice = f"ask for at most {most} units at once, or raise" if most else "leave out the widest columns, or raise"
        return NoSpace(
            f"{_units(count)} of {units.plan.label} take {size_text(need)} of shared memory, but the whole budget is "
            f"{size_text(limit)} - {advice} ALLUXIO_LANCE_MEMORY_BUDGET",
            budget=limit,
            need=need,
        )

    def _kept_waiting(self, stream: Stream, numbers: Sequence[int], error: NoSpace) -> NoSpace:
        return NoSpace(
            f"{_units(len(numbers))} of {stream.units.plan.label} found no room in {self._patience:g} s: "
            f"{size_text(self._budget.used)} of the budget of {size_text(self._budget.limit)} are held by readers - "
            "close windows before you open others, open smaller ones, or raise ALLUXIO_LANCE_MEMORY_BUDGET",
            **error.details,
        )

    # -- the end ---------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Begin nothing more, and cut off what is under way; a second call does nothing."""
        with self._locked():
            self._closed = self._loads.closed = True
            streamed = list(self._streamed.values())
        for one in streamed:
            one.reader.close()


def _raise_failure(load: Load, awaited: Collection[Load], wanted: Collection[str]) -> None:
    """Wait for somebody else's load, and raise why it failed, if that concerns one who wants these loads and columns.

    It may be about any of the units that failed with it: who does not want them all loads his own, and so does
    everybody when there was no room.
    """
    error = load.wait()
    if error is None or isinstance(error, NoSpace):
        return
    if all(one in awaited and one.says(error, wanted) for one in load.together):
        raise error


def _units(count: int) -> str:
    return "1 unit" if count == 1 else f"{count} units"
