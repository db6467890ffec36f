"""Opening a Lance table: at its newest or at a given version, with small caches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import lance

from alluxio_lance.errors import NotFound
from alluxio_lance.storage.faults import lance_faults
from alluxio_lance.storage.place import Place

__all__ = ["commit_arguments", "lance_arguments", "open_latest", "open_version", "version_numbers"]

_METADATA_CACHE: Final = 64 << 20
_INDEX_CACHE: Final = 16 << 20


def lance_arguments(place: Place, location: str) -> dict[str, Any]:
    """Return the keyword arguments that every call of Lance takes.

    Each handle gets a session of its own: the defaults would let caches grow to 7 GiB, and a shared one might remember
    a table that was dropped and made anew in the same folder.
    """
    options: Mapping[str, str] = place.address(location).storage_options
    session = lance.Session(index_cache_size_bytes=_INDEX_CACHE, metadata_cache_size_bytes=_METADATA_CACHE)  # type: ignore[attr-defined]  # documented, though missing in __all__
    return {"session": session, "storage_options": dict(options) or None}


def commit_arguments(place: Place, location: str) -> dict[str, Any]:
    """Return the keyword arguments that a call of Lance takes in addition when it commits."""
    lock = place.commit_lock(location)
    return {} if lock is None else {"commit_lock": lock}


def open_latest(place: Place, location: str) -> lance.LanceDataset | None:
    """Open the newest version; None when there is no table."""
    uri = place.address(location).uri
    try:
        with lance_faults(uri):
            return lance.dataset(uri, **lance_arguments(place, location))
    except NotFound:
        return None


def open_version(place: Place, location: str, version: int | str | None = None) -> lance.LanceDataset:
    """Open a version by number or tag, or the newest.

    Raises
    ------
    NotFound
        When the table or the version does not exist.
    """
    uri = place.address(location).uri
    where = uri if version is None else f"version {version} of {uri}"
    with lance_faults(where):
        try:
            return lance.dataset(uri, version=version, **lance_arguments(place, location))
        except ValueError as missing:
            if "not found" not in str(missing):
                raise
            raise NotFound(f"{where} does not exist; it may have been deleted") from missing


def version_numbers(dataset: lance.LanceDataset) -> list[int]:
    """List the versions of a table, oldest first, with a single listing of its folder."""
    return sorted(int(ref["version"]) for ref in dataset.version_refs())
