"""The values of how bytes come near: by which way each file of a version was or would be read, and how much is kept where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["CacheShare", "DiskStatistics", "Explanation", "FileWay", "Way", "all_blocks", "bytes_by_way"]


class Way(StrEnum):
    """How a file is read, the nearest first."""

    LOCAL = "local"
    """A file below a local root."""
    DISK = "disk"
    """Segments that this node kept on its own disk."""
    SHORT_CIRCUIT = "short-circuit"
    """A block file of an Alluxio worker on this node, opened where it lies."""
    JOINED = "joined"
    """Several block files of a worker on this node, joined into one."""
    ENDPOINT = "endpoint"
    """Over the network, through the S3 service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileWay:
    """One file of a version and its way."""

    path: str
    """Relative to the table."""
    bytes: int
    way: Way
    why: str
    """In words: ``its 3 blocks lie in /cache of this node's worker``, ``block 2 of 3 is not cached on this node``."""
    cached_percent: int | None = None
    """How much of it lies in the workers of the whole cluster, 0 to 100; None: there is no cache between."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheShare:
    """How much of a version lies in the cache between the files and their readers."""

    bytes: int
    """All files that the version needs."""
    cached_bytes: int
    """Of these, what lies in the cache; rounded down by file to whole percents."""
    pinned: bool = False
    """Whether all its files are kept from eviction."""

    @property
    def percent(self) -> int:
        """The share, 0 to 100, rounded down; an empty version is all there."""
        return 100 * self.cached_bytes // self.bytes if self.bytes else 100


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskStatistics:
    """What this node's disk keeps of segments, and counts since the start."""

    budget_bytes: int
    """0: it keeps none."""
    used_bytes: int
    columns: int
    """Columns that lie there wholly."""
    hits: int
    """Columns that a load found there."""
    misses: int
    """Columns that a load looked for and did not find."""
    dropped_writes: int
    """Columns that were not kept: the disk could not keep up or failed, or they are larger than the budget."""
    corrupt: int
    """Columns that were found there with other bytes than were written, and thrown away."""
    mapped_bytes: int = 0
    """Files of these that are open to be read in place of shared memory now; the page cache holds what is read of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """How a version would be read now."""

    files: tuple[FileWay, ...]
    """Sorted by path."""
    share: CacheShare | None
    """None: there is no cache between."""


def all_blocks(files: Iterable[FileWay]) -> bool:
    """Tell whether files are all read from blocks of a worker on this node; False for none.

    No byte of such a file is read before the file's hash was found to be the one in the catalog.
    """
    ways = {file.way for file in files}
    return bool(ways) and ways <= {Way.SHORT_CIRCUIT, Way.JOINED}


def bytes_by_way(files: Iterable[FileWay]) -> Mapping[Way, int]:
    """Sum the bytes of each way, the nearest first; ways without a file are left out."""
    totals = dict.fromkeys(Way, 0)
    for file in files:
        totals[file.way] += file.bytes
    return {way: total for way, total in totals.items() if total}
