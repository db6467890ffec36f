"""The store of tables: Lance driven below a root, as the lifecycle's port ``Store`` asks for it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Final, Self

import lance

from alluxio_lance.lifecycle.ports import ColdCopy, Snapshot, Source, StoredFile, Usage, Write
from alluxio_lance.manager import OnProgress
from alluxio_lance.storage import (
    archiving,
    branching,
    caching,
    importers,
    lines,
    measuring,
    removing,
    snapshots,
    sweeping,
    tagging,
    torn,
    unarchiving,
    upserting,
    writing,
)
from alluxio_lance.storage.cold import open_cold
from alluxio_lance.storage.faults import lance_faults
from alluxio_lance.storage.local import LocalRoot
from alluxio_lance.storage.models import delta as models
from alluxio_lance.storage.models.checking import checked
from alluxio_lance.storage.opening import open_latest, open_version, version_numbers
from alluxio_lance.storage.place import Place
from alluxio_lance.storage.reading import LanceTableReader
from alluxio_lance.storage.views import opening as views
from alluxio_lance.ways import CacheShare, Explanation
from alluxio_lance.weights.rows import is_model

__all__ = ["LanceStore"]


_COLD: Final = "cold"
_VIEWS: Final = "views"
"""The folder of what is read from block files of this node: some links, and joined files while they are read."""


class LanceStore:
    """Lance tables in a `Place`, and archived versions in another one. Threads may share it.

    Progress is reported from the thread in which Lance reads its input, or the caller's.

    Parameters
    ----------
    place, cold
        Where the tables lie, and the archived versions.
    views
        A folder of this node for the short time of a read; it is made when it is needed.
    """

    def __init__(self, place: Place, cold: Place, views: Path) -> None:
        self._place = place
        self._cold = cold
        self._views = views

    @classmethod
    def local(
        cls,
        root: Path,
        cold: str | PathLike[str] | None = None,
        cold_options: Mapping[str, str] | None = None,
    ) -> Self:
        """Open a store in a local folder, which is created when it is missing.

        Parameters
        ----------
        root
            The folder of the tables.
        cold
            The cold tier: a folder, or ``s3://BUCKET/PREFIX``. By default the folder ``cold`` beside ``root``.
        cold_options
            How to reach a bucket, see `open_cold`.

        Raises
        ------
        InvalidArgument
            When the cold tier or an option is unknown.
        """
        place = LocalRoot(root)
        below = open_cold(root.absolute().parent / _COLD if cold is None else cold, cold_options)
        return cls(place, below, root.absolute().parent / _VIEWS)

    @classmethod
    def at(
        cls,
        address: str,
        root: Path,
        cold: str | PathLike[str] | None = None,
        cold_options: Mapping[str, str] | None = None,
        *,
        patient: bool = False,
    ) -> Self:
        """Open a store by its address.

        Parameters
        ----------
        address
            ``alluxio://HOST:19998/FOLDER?proxy=39999``; empty for the folder ``root``.
        root, cold, cold_options
            As in `local`; by default the cold tier is the folder ``cold`` beside ``root``.
        patient
            Open it also while it cannot be reached: what needs a table raises `Unavailable` then.

        Raises
        ------
        InvalidArgument
            When the address is of no known kind.
        Unavailable
            When it cannot be reached.
        """
        if not address:
            return cls.local(root, cold, cold_options)
        from alluxio_lance.storage.alluxio.place import AlluxioPlace  # noqa: PLC0415 - only who has one pays for its client

        below = open_cold(root.absolute().parent / _COLD if cold is None else cold, cold_options)
        return cls(AlluxioPlace.open(address, patient=patient), below, root.absolute().parent / _VIEWS)

    def storage_options(self, location: str) -> Mapping[str, str]:
        """Return what ``lance.dataset`` needs beside the address; empty for a folder."""
        return self._place.address(location).storage_options

    def guard_commits(self, guard: Callable[[str], None]) -> None:
        """Have ``guard`` asked for a location right before a commit to it becomes visible.

        Only where the place would let the second of two commits overwrite the first: elsewhere nobody needs to ask.
        """
        self._place.guard_commits(guard)

    def absolute(self, location: str) -> str:
        """Return what to give to ``lance.dataset``."""
        return self._place.uri(location)

    def source(self, data: Any, *, format: str | None, options: Mapping[str, Any]) -> Source:
        """Open data of any accepted kind for reading, see docs/importers.md.

        Raises
        ------
        NotFound
            When there is nothing at the path.
        InvalidArgument
            Saying what is accepted, or what is wrong with the file or option.
        """
        return importers.open_source(data, format=format, options=options)

    def create(self, location: str, source: Source, write: Write) -> int:
        """Write the first version of a table and return its number.

        Raises
        ------
        AlreadyExists
            When a table is there; what a crashed `create` left does not count.
        InvalidArgument
            When the data cannot be read or stored, or are marked as a model and are no whole one.
        NoSpace
            When the disk is full.
        """
        return writing.create(self._place, location, checked(source) if _is_model(source) else source, write)

    def append(self, location: str, source: Source, write: Write) -> int:
        """Add rows; columns may come in any order, missing ones become null.

        Raises
        ------
        InvalidArgument
            When the data do not fit, naming every column that differs.
        """
        return writing.append(self._place, location, source, write)

    def overwrite(self, location: str, source: Source, write: Write) -> int:
        """Replace all rows, and the schema; of a model only the pieces that differ are written.

        Raises
        ------
        InvalidArgument
            When the data cannot be read or stored, or are marked as a model and are no whole one.
        Conflict
            When another writer changed the model meanwhile.
        """
        write_rows = models.overwrite if _is_model(source) else writing.overwrite
        return write_rows(self._place, location, source, write)

    def upsert(self, location: str, source: Source, on: Sequence[str], write: Write) -> int:
        """Replace the rows whose key matches, add the others; an empty source still makes a version.

        Raises
        ------
        InvalidArgument
            When the data do not fit, or a key is missing, null or twice in the source.
        """
        return upserting.upsert(self._place, location, source, on, write)

    def restore(self, location: str, version: int, write: Write) -> int:
        """Make a new version with the content of an older one, without moving data."""
        return writing.restore(self._place, location, version, write)

    def latest(self, location: str) -> int | None:
        """Return the newest version; None when there is no table."""
        table = open_latest(self._place, location)
        return None if table is None else int(table.version)

    def writers(self, location: str, *, besides: Collection[int] = ()) -> dict[int, str | None]:
        """Return which operation each version's transaction names, oldest first; None when it names none."""
        table = open_latest(self._place, location)
        if table is None:
            return {}
        with lance_faults(self.absolute(location)):
            asked = [version for version in version_numbers(table) if version not in besides]
            return {version: writing.writer_of(table, version) for version in asked}

    def snapshot(
        self,
        location: str,
        version: int,
        known: Mapping[str, StoredFile],
        on_progress: OnProgress | None = None,
    ) -> Snapshot:
        """Describe a version; files that are not in ``known`` are flushed to the disk and hashed."""
        return snapshots.snapshot(self._place, location, version, known, on_progress)

    def usage(self, location: str, versions: Sequence[int]) -> Usage:
        """Tell what versions of a table take: how many bytes, how many of them alone."""
        return measuring.usage(self._place, location, versions)

    def removal(self, location: str, going: Sequence[int]) -> int:
        """Tell how many bytes `remove` of these versions would free; what has to cover the newest is not counted."""
        return removing.removal(self._place, location, going)

    def remove(self, location: str, going: Sequence[int], write: Write) -> int:
        """Remove versions, and the files and tags that no other version needs; return the bytes freed.

        The caller holds the commit lock.

        Raises
        ------
        InvalidArgument
            When a branch began at one of the versions.
        """
        return removing.remove(self._place, location, going, write)

    def archive(
        self, location: str, version: int, cold: str, known: Mapping[str, StoredFile], write: Write
    ) -> ColdCopy:
        """Copy a version to the cold tier and verify the copy.

        Raises
        ------
        Corrupt
            When the copy, or the original, is not what the catalog knows.
        Unavailable
            When the cold tier does not answer.
        """
        return archiving.archive(self._place, self._cold, location, version, cold, known, write)

    def unarchive(self, cold: str, location: str, version: int, known: Mapping[str, StoredFile], write: Write) -> None:
        """Bring a version back from the cold tier under its number. The caller holds the commit lock.

        Raises
        ------
        NotFound
            When there is no whole copy.
        Corrupt
            When the copy is not what the catalog knows.
        Unavailable
            When the cold tier does not answer.
        """
        unarchiving.unarchive(self._cold, self._place, cold, location, version, known, write)

    def drop_cold(self, cold: str) -> None:
        """Remove a copy in the cold tier, whole or half; a missing one is no error."""
        self._cold.drop(cold)

    def has_cache(self) -> bool:
        """Tell whether there is a cache between the files and whoever reads them."""
        return self._place.cache() is not None

    def warm(
        self,
        location: str,
        version: int,
        on_progress: OnProgress | None = None,
        go_on: Callable[[], bool] = lambda: True,
    ) -> CacheShare:
        """Bring all files that a version needs into the cache, as far as they fit.

        Raises
        ------
        NotFound
            When the table or version does not exist.
        Unavailable
            When the cache does not answer.
        """
        return caching.warm(self._place, location, version, on_progress, go_on)

    def share(self, location: str, version: int) -> CacheShare | None:
        """Tell how much of a version is cached; None without a cache."""
        return caching.share(self._place, location, version)

    def pin(self, location: str, versions: Sequence[int]) -> None:
        """Keep the files of these versions, and of no others of the line, from being evicted."""
        caching.pin(self._place, location, versions)

    def cool(self, location: str, version: int, keep: Sequence[int]) -> int:
        """Let the cache drop what of a version nobody in ``keep`` needs; return the bytes. Files stay.

        A place without a cache does nothing.
        """
        return caching.cool(self._place, location, version, keep)

    def branch(self, location: str, branch: str, version: int, write: Write) -> int:
        """Begin a branch at a version of the main line, with one commit on it, and return the number of that version.

        Raises
        ------
        NotFound
            When the version does not exist.
        InvalidArgument
            When there can be no branch of that name.
        """
        return branching.branch(self._place, location, branch, version, write)

    def branch_location(self, location: str, branch: str) -> str:
        """Return the location of a branch's own table; the empty branch is the table itself."""
        return lines.branch_location(location, branch)

    def unbranch(self, location: str, branch: str) -> None:
        """Remove a branch with its versions, tags and files; a missing one is no error."""
        branching.unbranch(self._place, location, branch)

    def merge(self, location: str, branch: str, version: int, write: Write) -> int:
        """Make a branch's version the newest one of the main line, by copying its rows; return its number."""
        return branching.merge(self._place, location, branch, version, write)

    def mirror_tags(self, location: str, tags: Mapping[str, int | None]) -> None:
        """Set Lance tags to versions, or remove them (None)."""
        tagging.mirror_tags(self._place, location, tags)

    def sweep(self, location: str, keep: Sequence[int]) -> int:
        """Remove versions and files that nothing in ``keep`` needs and return the bytes freed.

        The caller holds the commit lock. The newest version stays; without any in ``keep`` the table is dropped.
        """
        return sweeping.sweep(self._place, location, keep)

    def remove_torn(self, location: str, known: Mapping[str, Collection[int]]) -> list[str]:
        """Remove what a write that was cut has left half, and would hide versions; return the paths.

        Nothing of the versions in ``known`` (by branch; empty: the main line) is touched. The caller holds the commit lock.
        """
        return torn.remove_torn(self._place, location, known)

    def drop(self, location: str) -> None:
        """Remove a table with everything in its folder; a missing one is no error."""
        self._place.drop(location)

    def explain(self, location: str, version: int, known: Mapping[str, StoredFile]) -> Explanation:
        """Tell by which way `open` would read each file now, and why; changes and verifies nothing.

        Raises
        ------
        NotFound
            When the table or version does not exist.
        """
        return views.explain(self._place, location, version, known, self._views)

    def open(
        self,
        location: str,
        version: int,
        known: Mapping[str, StoredFile] | None = None,
    ) -> LanceTableReader:
        """Open a version for reading: with what the catalog knows of its files, each by the nearest way.

        Raises
        ------
        NotFound
            When the table or version does not exist.
        Unavailable
            When the place does not answer.
        """
        return views.open_nearest(self._place, location, version, known, self._views)

    def dataset(self, location: str, version: int) -> lance.LanceDataset:
        """Open a version as Lance itself.

        Raises
        ------
        NotFound
            When the table or version does not exist.
        """
        return open_version(self._place, location, version)


def _is_model(source: Source) -> bool:
    return is_model(source.reader.schema)
