"""Which columns the disk keeps, in the order of their last use, and which of them go when another wants the room."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
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
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._bytes = 0
        self._versions: dict[str, dict[str, None]] = {}
        """Digests by content hash, in the same order. There may be a million: nothing here goes through all of them for one column."""
        self._version_bytes: Counter[str] = Counter()
        self._lock = threading.Lock()
        for entry in entries:
            self._put(entry)

    def _put(self, entry: Entry) -> None:
        digest, of = entry.key.digest, entry.key.content_hash
        self._take(digest)
        self._entries[digest] = entry
        self._bytes += entry.size
        self._versions.setdefault(of, {})[digest] = None
        self._version_bytes[of] += entry.size

    def _take(self, digest: str) -> bool:
        entry = self._entries.pop(digest, None)
        if entry is None:
            return False
        of = entry.key.content_hash
        self._bytes -= entry.size
        del self._versions[of][digest]
        self._version_bytes[of] -= entry.size
        if not self._versions[of]:
            del self._versions[of], self._version_bytes[of]
        return True

    @property
    def bytes(self) -> int:
        """What all of them take."""
        return self._bytes

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
            self._put(entry)

    def use(self, digest: str) -> bool:
        """Note that a column was used now; returns whether it is there."""
        with self._lock:
            entry = self._entries.get(digest)
            if entry is None:
                return False
            self._entries.move_to_end(digest)
            version = self._versions[entry.key.content_hash]
            del version[digest]
            version[digest] = None
            return True

    def drop(self, digest: str) -> bool:
        """Forget a column; returns whether it was there."""
        with self._lock:
            return self._take(digest)

    def spare_room(self, budget: int, content_hash: str) -> int:
        """Return how many bytes a version may get at most: all but what its own columns take."""
        with self._lock:
            return budget - self._version_bytes.get(content_hash, 0)

    def make_room(self, need: int, budget: int, *, spare: str = "") -> list[str]:
        """Forget the longest unused columns until ``need`` more bytes fit into ``budget``, and return their digests.

        Parameters
        ----------
        spare
            The content hash of a version whose columns stay: half a version is worth little.
        """
        with self._lock:
            excess = self._bytes + need - budget
            going: list[str] = []
            for digest, entry in self._entries.items():
                if excess <= 0:
                    break
                if entry.key.content_hash != spare:
                    going.append(digest)
                    excess -= entry.size
            for digest in going:
                self._take(digest)
            return going

    def of(self, content_hashes: Collection[str]) -> list[str]:
        """List the columns of some versions."""
        with self._lock:
            return [digest for content_hash in content_hashes for digest in self._versions.get(content_hash, ())]

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
