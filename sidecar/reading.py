"""Opens versions in the store for a load, and makes sure that what was opened is what was meant."""

from __future__ import annotations

from alluxio_lance.errors import AlluxioLanceError, NotFound, Restoring
from alluxio_lance.lifecycle.ports import Catalog, Store, TableReader
from alluxio_lance.lifecycle.uri import ResourceName, parse_selector
from alluxio_lance.values import State, Version

__all__ = ["open_version"]


def open_version(catalog: Catalog, store: Store, version: Version) -> TableReader:
    """Open a version for reading.

    Raises
    ------
    NotFound
        When it is deleted.
    Restoring
        When it is in the cold tier.
    Corrupt, Unavailable
        When it cannot be read.
    """
    location = catalog.location(version.type, version.name)
    if location is None:
        raise _deleted(version)
    try:
        reader = store.open(store.branch_location(location, version.branch), version.version)
    except AlluxioLanceError:
        # That it is gone says more than that a file of it is.
        _check_served(catalog, version)
        raise
    # After the open, not before: a table may be deleted and another one made in its place at any time.
    try:
        _check_served(catalog, version)
    except BaseException:
        reader.close()
        raise
    return reader


def _check_served(catalog: Catalog, version: Version) -> None:
    try:
        now = catalog.find(ResourceName(version.type, version.name, parse_selector(version.semver)))
    except NotFound:
        raise _deleted(version) from None
    if now.operation != version.operation:
        raise _deleted(version)
    if now.state is State.ARCHIVED:
        raise Restoring(f"{version.uri} was archived before it could be loaded - open it again", progress=0.0)


def _deleted(version: Version) -> NotFound:
    return NotFound(f"{version.uri} was deleted before it could be loaded")
