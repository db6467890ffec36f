"""Lance's own tags as a mirror of the catalog, so that plain ``lance.dataset(uri, version="active")`` works."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import lance

from alluxio_lance.errors import NotFound
from alluxio_lance.storage.faults import lance_faults
from alluxio_lance.storage.opening import open_version, version_numbers
from alluxio_lance.storage.place import Place

__all__ = ["mirror_tags", "untag"]


def mirror_tags(place: Place, location: str, tags: Mapping[str, int | None]) -> None:
    """Set tags to versions or remove them; those that are right already are left alone.

    Raises
    ------
    NotFound
        When the table or a version does not exist; then no tag was changed.
    """
    table = open_version(place, location)
    where = place.address(location).uri
    missing = {version for version in tags.values() if version is not None} - set(version_numbers(table))
    if missing:
        raise NotFound(f"{where} has no version {min(missing)} to tag")
    with lance_faults(where):
        present = {name: int(tag["version"]) for name, tag in table.tags.list().items()}
        for name, version in tags.items():
            _set(table, name, present.get(name), version)


def _set(table: lance.LanceDataset, name: str, now: int | None, wanted: int | None) -> None:
    if wanted == now:
        return
    if wanted is None:
        table.tags.delete(name)
    elif now is None:
        table.tags.create(name, wanted)
    else:
        table.tags.update(name, wanted)


def untag(table: lance.LanceDataset, versions: Iterable[int]) -> None:
    """Remove all tags of versions, since Lance keeps what is tagged."""
    gone = set(versions)
    for name, tag in table.tags.list().items():
        if int(tag["version"]) in gone:
            table.tags.delete(name)
