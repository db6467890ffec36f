"""The loads of units that claims have begun: what comes is published unit by unit, what fails is undone."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from alluxio_lance.sidecar.budget import Budget
from alluxio_lance.sidecar.claim import Claim
from alluxio_lance.sidecar.fill.column import HotColumn
from alluxio_lance.sidecar.loading import Loading, UnitWish
from alluxio_lance.sidecar.resident import Resident
from alluxio_lance.sidecar.shelf import Shelf
from alluxio_lance.sidecar.stream import Streamed

__all__ = ["UnitLoads"]


class UnitLoads:
    """Runs the loads of claims; arguments as of `Windows`."""

    def __init__(
        self,
        loading: Loading,
        budget: Budget,
        shelf: Shelf,
        locked: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._loading = loading
        self._budget = budget
        self._shelf = shelf
        self._locked = locked
        self.closed = False
        """Set when nothing is wanted any more: what is under way is cut off."""

    def run(self, claim: Claim) -> None:
        """Load what a claim has begun; what is ready before an error stays."""
        try:
            for names in dict.fromkeys(claim.missing.values()):
                self._load_group(claim, [one for one, missing in claim.missing.items() if missing == names], names)
        except BaseException as error:
            try:
                claim.room.close()
            finally:
                # Whatever else goes wrong: others wait for these loads.
                self._fail(claim, error)
            raise
        claim.room.close()

    def _load_group(self, claim: Claim, group: Sequence[Resident], names: Sequence[str]) -> None:
        streamed, started = claim.streamed, time.monotonic()
        wanted = set(group)
        by_number = {number: one for number, one in zip(claim.numbers, claim.residents, strict=True) if one in wanted}
        loads = [claim.loads[one] for one in group]
        self._loading.load_units(
            UnitWish(
                streamed.version,
                claim.units.only(names),
                tuple(by_number),
                lambda number: by_number[number].key,
                streamed.reader,
                claim.room,
                lambda number, columns: self._ready(streamed, by_number[number], columns, started),
                lambda: self.closed or all(load.unwanted() for load in loads),
            )
        )

    def _ready(self, streamed: Streamed, resident: Resident, columns: Sequence[HotColumn], started: float) -> None:
        planned = {column.name: column.shape.kind for column in resident.plan.columns}
        other = {hot.column.name for hot in columns if hot.column.kind is not planned[hot.column.name]}
        with self._locked():
            load, resident.load = resident.load, None
            assert load is not None
            resident.touch()
            resident.load_seconds = time.monotonic() - started
            if not other and not self.closed:
                streamed.measure(resident, columns)
                resident.columns.update((hot.column.name, hot) for hot in columns)
                load.end()
                return
            # All units of a column are laid out alike: from now on as ARROW.
            streamed.as_arrow |= other
            for hot in columns:
                hot.close()
            self._budget.release(sum(hot.bytes for hot in columns))
            self._remove_if_empty(resident)
            load.given_up = True
            load.end()

    def _fail(self, claim: Claim, error: BaseException) -> None:
        with self._locked():
            failed = {resident: load for resident, load in claim.loads.items() if resident.load is load}
            together = frozenset(failed.values())
            for resident, load in failed.items():
                resident.load = None
                self._remove_if_empty(resident)
                # That its stream was closed says nothing to those who read another one.
                load.given_up |= not claim.streamed.streams
                load.end(error, together)

    def _remove_if_empty(self, resident: Resident) -> None:
        if not resident.columns and self._shelf.residents.get(resident.key) is resident:
            del self._shelf.residents[resident.key]
        self._shelf.drop_if_unwanted(resident)
