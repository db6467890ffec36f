"""What the lifecycle asks of the storage."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from alluxio_lance.incoming import Source
from alluxio_lance.lifecycle.ports.changes import ColdCopy, Snapshot, StoredFile
from alluxio_lance.manager import OnProgress
from alluxio_lance.ways import CacheShare, Explanation, FileWay

__all__ = ["STEP_BACK", "Destination", "Source", "Store", "TableReader", "Usage", "Write"]

STEP_BACK: Final = "step-back"
"""What a commit carries instead of an operation's id when it is no version of anybody: the store needs it for a while,
because Lance keeps its newest version whatever it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What versions of a table take, in bytes."""

    table: int
    """All files of the table."""
    total: Mapping[int, int]
    """By version: all files that it needs."""
    unique: Mapping[int, int]
    """By version: of these, the files that no other version of the table needs."""
    cached: Mapping[int, int] | None = None
    """By version: of ``total``, what lies in the cache; None without a cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """What every write tells the storage about itself; it ends up in the table's own transaction properties."""

    operation: str
    actor: str
    message: str
    on_progress: OnProgress | None = None


class Destination(Protocol):
    """Where whoever reads wants the values of rows to lie in the end, as far as that can be said beforehand."""

    def stretch(self, column: str, row: int, count: int) -> int:
        """Tell how many rows from one on, at most ``count``, have their places one behind the other; 0 for no place.

        Rows are counted from the first that is read. Called from any thread.
        """
        ...

    def room(self, column: str, row: int, count: int) -> memoryview | None:
        """Return the writable place of rows of one stretch, None where there is none.

        Its size is what their values must have: those of another size are not read into it. Called from any thread, more
        than once for the same rows when a read begins anew.
        """
        ...


class TableReader(Protocol):
    """One version of a table, open for reading."""

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema."""
        ...

    @property
    def num_rows(self) -> int:
        """The number of rows."""
        ...

    @property
    def ways(self) -> Sequence[FileWay]:
        """By which way each file is read; one that fell back to the endpoint in the middle says so afterwards."""
        ...

    def batches(
        self,
        columns: Sequence[str],
        *,
        rows: tuple[int, int] | None = None,
        batch_bytes: int = 2 << 20,
        batch_rows: int | None = None,
        into: Destination | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Stream rows in order, all or those from the first of ``rows`` to before the second.

        Batches have about ``batch_bytes``, or at most ``batch_rows`` rows where those are given. Values that need no
        decoding may be read right into the place that ``into`` has for them, more of them at once: the arrays are there then. It belongs to
        the reader until the batch comes, and whatever is read there without a batch is of no meaning.
        `Unavailable` when nothing comes for a long time: no read hangs for ever.
        """
        ...

    def matching(self, filter: str) -> Generator[npt.NDArray[np.uint64], None, None]:
        """Number the rows for which an SQL expression is true, ascending, in parts.

        `InvalidArgument` when it is none that may be evaluated, or does not fit the columns.
        """
        ...

    def close(self) -> None:
        """Let go of the table; a second call does nothing."""
        ...


