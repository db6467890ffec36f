"""Which columns the disk keeps, in the order of their last use, and which of them go when another wants the room."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable

from alluxio_lance.sidecar.disk.entry import Entry

__all__ = ["Index"]


class Index:
    """The entries in memory; safe to use from any thread, and never waits for the disk.

    Parameters
    ----------
    entries
        Those that are there, the longest unused first.
    """

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._entries = OrderedDict((entry.key.digest, entry) for entry in entries)
        self._lock = threading.Lock()

    @property
    def bytes(self) -> int:
        """What all of them take."""
        with self._lock:
            return sum(entry.size for entry in self._entries.values())

    def __len__(self) -> int:
        with self._lock:
            return len(self._entries)

    def find(self, digest: str) -> Entry | None:
        """Find a column."""
        with self._lock:
            return self._entries.get(digest)

    def add(self, entry: Entry) -> None:
        """Add a column as the last one used."""
        with self._lock:
            self._entries[entry.key.digest] = entry
            self._entries.move_to_end(entry.key.digest)

    def use(self, digest: str) -> bool:
        """Note that a column was used now; returns whether it is there."""
        with self._lock:
            if digest not in self._entries:
                return False
            self._entries.move_to_end(digest)
            return True

    def drop(self, digest: str) -> bool:
        """Forget a column; returns whether it was there."""
        with self._lock:
            return self._entries.pop(digest, None) is not None

    def spare_room(self, budget: int, content_hash: str) -> int:
        """Return how many bytes a version may get at most: all but what its own columns take."""
        with self._lock:
            own = (entry.size for entry in self._entries.values() if entry.key.content_hash == content_hash)
            return budget - sum(own)

    def make_room(self, need: int, budget: int, *, spare: str = "") -> list[str]:
        """Forget the longest unused columns until ``need`` more bytes fit into ``budget``, and return their digests.

        Parameters
        ----------
        spare
            The content hash of a version whose columns stay: half a version is worth little.
        """
        with self._lock:
            excess = sum(entry.size for entry in self._entries.values()) + need - budget
            going: list[str] = []
            for digest, entry in self._entries.items():
                if excess <= 0:
                    break
                if entry.key.content_hash != spare:
                    going.append(digest)
                    excess -= entry.size
            for digest in going:
                del self._entries[digest]
            return going

    def of(self, content_hashes: Collection[str]) -> list[str]:
        """List the columns of some versions."""
        with self._lock:
            return [digest for digest, entry in self._entries.items() if entry.key.content_hash in content_hashes]

    def owners(self) -> set[tuple[str, str]]:
        """Return type and name of all resources that columns are kept for."""
        with self._lock:
            return {entry.owner for entry in self._entries.values()}

    def belonging(self, owner: tuple[str, str], *, besides: Collection[str]) -> list[str]:
        """List the columns of a resource whose content hash is not in ``besides``."""
        with self._lock:
            return [
                digest
                for digest, entry in self._entries.items()
                if entry.owner == owner and entry.key.content_hash not in besides
            ]
