"""An arena: the memory through which worker processes hand batches over, in slots that are used again and again.

The slots lie in memory files of sealed size that are far larger than what they hold: a slot gets memory when a batch
first needs it. Who has a slot stands in one word of shared memory for each (``sidecar/_shm.pyx``); nobody waits for
anybody, and what a worker held that was killed is taken back by whoever next finds no free slot.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self
from weakref import WeakValueDictionary

from alluxio_lance.client.descriptors import Descriptors, Identity, Origin, close_all, identities, take_from, writable
from alluxio_lance.errors import Internal, Unavailable
from alluxio_lance.sidecar._shm import Arena as Slots
from alluxio_lance.sidecar._shm import Slot

__all__ = ["Arena", "ArenaStatistics", "Travelling", "arena_statistics", "known_arenas"]

_SLOTS: Final = 512
_STRIDE: Final = 1 << 30
"""The largest batch."""
_MOST_BYTES: Final = 1 << 30
_SHARE: Final = 4
"""Never more than a quarter of the memory that is available."""
_SEALS: Final = fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
_HUGE_POOL: Final = Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")
_SHMEM_THP: Final = Path("/sys/kernel/mm/transparent_hugepage/shmem_enabled")
_THP_ALLOWED: Final = ("[always]", "[within_size]", "[advise]", "[force]")


@dataclass(frozen=True, slots=True, kw_only=True)
class ArenaStatistics:
    """The arenas that this process made, together; sizes in bytes."""

    arenas: int
    slots: int
    """Slots that have memory."""
    bytes: int
    """Their memory; it is kept for the next batches for as long as the dataset is open."""
    huge_bytes: int
    """What of it lies on reserved huge pages."""
    filling: int
    """Slots that workers have tensors of."""
    in_flight: int
    """Slots that are on their way to this process."""
    held: int
    """Slots that this process has tensors of."""
    handed_over: int
    """Slots that workers got since the arenas were made."""
    fallbacks: int
    """How often there was none, since too many batches were held, and a batch went the ordinary way."""


@dataclass(frozen=True, slots=True)
class Travelling:
    """What a pickled arena carries."""

    origin: Origin
    limit: int
    transparent: bool


class Arena:
    """Slots that this process made, or another one; `Slot` objects keep the memory, not the arena.

    Parameters
    ----------
    descriptors
        The table, the file of ordinary pages and, where there are reserved huge pages, the file of those.
    owner
        The process that made it, which is the one that receives.
    limit
        Bytes that the slots may have together.
    transparent
        Advise the kernel to use transparent huge pages for the ordinary file.
    """

    def __init__(self, descriptors: Descriptors, owner: int, limit: int, *, transparent: bool) -> None:
        self.owner: Final = owner
        self._limit = limit
        self._transparent = transparent
        self._descriptors = descriptors
        table, small, *huge = descriptors.numbers
        self._slots = Slots(
            table,
            small,
            huge[0] if huge else -1,
            slots=_SLOTS,
            stride=_STRIDE,
            limit=limit,
            transparent=transparent,
        )
        self.key: Final = identities(descriptors.numbers[:1])[0]
        _KNOWN[self.key] = self

    @classmethod
    def make(cls, limit: int | None = None) -> Self:
        """Make an arena for the workers of this process; it has no memory yet.

        Raises
        ------
        OSError
            When this process may not open more files, or files of that size.
        """
        made = [_sized("table", Slots.table_bytes(_SLOTS))]
        try:
            made.append(_sized("slots", _SLOTS * _STRIDE))
            if _huge_pages():
                # Without them in the kernel the name alone is refused.
                with suppress(OSError):
                    made.append(_sized("huge-slots", _SLOTS * _STRIDE, os.MFD_HUGETLB | os.MFD_HUGE_2MB))
        except BaseException:
            close_all(made)
            raise
        return cls(
            Descriptors(made),
            os.getpid(),
            min(_MOST_BYTES, _available() // _SHARE) if limit is None else limit,
            transparent=_transparent_allowed(),
        )

    @classmethod
    def adopt(cls, travelled: Travelling) -> Self:
        """Take part in an arena of the process that pickled it.

        Raises
        ------
        Unavailable
            When that process has ended, or may not be looked into.
        """
        taken = take_from(travelled.origin, "an arena", RuntimeError("it does not go through the door"))
        descriptors = Descriptors(writable(taken))
        return cls(descriptors, travelled.origin.pid, travelled.limit, transparent=travelled.transparent)

    def travelling(self) -> Travelling:
        """What `adopt` needs elsewhere, for as long as this process keeps the arena."""
        numbers = self._descriptors.numbers
        return Travelling(Origin(os.getpid(), numbers, identities(numbers)), self._limit, self._transparent)

    def claim(self, length: int) -> Slot | None:
        """Take a slot for ``length`` bytes; None when the limit is reached, the kernel has no memory, or it is too long.

        The slot is free again when this process has no view of it any more, and no other has received it.
        """
        return self._slots.claim(length)

    def receive(self, index: int, ticket: int, length: int) -> Slot:
        """Take over what another process sent.

        Raises
        ------
        Unavailable
            When that process has ended and the slot was taken back meanwhile.
        """
        try:
            return self._slots.receive(index, ticket, length)
        except LookupError as error:
            raise Unavailable(
                f"a batch did not arrive: {error} - see what ended the worker (a signal, the OOM killer) and begin the "
                "epoch again",
                what="worker",
            ) from error

    def statistics(self) -> ArenaStatistics:
        """Count, after taking back what dead processes held."""
        self._slots.reclaim()
        found = self._slots.counts()
        return ArenaStatistics(
            arenas=1,
            slots=found.slots,
            bytes=found.bytes,
            huge_bytes=found.huge_bytes,
            filling=found.filling,
            in_flight=found.sent,
            held=found.held,
            handed_over=found.handed,
            fallbacks=found.refused,
        )

    def forking(self, witness: Callable[[], bool]) -> None:
        """Begin a fork: what is let go from now on is kept until ``witness()`` says that the child has ended."""
        self._slots.forking(witness)

    def forked(self, witness: Callable[[], bool]) -> None:
        """End it, in the parent: what this process has tensors of now is kept likewise."""
        self._slots.forked(witness)

    @staticmethod
    def known(key: Identity) -> Arena:
        """Find an arena that this process has.

        Raises
        ------
        Internal
            When it has none of that name.
        """
        found = _KNOWN.get(key)
        if found is None:
            raise Internal(
                "a batch came out of an arena that this process does not know - only the process whose DataLoader made "
                "the worker can receive its batches; keep its dataset until the last batch has come"
            )
        return found


def known_arenas() -> list[Arena]:
    """All arenas that this process has, its own and others'."""
    return list(_KNOWN.values())


