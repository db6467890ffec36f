"""What readers asked for ahead and have not read yet; windows call it with residency's lock held."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from alluxio_lance.sidecar.resident import Resident

__all__ = ["Promises"]


class Promises:
    """The units that are kept for who asked for them ahead."""

    def __init__(self) -> None:
        self._owned: dict[str, deque[Resident]] = {}
        """By owner, the oldest first."""

    def promise(self, residents: Iterable[Resident], owner: str, most: int) -> list[Resident]:
        """Keep units for somebody, who has at most so many: the oldest ones are given up for more, and returned."""
        owned = self._owned.setdefault(owner, deque())
        for resident in residents:
            resident.touch()
            if owner not in resident.promised:
                resident.promised.add(owner)
                owned.append(resident)
        # Who asks for more and more without reading it has changed its mind.
        given_up = [owned.popleft() for _ in range(len(owned) - most)]
        for resident in given_up:
            resident.promised.discard(owner)
        return given_up

    def keep(self, residents: Iterable[Resident], owner: str) -> None:
        """Note that somebody reads units: they are promised to it no longer."""
        owned = self._owned.get(owner)
        for resident in residents:
            if owned is not None and owner in resident.promised:
                resident.promised.discard(owner)
                owned.remove(resident)

    def forget(self, owner: str) -> list[Resident]:
        """Note that somebody has no use any more for what it asked for, and return that."""
        given_up = list(self._owned.pop(owner, ()))
        for resident in given_up:
            resident.promised.discard(owner)
        return given_up
