"""The store of tables: Lance driven below a root, as the lifecycle's port ``Store`` asks for it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import lance

from alluxio_lance.lifecycle.ports import Snapshot, Source, StoredFile, Write
from alluxio_lance.manager import OnProgress
from alluxio_lance.storage import importers, snapshots, sweeping, tagging, upserting, writing
from alluxio_lance.storage.faults import lance_faults
from alluxio_lance.storage.local import LocalRoot
from alluxio_lance.storage.opening import open_latest, open_version, version_numbers
from alluxio_lance.storage.place import Place
from alluxio_lance.storage.reading import LanceTableReader

__all__ = ["LanceStore"]


class LanceStore:
    """Lance tables in a `Place`. Holds no connection and no open file between calls; threads may share it.

    Progress is reported from the thread in which Lance reads its input.
    """

    def __init__(self, place: Place) -> None:
        self._place = place

    @classmethod
    def local(cls, root: Path) -> Self:
        """Open a store in a local folder, which is created when it is missing."""
        return cls(LocalRoot(root))

    def absolute(self, location: str) -> str:
        """Return what to give to ``lance.dataset``."""
        return self._place.address(location).uri

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
            When the data cannot be read or stored.
        NoSpace
            When the disk is full.
        """
        return writing.create(self._place, location, source, write)

    def append(self, location: str, source: Source, write: Write) -> int:
        """Add rows; columns may come in any order, missing ones become null.

        Raises
        ------
        InvalidArgument
            When the data do not fit, naming every column that differs.
        """
        return writing.append(self._place, location, source, write)

    def overwrite(self, location: str, source: Source, write: Write) -> int:
        """Replace all rows, and the schema."""
        return writing.overwrite(self._place, location, source, write)

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
            told = {version: table.read_transaction(version) for version in asked}
        return {
            version: None if said is None else (said.transaction_properties or {}).get(writing.OPERATION)
            for version, said in told.items()
        }

    def snapshot(
        self,
        location: str,
        version: int,
        known: Mapping[str, StoredFile],
        on_progress: OnProgress | None = None,
    ) -> Snapshot:
        """Describe a version; files that are not in ``known`` are flushed to the disk and hashed."""
        return snapshots.snapshot(self._place, location, version, known, on_progress)

    def mirror_tags(self, location: str, tags: Mapping[str, int | None]) -> None:
        """Set Lance tags to versions, or remove them (None)."""
        tagging.mirror_tags(self._place, location, tags)

    def sweep(self, location: str, keep: Sequence[int]) -> int:
        """Remove versions and files that nothing in ``keep`` needs and return the bytes freed.

        The caller holds the commit lock. The newest version stays; without any in ``keep`` the table is dropped.
        """
        return sweeping.sweep(self._place, location, keep)

    def drop(self, location: str) -> None:
        """Remove a table with everything in its folder; a missing one is no error."""
        self._place.drop(location)

    def open(self, location: str, version: int) -> LanceTableReader:
        """Open a version for reading.

        Raises
        ------
        NotFound
            When the table or version does not exist.
        """
        dataset = open_version(self._place, location, version)
        return LanceTableReader(dataset, f"version {version} of {self.absolute(location)}")

    def dataset(self, location: str, version: int) -> lance.LanceDataset:
        """Open a version as Lance itself.

        Raises
        ------
        NotFound
            When the table or version does not exist.
        """
        return open_version(self._place, location, version)
