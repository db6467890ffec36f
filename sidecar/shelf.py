"""The versions in shared memory and the order in which they go; residency calls it with its lock held."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from alluxio_lance.sidecar.budget import Budget
from alluxio_lance.sidecar.pointers import Pointers
from alluxio_lance.sidecar.resident import Key, Resident, key_of
from alluxio_lance.sidecar.statistics import Role
from alluxio_lance.values import Version

__all__ = ["Shelf"]

_Semver = tuple[str, str, str | None]

_ORDER: Final = (Role.CACHED, Role.PREVIOUS, Role.ACTIVE)
"""Which role goes first when room is needed; leased versions never go."""


class Shelf:
    """Everything resident, what it is wanted for, and the memory that it takes.

    Parameters
    ----------
    budget
        Gets back the bytes of what is dropped.
    keep_previous
        How many previous versions stay, per resource.
    on_drop
        Told of every version dropped.
    """

    def __init__(self, budget: Budget, keep_previous: int, on_drop: Callable[[Version], None]) -> None:
        self.residents: dict[Key, Resident] = {}
        self.dropped = 0
        """Versions dropped since the start."""
        self._budget = budget
        self._pointers = Pointers(keep_previous)
        self._on_drop = on_drop

    def find(self, version: Version) -> Resident | None:
        """Return a version that is here or on its way."""
        return self.residents.get(key_of(version))

    def put(self, resident: Resident) -> None:
        """Add a version; the one that is here already changes nothing.

        One of the same full name is of a resource that was deleted before this one: it goes.
        """
        key = key_of(resident.version)
        if key not in self.residents:
            self._retire(key[:3])
            self.residents[key] = resident

    def role(self, resident: Resident) -> Role:
        """Say why a version is here."""
        version = resident.version
        role = None if resident.retired else self._pointers.role(version.type, version.name, version.semver)
        return role or (Role.LEASED if resident.holders else Role.CACHED)

    def drop(self, resident: Resident) -> int:
        """Close a version's segments and return the bytes that are free again."""
        del self.residents[key_of(resident.version)]
        size = resident.bytes
        resident.close()
        self._budget.release(size)
        self.dropped += 1
        self._on_drop(resident.version)
        return size

    def drop_if_unwanted(self, resident: Resident) -> None:
        """Close a version that was retired, unless it is held or loading, or gone already."""
        if self.find(resident.version) is resident and resident.retired and resident.idle:
            self.drop(resident)

    def move(self, type: str, name: str, semver: str | None) -> None:
        """Move the pointer of a resource."""
        unwanted = self._pointers.move(type, name, semver)
        now_active = self._namesakes((type, name, semver))
        if now_active:
            # Of two the later one: the other is of a resource that was deleted.
            now_active[-1].retired = False
        for one in unwanted:
            self._retire((type, name, one))

    def retire(self, version: Version) -> None:
        """Let a version go, and keep it no longer for a rollback."""
        self._pointers.strike(version.type, version.name, version.semver)
        resident = self.find(version)
        if resident is not None:
            resident.retired = True
            self.drop_if_unwanted(resident)

    def forget(self, type: str, name: str) -> None:
        """Let all versions of a resource go."""
        self._pointers.forget(type, name)
        for key in [key for key in self.residents if key[:2] == (type, name)]:
            self._retire(key[:3])

    def _namesakes(self, semver: _Semver) -> list[Resident]:
        """List the versions of one full name, oldest first: more than one when the name was deleted in between."""
        return [resident for key, resident in self.residents.items() if key[:3] == semver]

    def _retire(self, semver: _Semver) -> None:
        for resident in self._namesakes(semver):
            resident.retired = True
            self.drop_if_unwanted(resident)

    def make_room(self, newcomer: Resident, need: int, huge: int) -> None:
        """Claim bytes for a load, dropping what nobody reads, the least wanted first.

        Raises
        ------
        NoSpace
            When all that may go would not be enough; then nothing has gone.
        """
        shortage = self._budget.shortage(need, huge=huge)
        victims = self._victims(newcomer)
        if shortage > sum(victim.bytes for victim in victims):
            raise self._budget.refusal(need)
        for victim in victims:
            if not self._budget.shortage(need, huge=huge):
                break
            self.drop(victim)
        self._budget.reserve(need, huge=huge)

    def _victims(self, newcomer: Resident) -> list[Resident]:
        """List what may go for another version: never the active version of the same resource."""
        resource = key_of(newcomer.version)[:2]
        ranked = [
            (_ORDER.index(role), other.used, key)
            for key, other in self.residents.items()
            if other is not newcomer and other.idle
            for role in [self.role(other)]
            if role is not Role.ACTIVE or key[:2] != resource
        ]
        return [self.residents[key] for _, _, key in sorted(ranked)]
