"""Where tables lie: the port between how Lance is driven and the disk or object store that holds the bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import IO, Final, Protocol

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.ways import Way

__all__ = [
    "INCOMING",
    "Cache",
    "CachedFile",
    "CommitLock",
    "LanceAddress",
    "Look",
    "Near",
    "Patch",
    "Place",
    "check_location",
    "patched",
]

CommitLock = Callable[[int], AbstractContextManager[None]]
"""What Lance holds while it commits the version with a number."""

INCOMING: Final = "_incoming/"
"""The folder of a table in which a place may keep files until they are whole; all in it is left over from the dead."""


@dataclass(frozen=True, slots=True)
class LanceAddress:
    """What ``lance`` has to be told to reach a table."""

    uri: str
    storage_options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Patch:
    """Bytes to hash in the place of those that the file has at this offset; the length is the same."""

    offset: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedFile:
    """How a file stands in the cache."""

    bytes: int
    percent: int
    """How much of it is cached, 0 to 100; an empty file is all there."""
    pinned: bool
    """Whether it is kept from eviction."""

    @property
    def cached_bytes(self) -> int:
        """What is cached, rounded down to whole percents."""
        return self.bytes * self.percent // 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """How near a file is, seen from this node."""

    way: Way
    why: str
    """In words, what tells of it."""
    cached_percent: int | None = None
    """How much of it is cached, 0 to 100; None without a cache."""
    blocks: tuple[int, ...] = ()
    """Descriptors of the files of this node that make it up, in the order of the bytes. Who asked closes them."""
    damaged: bool = False
    """Whether what is cached on this node cannot be right."""


Look = Callable[[Iterable[str]], dict[str, Near]]
"""From paths of files to where they are."""


class Cache(Protocol):
    """What lies between the files of a place and whoever reads them. Files stay where they are kept, whatever it does.

    Its calls raise `Unavailable` when it does not answer.
    """

    def look(self, location: str) -> dict[str, CachedFile]:
        """Tell how all files of a table stand, with one question; empty when there is none."""
        ...

    def warm(
        self, location: str, paths: Sequence[str], on_bytes: Callable[[int], None], go_on: Callable[[], bool]
    ) -> None:
        """Bring files in, in this order, as far as they fit; those that are there already cost nothing.

        ``on_bytes`` hears how many bytes of them are cached; ``go_on`` is asked again and again, and ends it early.
        """
        ...

    def pin(self, location: str, paths: Iterable[str], *, pinned: bool) -> None:
        """Keep files from eviction, or let them go again; missing ones are no error."""
        ...

    def drop(self, location: str, paths: Iterable[str]) -> int:
        """Let files go, pinned ones too; return their bytes. Missing ones are no error."""
        ...

    def renew(self, location: str, path: str) -> None:
        """Forget what is cached of a file, because its bytes are wrong: the next read brings it anew."""
        ...


def check_location(location: str) -> None:
    """Refuse a location that is none, or that leaves the root.

    Raises
    ------
    InvalidArgument
        With what is accepted.
    """
    if any(part in ("", ".", "..") or "\0" in part or "\\" in part for part in location.split("/")):
        raise InvalidArgument(
            f"{location!r} is no location of a table: give a path relative to the store's root, "
            "without empty parts, '.', '..' or backslashes, such as datasets/cifar10.lance"
        )


def patched(patch: Patch | None, chunk: bytes, offset: int) -> bytes:
    """Return a file's bytes from ``offset`` on with those of the patch in their place."""
    if patch is None:
        return chunk
    start = max(patch.offset, offset)
    stop = min(patch.offset + len(patch.data), offset + len(chunk))
    if start >= stop:
        return chunk
    new = patch.data[start - patch.offset : stop - patch.offset]
    return b"".join((chunk[: start - offset], new, chunk[stop - offset :]))


class Place(Protocol):
    """The folders of tables and the files in them. ``location`` names a table, ``path`` a file relative to it."""

    def uri(self, location: str) -> str:
        """Name a table as Lance does; nothing is reached for it."""
        ...

    def address(self, location: str) -> LanceAddress:
        """Return what to give to Lance; `InvalidArgument` when the location leaves the root."""
        ...

    def commit_lock(self, location: str) -> CommitLock | None:
        """Return what Lance shall hold around a commit; None where the place itself refuses the second of two."""
        ...

    def guard_commits(self, guard: Callable[[str], None]) -> None:
        """Have ``guard`` asked for the location before a commit becomes visible, where the place does not refuse."""
        ...

    def files(self, location: str) -> dict[str, int]:
        """List all files of a table with their sizes; empty when there is none."""
        ...

    def read(self, location: str, path: str, offset: int, length: int) -> bytes:
        """Read bytes of a file; `Corrupt` when the file is missing or shorter."""
        ...

    def hash(self, location: str, path: str, patch: Patch | None, on_bytes: Callable[[int], None]) -> str:
        """Hash a file with BLAKE3 (64 hexadecimal digits); ``on_bytes`` hears how many bytes each step hashed."""
        ...

    def chunks(self, location: str, path: str) -> Iterator[bytes]:
        """Read a whole file piece by piece; `Corrupt` when the file is missing."""
        ...

    def put(self, location: str, path: str, chunks: Iterable[bytes]) -> None:
        """Write a file, whole or not at all, such that it survives a loss of power; one of that name is replaced."""
        ...

    def await_arrival(self, location: str, path: str) -> None:
        """Wait until what is listed of a file is all that will come, for as long as it may take to notice a dead writer.

        Nothing to do where a file is listed only when it is whole.
        """
        ...

    def harden(self, location: str, paths: Iterable[str]) -> None:
        """Make files survive a loss of power, as far as the place does not do so by itself."""
        ...

    def remove(self, location: str, paths: Iterable[str]) -> None:
        """Remove files; missing ones are no error."""
        ...

    def clear(self, location: str, owned: Callable[[str], bool]) -> int:
        """Give up what was being uploaded to files for which ``owned`` is true, and return its bytes.

        Safe only while nobody writes them. Where a file that arrives is a file like others, there is nothing to do.
        """
        ...

    def drop(self, location: str) -> None:
        """Remove the whole table, its manifests first; a missing or half removed one is no error."""
        ...

    def way(self) -> Way:
        """Return how files are read that nothing brings nearer."""
        ...

    def look(self, location: str, folder: str) -> Look:
        """Begin to look for the files of a table on this node, in the background where that takes time.

        Parameters
        ----------
        folder
            In which most of them will be; the files themselves need not be known yet.

        Returns
        -------
        Callable
            Given the paths of files, finds them as near to this node as they are, and opens them where they are nearer than
            `way`; to be called once at most.
        """
        ...

    def file_bytes(self) -> int | None:
        """Return how large a file may be to be read in one piece; None where it does not matter."""
        ...

    def cache(self) -> Cache | None:
        """Return the cache between the files and whoever reads them; None where they are read where they are kept."""
        ...

    def spool(self) -> IO[bytes]:
        """Open an unnamed temporary file, which is gone with its process."""
        ...

    def free_bytes(self) -> int | None:
        """Return how much still fits, where the place can tell."""
        ...
