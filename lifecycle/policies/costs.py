"""What a plan sets free, row by row: files that only go together are counted where the last of them goes."""

from __future__ import annotations

from alluxio_lance.lifecycle.ports import Store

__all__ = ["Costs"]


class Costs:
    """Asks the store, and remembers what the rows before take away."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._going: dict[str, list[int]] = {}
        self._freed: dict[str, int] = {}

    def take(self, location: str, number: int) -> int:
        """Return how many bytes the removal of one more version frees, after all that was taken before."""
        going = [*self._going.get(location, ()), number]
        freed = self._store.removal(location, going)
        before = self._freed.get(location, 0)
        self._going[location], self._freed[location] = going, freed
        return freed - before

    def peek(self, location: str, number: int) -> int:
        """Return the same without taking it."""
        going = [*self._going.get(location, ()), number]
        return self._store.removal(location, going) - self._freed.get(location, 0)

    def table(self, location: str) -> int:
        """Return the bytes of a whole table."""
        return self._store.usage(location, ()).table

    def needed(self, location: str, number: int) -> int:
        """Return the bytes of all files that a version needs, which is what a copy of it takes."""
        return self._store.usage(location, (number,)).total[number]
