"""Lance's own tags as a mirror of the catalog, so that plain ``lance.dataset(uri, version="active")`` works."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import lance

from alluxio_lance.errors import AlluxioLanceError, NotFound
from alluxio_lance.storage.faults import lance_faults
from alluxio_lance.storage.lines import Line, line_of
from alluxio_lance.storage.opening import open_version, version_numbers
from alluxio_lance.storage.place import Place
from alluxio_lance.storage.torn import torn_tags

__all__ = ["mirror_tags", "tag_files", "untag", "untag_line"]


def mirror_tags(place: Place, location: str, tags: Mapping[str, int | None]) -> None:
    """Set tags to versions or remove them; those that are right already are left alone.

    Lance's tags are common to all lines of a table: one that moves to another line leaves the first.

    Raises
    ------
    NotFound
        When the table or a version does not exist; then no tag was changed.
    """
    table = open_version(place, location)
    line = line_of(location)
    where = place.address(location).uri
    missing = {version for version in tags.values() if version is not None} - set(version_numbers(table))
    if missing:
        raise NotFound(f"{where} has no version {min(missing)} to tag")
    present = _mended(place, line, table, where)
    with lance_faults(where):
        for name, version in tags.items():
            wanted = None if version is None else (line.branch, version)
            _set(table, name, present.get(name), wanted)


def _mended(place: Place, line: Line, table: lance.LanceDataset, where: str) -> dict[str, tuple[str, int]]:
    """Return all tags, without those that a write which was cut has left half: whoever was to set one sets it again."""
    try:
        with lance_faults(where):
            return _present(table)
    except AlluxioLanceError:
        torn = torn_tags(place, line.root)
        if not torn:
            raise
    place.remove(line.root, torn)
    with lance_faults(where):
        return _present(table)


def _present(table: lance.LanceDataset) -> dict[str, tuple[str, int]]:
    """Return all tags, each with its branch (empty: the main line) and version."""
    return {name: (tag["branch"] or "", int(tag["version"])) for name, tag in table.tags.list().items()}


def _set(table: lance.LanceDataset, name: str, now: tuple[str, int] | None, wanted: tuple[str, int] | None) -> None:
    if wanted == now:
        return
    if wanted is None:
        table.tags.delete(name)
        return
    reference = (wanted[0] or None, wanted[1])
    if now is None:
        table.tags.create(name, reference)
    else:
        table.tags.update(name, reference)


def tag_files(table: lance.LanceDataset, line: Line, versions: Collection[int]) -> list[str]:
    """Return the files of all tags of versions of a line, relative to the main table."""
    with lance_faults(line.location):
        return [f"_refs/tags/{name}.json" for name in _tags_of(table, line, versions)]


def untag(table: lance.LanceDataset, line: Line, versions: Collection[int]) -> None:
    """Remove all tags of versions of a line."""
    for name in _tags_of(table, line, versions):
        table.tags.delete(name)


def untag_line(table: lance.LanceDataset, line: Line) -> None:
    """Remove all tags of a line, since Lance keeps a branch that is tagged."""
    untag(table, line, [version for branch, version in _present(table).values() if branch == line.branch])


def _tags_of(table: lance.LanceDataset, line: Line, versions: Collection[int]) -> list[str]:
    return [
        name for name, (branch, version) in _present(table).items() if branch == line.branch and version in versions
    ]
