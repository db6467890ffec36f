"""How much memory the segments of this node may take, and who has taken it."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from alluxio_lance.errors import InvalidArgument, NoSpace
from alluxio_lance.sidecar.cgroups import ROOT, limiting
from alluxio_lance.sidecar.memfd import free_huge_bytes

__all__ = ["Budget", "Host", "Room", "size_text"]

_NAMES: Final = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
"""What version 2 of cgroups calls limit, usage and page cache, and what version 1 calls them."""
_UNLIMITED: Final = 1 << 60
"""Version 1 of cgroups says "no limit" with a number near 2**63."""


class Room(Protocol):
    """Where a load gets its memory from; it may evict what nobody reads."""

    def reserve(self, need: int, *, huge: int = 0) -> None:
        """Claim ``need`` bytes, ``huge`` of them on reserved huge pages; `NoSpace` when they do not fit."""
        ...

    def release(self, size: int) -> None:
        """Give bytes back."""
        ...


class Host:
    """What the kernel says about memory, through /proc and the memory controller of this process' cgroup.

    Parameters
    ----------
    root
        Where /proc and /sys are found.
    """

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root

    def total(self) -> int:
        """Return the bytes that this process may ever have: the least of its cgroups' limits and MemTotal."""
        return min([self._meminfo("MemTotal"), *(limit for limit, _ in self._groups())])

    def available(self) -> int:
        """Return the bytes that can be had now without pushing others out: MemAvailable, and what cgroups leave."""
        return max(0, min([self._meminfo("MemAvailable"), *(limit - used for limit, used in self._groups())]))

    def _meminfo(self, key: str) -> int:
        text = (self._root / "proc/meminfo").read_text()
        found = re.search(rf"^{key}:\s+(\d+) kB$", text, re.MULTILINE)
        if found is None:
            raise InvalidArgument(f"/proc/meminfo does not tell {key} - set ALLUXIO_LANCE_MEMORY_BUDGET in bytes")
        return int(found[1]) * 1024

    def _groups(self) -> list[tuple[int, int]]:
        """List limit and bytes in use (page cache that can be dropped left out) of every limiting cgroup."""
        groups = (self._group(folder, *_NAMES[first]) for folder, first in limiting("memory", self._root))
        return [group for group in groups if group is not None]

    @staticmethod
    def _group(folder: Path, limit_name: str, usage_name: str, cache_name: str) -> tuple[int, int] | None:
        try:
            limit_text = (folder / limit_name).read_text().strip()
            if limit_text == "max" or int(limit_text) >= _UNLIMITED:
                return None
            usage = int((folder / usage_name).read_text())
            found = re.search(rf"^{cache_name} (\d+)$", (folder / "memory.stat").read_text(), re.MULTILINE)
        except (FileNotFoundError, NotADirectoryError, PermissionError):  # normal: not every level has the controller
            return None
        return int(limit_text), max(0, usage - (int(found[1]) if found else 0))


class Budget:
    """Bytes that segments may take; safe to use from any thread.

    Parameters
    ----------
    limit
        Bytes in all, reserved huge pages included.
    available
        Tells how many bytes the host has free now; asked at each reservation.
    """

    def __init__(self, limit: int, *, available: Callable[[], int] | None = None) -> None:
        if limit < 0:
            raise InvalidArgument(f"a memory budget of {limit} bytes makes no sense - give a number of bytes above 0")
        self.limit = limit
        self._available = Host().available if available is None else available
        self._used = 0
        self._lock = threading.Lock()

    @classmethod
    def detect(cls, fraction: float = 0.6, *, host: Host | None = None, huge: int | None = None) -> Budget:
        """Take a fraction of what this process may have, but not more than is free now, and all reserved huge pages.

        Parameters
        ----------
        fraction
            Share of the memory, above 0 and at most 1.
        host
            Who tells about memory; this machine by default.
        huge
            Bytes of free reserved huge pages; looked up by default. They are no part of MemAvailable.
        """
        if not 0 < fraction <= 1:
            raise InvalidArgument(f"the fraction of memory to use is above 0 and at most 1, not {fraction}")
        host = host or Host()
        ordinary = min(int(fraction * host.total()), host.available())
        return cls(ordinary + (free_huge_bytes() if huge is None else huge), available=host.available)

    @property
    def used(self) -> int:
        """Bytes claimed now."""
        return self._used

    def available(self) -> int:
        """Return the bytes that the host has free now; page cache that it would give up counts as free."""
        return self._available()

    def shortage(self, need: int, *, huge: int = 0) -> int:
        """Return how many bytes must be given back before ``need`` fits; 0 when it fits now."""
        return max(0, self._used + need - self.limit, need - huge - self._available())

    def reserve(self, need: int, *, huge: int = 0) -> None:
        """Claim bytes.

        Parameters
        ----------
        need
            Bytes in all.
        huge
            Bytes of these on reserved huge pages, which MemAvailable does not count.

        Raises
        ------
        NoSpace
            When they do not fit into the budget or into the host's free memory; details: budget, need, used, available.
        """
        with self._lock:
            if self.shortage(need, huge=huge):
                raise self.refusal(need)
            self._used += need

    def refusal(self, need: int) -> NoSpace:
        """Make the error that says what does not fit where."""
        available = self._available()
        # What is larger than the budget fits into no emptier one.
        remedy = ", or make room with `alluxio-lance cache evict`" if need <= self.limit else ""
        return NoSpace(
            f"{size_text(need)} of shared memory are needed, but of the budget of {size_text(self.limit)} {size_text(self._used)} "
            f"are used, and the host has {size_text(available)} free - raise ALLUXIO_LANCE_MEMORY_BUDGET{remedy}",
            budget=self.limit,
            need=need,
            used=self._used,
            available=available,
        )

    def release(self, size: int) -> None:
        """Give bytes back."""
        with self._lock:
            assert 0 <= size <= self._used, (size, self._used)
            self._used -= size


def size_text(number: int) -> str:
    """Write a number of bytes for people."""
    for unit, scale in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if number >= scale:
            return f"{number / scale:.1f} {unit}"
    return f"{number} bytes"