_KNOWN: Final[WeakValueDictionary[Identity, Arena]] = WeakValueDictionary()


def arena_statistics() -> ArenaStatistics:
    """Count over all arenas that this process made and still has."""
    mine = [arena.statistics() for arena in known_arenas() if arena.owner == os.getpid()]
    names = list(ArenaStatistics.__dataclass_fields__)
    return ArenaStatistics(**{name: sum(getattr(found, name) for found in mine) for name in names})


def _sized(name: str, length: int, flags: int = 0) -> int:
    descriptor = os.memfd_create(f"alluxio-lance-arena-{name}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING | flags)
    try:
        os.ftruncate(descriptor, length)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _huge_pages() -> bool:
    return _HUGE_POOL.exists() and int(_HUGE_POOL.read_text()) > 0


def _transparent_allowed() -> bool:
    return _SHMEM_THP.exists() and any(word in _SHMEM_THP.read_text() for word in _THP_ALLOWED)


def _available() -> int:
    """Bytes of memory that can be had, by the host and by the control group."""
    found = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    host = int(found.group(1)) << 10 if found else _MOST_BYTES
    group = Path("/sys/fs/cgroup/memory.max")
    text = group.read_text().strip() if group.exists() else "max"
    return host if text == "max" else min(host, int(text))
