"""The versions in shared memory and the order in which they go; residency calls it with its lock held."""

from __future__ import annotations

import resource
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final

from alluxio_lance.sidecar.budget import Budget
from alluxio_lance.sidecar.pointers import Pointers
from alluxio_lance.sidecar.resident import Key, Resident, key_of
from alluxio_lance.sidecar.statistics import Role
from alluxio_lance.values import Version

__all__ = ["Shelf"]

_Semver = tuple[str, str, str | None]
_Victim = tuple[Resident, tuple[str, ...]]
"""What may go, with the columns of it that would."""

_ORDER: Final = (Role.CACHED, Role.PREVIOUS, Role.ACTIVE)
"""Which role goes first when room is needed; leased versions never go."""
_SEGMENTS: Final = 3 / 8
"""The share of this process' descriptors that segments may take; connections may take half, files need some, too."""


class Shelf:
    """Everything resident, what it is wanted for, and the memory that it takes.

    Parameters
    ----------
    budget
        Gets back the bytes of what is dropped.
    keep_previous
        How many previous versions stay, per resource.
    on_drop
        Told of every version dropped, and of every one that has lost columns.
    """

    def __init__(self, budget: Budget, keep_previous: int, on_drop: Callable[[Resident], None]) -> None:
        self.residents: dict[Key, Resident] = {}
        self.dropped = 0
        """Versions dropped since the start."""
        self._budget = budget
        self._pointers = Pointers(keep_previous)
        self._on_drop = on_drop

    def find(self, version: Version) -> Resident | None:
        """Return a version that is here as a whole, or on its way."""
        return self.residents.get(key_of(version))

    def units(self, version: Version) -> list[Resident]:
        """List the units of a version that are here or on their way."""
        whole = key_of(version)
        return [resident for key, resident in self.residents.items() if key[:4] == whole[:4] and resident.is_unit]

    def put(self, resident: Resident) -> None:
        """Add a version; the one that is here already changes nothing.

        One of the same full name is of a resource that was deleted before this one: it goes.
        """
        key = resident.key
        if key not in self.residents:
            for other in self._namesakes(key[:3]):
                if other.key.operation != key.operation:
                    self._let_go(other)
            self.residents[key] = resident

    def role(self, resident: Resident) -> Role:
        """Say why a version is here."""
        version = resident.version
        role = None if resident.retired else self._pointers.role(version.type, version.name, version.semver)
        return role or (Role.LEASED if resident.holders else Role.CACHED)

    def drop(self, resident: Resident) -> int:
        """Close a version's segments and return the bytes that are free again."""
        del self.residents[resident.key]
        size = resident.bytes
        resident.close()
        self._budget.release(size)
        # Units come and go all the time: they are no evicted versions.
        self.dropped += not resident.is_unit
        self._on_drop(resident)
        return size

    def narrow(self, newcomers: Iterable[Resident], wanted: Collection[str]) -> int:
        """Close what nobody reads of the other columns of newcomers, and return the bytes that are free again."""
        return sum(self._drop_columns(one, names) for one, names in _spare(newcomers, wanted))

    def _drop_columns(self, resident: Resident, names: Sequence[str]) -> int:
        """Close columns of a version, or of a unit, whose others stay or are being loaded; drop it where there are none."""
        if resident.load is None and len(names) == len(resident.columns):
            return self.drop(resident)
        size = _bytes(resident, names)
        for name in names:
            resident.columns.pop(name).close()
        self._budget.release(size)
        self.dropped += not (resident.is_unit or resident.columns)
        self._on_drop(resident)
        return size

    def drop_if_unwanted(self, resident: Resident) -> None:
        """Close a version that was retired, unless it is held or loading, or gone already."""
        if self.residents.get(resident.key) is resident and resident.retired and resident.idle:
            self.drop(resident)

    def drop_if_mapped(self, resident: Resident) -> None:
        """Close the files of a unit that takes no memory and that nobody reads or has asked for; unless it is gone already.

        To open them again costs little, and a file that the disk tier gives up takes its room for as long as it is open.
        """
        found = self.residents.get(resident.key) is resident and resident.idle and not resident.promised
        if found and resident.mapped_bytes and not resident.bytes:
            self.drop(resident)

    def move(self, type: str, name: str, semver: str | None) -> None:
        """Move the pointer of a resource."""
        unwanted = self._pointers.move(type, name, semver)
        now_active = self._namesakes((type, name, semver))
        for one in now_active:
            # Of two the later one: the other is of a resource that was deleted.
            if one.key.operation == now_active[-1].key.operation:
                one.retired = False
        for old in unwanted:
            self._retire((type, name, old))

    def retire(self, version: Version) -> None:
        """Let a version go, and keep it no longer for a rollback."""
        self._pointers.strike(version.type, version.name, version.semver)
        resident = self.find(version)
        for one in [*([resident] if resident else []), *self.units(version)]:
            self._let_go(one)

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
            self._let_go(resident)

    def _let_go(self, resident: Resident) -> None:
        resident.retired = True
        self.drop_if_unwanted(resident)

    def make_room(
        self,
        newcomers: Collection[Resident],
        need: int,
        huge: int = 0,
        *,
        wanted: Collection[str] | None = None,
        for_later: bool = False,
    ) -> None:
        """Claim bytes for a load, dropping what nobody reads, the least wanted first.

        Parameters
        ----------
        newcomers
            What is loaded, and what must not go for it.
        wanted
            The columns that it is loaded for: the newcomers' others may go. None: none of them may.
        for_later
            It is not urgent: only what nobody has a use for goes, neither active nor previous versions nor units that
            somebody asked for ahead.

        Raises
        ------
        NoSpace
            When all that may go would not be enough; then nothing has gone.
        """
        shortage = self._budget.shortage(need, huge=huge)
        spare = [] if wanted is None else _spare(newcomers, wanted)
        victims = self._victims(newcomers, spare, for_later=for_later)
        # What is mapped from the disk takes no memory: to drop it would give none back.
        victims = [(victim, names) for victim, names in victims if _bytes(victim, names)]
        if shortage > sum(_bytes(victim, names) for victim, names in victims):
            raise self._budget.refusal(need)
        for victim, names in victims:
            if shortage <= 0:
                # Asked again only now, since it asks the kernel: what readers have mapped is not free yet.
                shortage = self._budget.shortage(need, huge=huge)
                if not shortage:
                    break
            shortage -= self._drop_columns(victim, names)
        self._budget.reserve(need, huge=huge)

    def make_descriptors(self, newcomers: Collection[Resident], need: int) -> None:
        """Drop units that nobody reads, the least wanted first, until so many more descriptors fit.

        Units of narrow columns take many before they take much memory. When too few may go the kernel refuses the load.
        """
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if limit == resource.RLIM_INFINITY:
            return
        excess = self._descriptors() + need - int(limit * _SEGMENTS)
        if excess <= 0:
            return
        for victim, _ in self._victims(newcomers, (), for_later=False):
            if victim.is_unit:
                excess -= _descriptors(victim)
                self.drop(victim)
            if excess <= 0:
                return

    def has_descriptors(self, need: int) -> bool:
        """Tell whether so many more leave half of what segments may take to others."""
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return limit == resource.RLIM_INFINITY or self._descriptors() + need <= int(limit * _SEGMENTS) // 2

    def _descriptors(self) -> int:
        return sum(map(_descriptors, self.residents.values()))

    def _victims(self, newcomers: Collection[Resident], spare: Iterable[_Victim], *, for_later: bool) -> list[_Victim]:
        """List what may go for others, the first to go first; ``spare`` is what may of the newcomers themselves."""
        spared = {resident.key for resident in newcomers}
        resources = {resident.key[:2] for resident in newcomers if not resident.is_unit}
        others = [
            (other, tuple(other.columns)) for other in self.residents.values() if other.idle and other.key not in spared
        ]
        ranked = [
            (_ORDER.index(role), bool(other.promised), other.used, (other, names))
            for other, names in (*others, *spare)
            for role in [self._worth(other)]
            # A version never pushes out the active one of the same resource, which may be itself, in part.
            if role is not Role.ACTIVE or other.key in spared or other.key[:2] not in resources
        ]
        if for_later:
            ranked = [one for one in ranked if _ORDER[one[0]] is Role.CACHED and not one[1]]
        return [victim for *_, victim in sorted(ranked, key=lambda one: one[:3])]

    def _worth(self, resident: Resident) -> Role:
        """Say what a version counts as when room is needed: units are read once and go first, whatever they are of."""
        return Role.CACHED if resident.is_unit else self.role(resident)


def _spare(newcomers: Iterable[Resident], wanted: Collection[str]) -> list[_Victim]:
    """List which columns may go of what others are loaded of: those that take memory, of which nobody holds any."""
    return [
        (one, names)
        for one in newcomers
        # The load of a whole version is that which the room is for, and that of a unit may be anybody's.
        if not one.holders and (one.load is None or not one.is_unit)
        if (names := tuple(name for name, hot in one.columns.items() if hot.bytes and name not in wanted))
    ]


def _bytes(resident: Resident, names: Iterable[str]) -> int:
    return sum(resident.columns[name].bytes for name in names)


def _descriptors(resident: Resident) -> int:
    return sum(len(column.descriptors) for column in resident.columns.values())
