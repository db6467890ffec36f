"""The claim of one window: its units, the loads that were begun for it, and the room that was taken for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from alluxio_lance.sidecar.resident import Load, Resident
from alluxio_lance.sidecar.stream import Streamed
from alluxio_lance.sidecar.units import Units

__all__ = ["Asker", "Claim", "MoreRoom", "PaidRoom"]


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks for units."""

    owner: str
    """Who has what was asked for ahead."""
    holder: str
    """Names the reader in refusals."""
    go_on: Callable[[], bool]
    """Whether it is still there; asked all the time, from any thread."""


@dataclass(frozen=True, slots=True, eq=False)
class Claim:
    """The units of one window, and the loads that were begun for it."""

    streamed: Streamed
    units: Units
    """Narrowed to the wanted columns."""
    numbers: tuple[int, ...]
    residents: Sequence[Resident]
    missing: Mapping[Resident, tuple[str, ...]]
    """Columns to load, by unit."""
    loads: Mapping[Resident, Load]
    """The loads of these units."""
    room: PaidRoom

    @property
    def complete(self) -> bool:
        """Whether everything is hot and laid out alike; under the lock."""
        if any(one.key.as_arrow != self.streamed.as_arrow for one in self.residents):
            return False
        return all(name in one.columns for one in self.residents for name in self.units.names)


class MoreRoom(Protocol):
    """Where a claim gets room beyond what it has taken."""

    def make_room(self, residents: Sequence[Resident], need: int) -> None:
        """Claim bytes for the load of these; `NoSpace` when they do not fit."""
        ...

    def give_room(self, size: int) -> None:
        """Give bytes back."""
        ...


class PaidRoom:
    """The room that a claim has taken beforehand, as its loads see it."""

    def __init__(self, room: MoreRoom, residents: Sequence[Resident], paid: int) -> None:
        self._room = room
        self._residents = residents
        self._paid = paid

    def reserve(self, need: int, *, huge: int = 0) -> None:
        more = max(need - self._paid, 0)
        if more:
            self._room.make_room(self._residents, more)
        self._paid += more - need

    def release(self, size: int) -> None:
        self._paid += size

    def close(self) -> None:
        """Give back what was not needed."""
        paid, self._paid = self._paid, 0
        self._room.give_room(paid)
