"""Removing what no version needs any more, and what crashed writes left."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Final

import lance

from alluxio_lance.errors import NotFound
from alluxio_lance.storage.faults import lance_faults
from alluxio_lance.storage.opening import lance_arguments, open_latest, version_numbers
from alluxio_lance.storage.place import Place
from alluxio_lance.storage.tagging import untag

__all__ = ["sweep"]

_NOWHERE: Final = (1 << 62) + 1
"""A version that no table has: with it alone, Lance's clean-up removes only what crashed writes left."""
_OURS: Final = ("data/", "_deletions/", "_transactions/", "_versions/")
_HINT: Final = "_versions/latest_version_hint.json"


def sweep(place: Place, location: str, keep: Sequence[int]) -> int:
    """Remove versions that are neither in ``keep`` nor the newest, and files that no version left refers to.

    Safe only while nobody writes: the caller holds the commit lock.

    Returns
    -------
    int
        Bytes freed.

    Raises
    ------
    NotFound
        When versions are to be kept and there is no table.
    """
    before = place.files(location)
    table = open_latest(place, location)
    if not keep:
        place.drop(location)
        return sum(before.values())
    if table is None:
        raise NotFound(f"there is no table at {place.address(location).uri}, whose version {max(keep)} is to be kept")
    where = place.address(location).uri
    with lance_faults(where):
        doomed = sorted(set(version_numbers(table)) - {*keep, table.version})
        untag(table, doomed)
        table.cleanup_old_versions(
            versions=doomed or [_NOWHERE], delete_unverified=True, error_if_tagged_old_versions=False
        )
        _remove_orphans(place, location)
    return max(0, sum(before.values()) - sum(place.files(location).values()))


def _remove_orphans(place: Place, location: str) -> None:
    """Remove what Lance's clean-up does not know: files of a write that died before they had their final names."""
    uri = place.address(location).uri
    table = lance.dataset(uri, **lance_arguments(place, location))
    if table.branches.list():
        # Files of a branch are not listed with those of the main line.
        return
    named = {row["path"] for batch in table.tracked_files() for row in batch.select(["path"]).to_pylist()}
    place.remove(location, [path for path in place.files(location) if _is_orphan(path, named)])


def _is_orphan(path: str, named: set[str]) -> bool:
    if not path.startswith(_OURS) or path == _HINT or path in named:
        return False
    # The side files of a blob column lie in a folder with the data file's name.
    owner = PurePosixPath(path).parent.with_suffix(".lance")
    return str(owner) not in named
