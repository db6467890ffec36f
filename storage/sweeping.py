"""Removing what no version needs any more, and what crashed writes left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from alluxio_lance.errors import NotFound
from alluxio_lance.storage.faults import lance_faults
from alluxio_lance.storage.inventory import MANIFESTS, Inventory, data_before_manifests
from alluxio_lance.storage.lines import line_of
from alluxio_lance.storage.opening import open_latest
from alluxio_lance.storage.place import INCOMING, Place
from alluxio_lance.storage.tagging import untag

__all__ = ["sweep"]

_OURS: Final = ("data/", "_deletions/", "_transactions/", MANIFESTS, INCOMING)
_HINT: Final = f"{MANIFESTS}latest_version_hint.json"


def sweep(place: Place, location: str, keep: Sequence[int]) -> int:
    """Remove versions that are neither in ``keep`` nor the newest, and files that no version left refers to.

    Versions at which a branch began stay too. Of a branch, only its own folder is swept, and of the main line all but
    the branches. Safe only while nobody writes: the caller holds the commit lock.

    Returns
    -------
    int
        Bytes freed.

    Raises
    ------
    NotFound
        When versions are to be kept and there is no table.
    """
    if not keep:
        before = sum(place.files(location).values()) + place.clear(location, lambda _: True)
        place.drop(location)
        return before
    if open_latest(place, location) is None:
        raise NotFound(f"there is no table at {place.address(location).uri}, whose version {max(keep)} is to be kept")
    stock = Inventory.take(place, location)
    staying = set(stock.needs) & {*keep, max(stock.needs), *stock.bases.values()}
    with lance_faults(place.address(location).uri):
        untag(stock.table, stock.line, set(stock.needs) - staying)
    needed = stock.elsewhere.union(*(stock.needs[version] for version in staying))
    orphans = [path for path in stock.sizes if _is_own(path, location) and path not in needed]
    cleared = place.clear(stock.line.root, lambda path: _is_own(path, location))
    place.remove(stock.line.root, data_before_manifests(orphans))
    return cleared + sum(stock.sizes.values()) - sum(place.files(stock.line.root).values())


def _is_own(path: str, location: str) -> bool:
    """Tell whether a file is one that versions of this line are made of; others in the folder are not ours to remove."""
    line = line_of(location)
    own = path.removeprefix(line.prefix)
    return line.owns(path) and own.startswith(_OURS) and own != _HINT