class Store(Protocol):
    """Where the tables are. ``location`` is relative to the store's root, such as ``datasets/cifar10.lance``."""

    def storage_options(self, location: str) -> Mapping[str, str]:
        """Return what ``lance.dataset`` needs beside the address; empty for a folder."""
        ...

    def guard_commits(self, guard: Callable[[str], None]) -> None:
        """Have ``guard`` asked for a location right before a commit to it becomes visible; it raises `Conflict`.

        A store that itself refuses the second of two commits asks nobody.
        """
        ...

    def absolute(self, location: str) -> str:
        """Return what to give to ``lance.dataset``."""
        ...

    def source(self, data: Any, *, format: str | None, options: Mapping[str, Any]) -> Source:
        """Open data of any accepted kind for reading; `InvalidArgument` says what is accepted."""
        ...

    def create(self, location: str, source: Source, write: Write) -> int:
        """Write the first version of a table and return its Lance version; `AlreadyExists` when a table is there."""
        ...

    def append(self, location: str, source: Source, write: Write) -> int:
        """Add rows. `InvalidArgument` when the schema does not fit."""
        ...

    def overwrite(self, location: str, source: Source, write: Write) -> int:
        """Replace all rows."""
        ...

    def upsert(self, location: str, source: Source, on: Sequence[str], write: Write) -> int:
        """Replace the rows whose key matches, add the others; an empty source still makes a version."""
        ...

    def restore(self, location: str, version: int, write: Write) -> int:
        """Make a new Lance version with the content of an older one, without moving data."""
        ...

    def latest(self, location: str) -> int | None:
        """Return the newest Lance version; None when there is no table."""
        ...

    def writers(self, location: str, *, besides: Collection[int] = ()) -> dict[int, str | None]:
        """Return which operation each Lance version's transaction names, oldest first; None when it names none.

        Versions in ``besides`` are left out and not read. Empty when there is no table.
        """
        ...

    def snapshot(
        self, location: str, version: int, known: Mapping[str, StoredFile], on_progress: OnProgress | None = None
    ) -> Snapshot:
        """Describe a version; files that are not in ``known`` are hashed."""
        ...

    def usage(self, location: str, versions: Sequence[int]) -> Usage:
        """Tell what versions of a table take: how many bytes, how many of them alone.

        Counted as `removal` removes: manifests, transactions, deletions, data and blob side files; not Lance's own tags.
        """
        ...

    def removal(self, location: str, going: Sequence[int]) -> int:
        """Tell how many bytes `remove` of these versions would free. Changes nothing.

        Exact, but for the newest Lance version: what covers it, some hundred bytes, is not counted.
        """
        ...

    def remove(self, location: str, going: Sequence[int], write: Write) -> int:
        """Remove versions, and the files and Lance tags that no other version needs; return the bytes freed.

        The caller holds the commit lock. When the newest Lance version is among them it is first covered by a
        `STEP_BACK`: a `Restore` of the newest version that stays, or, when none stays, an empty one with the same
        schema. Steps back that cover nothing any more go too. Versions that are gone already are no error. Files of
        other, unfinished writes stay. `InvalidArgument` when a branch began at one of the versions.
        """
        ...

    def archive(
        self, location: str, version: int, cold: str, known: Mapping[str, StoredFile], write: Write
    ) -> ColdCopy:
        """Copy a version to the cold tier and verify the copy: rows, schema, and the hash of each file.

        ``cold`` is relative to the cold tier's root. What a dead process left there is replaced; a whole copy that is
        there already is verified and kept. The hot table is not touched. Raises `Corrupt` when the copy, or the
        original, is not what the catalog knows; `Unavailable` when the cold tier does not answer.
        """
        ...

    def unarchive(self, cold: str, location: str, version: int, known: Mapping[str, StoredFile], write: Write) -> None:
        """Bring a version back from the cold tier under its number: data first, verified, its manifest last.

        The caller holds the commit lock. Files that are there already, with the right size and hash, are kept; a
        version that is there already is no error. The copy in the cold tier stays.
        """
        ...

    def drop_cold(self, cold: str) -> None:
        """Remove a copy in the cold tier, whole or half; a missing one is no error."""
        ...

    def has_cache(self) -> bool:
        """Tell whether there is a cache between the files and whoever reads them; `warm` and its like need one."""
        ...

    def warm(
        self,
        location: str,
        version: int,
        on_progress: OnProgress | None = None,
        go_on: Callable[[], bool] = lambda: True,
    ) -> CacheShare:
        """Bring all files that a version needs into the cache, those that are there already excepted.

        Progress has the step ``cache`` and counts bytes; ``go_on`` is asked between files and ends it early. A version
        larger than the cache is not forced into it. Returns what is cached in the end. Without a cache it does nothing
        and says that all is there. `Unavailable` when the cache does not answer.
        """
        ...

    def share(self, location: str, version: int) -> CacheShare | None:
        """Tell how much of a version is cached; None without a cache."""
        ...

    def pin(self, location: str, versions: Sequence[int]) -> None:
        """Keep the files of these versions, and of no others of the line, from being evicted; idempotent.

        Without a cache it does nothing.
        """
        ...

    def cool(self, location: str, version: int, keep: Sequence[int]) -> int:
        """Let caches between the disk and here drop what of the versions only this one needs; return the bytes.

        What was pinned goes too. A store without such a cache does nothing.
        """
        ...

    def branch(self, location: str, branch: str, version: int, write: Write) -> int:
        """Begin a Lance branch at a version, with one commit of ours on it, and return the number of that version.

        What a dead process left of a branch of that name is removed first. Its table is at `branch_location`.
        """
        ...

    def branch_location(self, location: str, branch: str) -> str:
        """Return the location of a branch's own table; the empty branch is the table itself."""
        ...

    def unbranch(self, location: str, branch: str) -> None:
        """Remove a branch with its versions and files; a missing one is no error."""
        ...

    def merge(self, location: str, branch: str, version: int, write: Write) -> int:
        """Make a branch's version the newest one of the main line, by copying its rows; return its number."""
        ...

    def mirror_tags(self, location: str, tags: Mapping[str, int | None]) -> None:
        """Set Lance tags to versions, or remove them (None). Tags that are right already are left alone."""
        ...

    def sweep(self, location: str, keep: Sequence[int]) -> int:
        """Remove Lance versions and files that no version in ``keep`` needs and return the bytes freed.

        The caller holds the commit lock. The newest Lance version stays even when it is not in ``keep``, since Lance
        cannot remove it; without any in ``keep`` the whole table is dropped.
        """
        ...

    def remove_torn(self, location: str, known: Mapping[str, Collection[int]]) -> list[str]:
        """Remove what a write that was cut has left half, in all lines, and would hide versions; return the paths.

        Nothing of the versions in ``known`` (by branch; empty: the main line) is touched. The caller holds the commit lock.
        """
        ...

    def drop(self, location: str) -> None:
        """Remove a table with everything in its folder; a missing one is no error."""
        ...

    def open(self, location: str, version: int, known: Mapping[str, StoredFile] | None = None) -> TableReader:
        """Open a version for the sidecar; `Unavailable` or `Corrupt` when it cannot be read.

        With what the catalog knows of its files, they are read by the nearest way on this node, such as the block files
        of a local worker, verified by size and hash; without it through the store's own address.
        """
        ...

    def explain(self, location: str, version: int, known: Mapping[str, StoredFile]) -> Explanation:
        """Tell by which way `open` would read each file now, and why; changes and verifies nothing."""
        ...

    def dataset(self, location: str, version: int) -> Any:
        """Open a version as a ``lance.LanceDataset``, for people who want Lance itself; `NotFound` when it is gone."""
        ...
