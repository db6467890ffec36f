"""Which files each version of a table needs, and which of them nobody else does."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final, Self

import lance

from alluxio_lance.lifecycle.ports.store import STEP_BACK
from alluxio_lance.storage.faults import lance_faults
from alluxio_lance.storage.fragments import side_files
from alluxio_lance.storage.lines import Line, line_of
from alluxio_lance.storage.opening import open_version
from alluxio_lance.storage.place import Place
from alluxio_lance.storage.writing import writer_of

__all__ = ["MANIFESTS", "Inventory", "data_before_manifests"]

MANIFESTS: Final = "_versions/"


class Inventory:
    """The files of one line of a table as they are now; paths are relative to the main table.

    It is read from the manifests and one listing: no data file is opened. It holds while nobody writes.
    """

    def __init__(
        self,
        line: Line,
        table: lance.LanceDataset,
        sizes: Mapping[str, int],
        needs: Mapping[int, frozenset[str]],
        elsewhere: frozenset[str],
        bases: Mapping[str, int],
    ) -> None:
        self.line = line
        self.table = table
        """The line's newest version, open."""
        self.sizes = sizes
        """All files of the main table's folder, branches included."""
        self.needs = needs
        """By version of this line: the files without which it cannot be read, also when they are missing."""
        self.elsewhere = elsewhere
        """Files that other lines need."""
        self.bases = bases
        """Where each branch that began on this line began; Lance keeps that version."""

    @classmethod
    def take(cls, place: Place, location: str) -> Self:
        """Read the manifests of all lines.

        Raises
        ------
        NotFound
            When there is no table.
        """
        line = line_of(location)
        main = open_version(place, line.root)
        sizes = place.files(line.root)
        with lance_faults(place.address(line.root).uri):
            said = main.branches.list()
        tables = {line.location: open_version(place, location) if line.branch else main}
        for branch in ("", *said):
            other = Line(line.root, branch)
            if other.location not in tables and (branch == "" or _is_there(other, sizes)):
                tables[other.location] = open_version(place, other.location)
        owners = side_files(sizes)
        needs = {
            where: _needs(table, line_of(where), owners, place.address(where).uri) for where, table in tables.items()
        }
        mine = needs.pop(line.location)
        others = (files for versions in needs.values() for files in versions.values())
        began = {
            name: int(about["parent_version"])
            for name, about in said.items()
            if (about["parent_branch"] or "") == line.branch
        }
        return cls(line, tables[line.location], sizes, mine, frozenset().union(*others), began)

    def bytes_of(self, paths: Iterable[str]) -> int:
        """Sum the sizes of files that are there."""
        return sum(self.sizes.get(path, 0) for path in paths)

    def only(self, going: Collection[int], staying: Collection[int]) -> set[str]:
        """Return the files that some version in ``going`` needs, and none in ``staying`` nor another line."""
        leaving = set().union(*(self.needs[version] for version in going))
        return leaving - set().union(self.elsewhere, *(self.needs[version] for version in staying))

    def steps_back(self, besides: Collection[int] = ()) -> set[int]:
        """Return the versions that are nobody's: they only cover a version that was undone or removed."""
        asked = [version for version in self.needs if version not in besides]
        with lance_faults(f"the transactions of {self.line.location}"):
            return {version for version in asked if writer_of(self.table, version) == STEP_BACK}


def _is_there(line: Line, sizes: Mapping[str, int]) -> bool:
    """Tell whether a branch that Lance lists has a table: one half made or half removed has none."""
    return any(path.startswith(f"{line.prefix}{MANIFESTS}") for path in sizes)


def _needs(
    table: lance.LanceDataset, line: Line, owners: Mapping[str, list[str]], where: str
) -> dict[int, frozenset[str]]:
    needs: dict[int, set[str]] = {}
    with lance_faults(where):
        rows = list(_tracked(table))
    own = next(row["base_uri"] for row in rows if row["path"].startswith(MANIFESTS))
    main = own.removesuffix(f"/{line.prefix}".rstrip("/"))
    for row in rows:
        path = _relative(row["base_uri"], row["path"], main)
        if path is not None:
            needs.setdefault(int(row["version"]), set()).update((path, *owners.get(path, ())))
    return {version: frozenset(paths) for version, paths in needs.items()}


def _tracked(table: lance.LanceDataset) -> Iterator[dict[str, Any]]:
    for batch in table.tracked_files():
        yield from batch.select(["version", "base_uri", "path"]).to_pylist()


def _relative(base: str, path: str, main: str) -> str | None:
    """Name a file relative to the main table; None when it lies elsewhere, where nothing is ours to count."""
    if base == main:
        return path
    return f"{base[len(main) + 1 :]}/{path}" if base.startswith(f"{main}/") else None


def data_before_manifests(paths: Iterable[str]) -> list[str]:
    """Order files such that a manifest comes after all that it names.

    Removed in that order, what a process that was killed has left is still named; brought back in it, nothing is named
    before it is there.
    """
    return sorted(paths, key=lambda path: (MANIFESTS in path, path))
