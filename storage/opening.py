"""Opening a Lance table: at its newest or at a given version, with small caches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import lance

from alluxio_lance.errors import NotFound
from alluxio_lance.storage.faults import lance_faults
from alluxio_lance.storage.patience import within
from alluxio_lance.storage.place import Place
from alluxio_lance.ways import Way

__all__ = ["commit_arguments", "lance_arguments", "open_latest", "open_version", "session", "version_numbers"]

_METADATA_CACHE: Final = 64 << 20
_INDEX_CACHE: Final = 16 << 20
_PATIENCE: Final = 30.0
"""Seconds for opening a table behind an endpoint: what Lance and its client try again in turn would take many minutes."""


def lance_arguments(place: Place, location: str) -> dict[str, Any]:
    """Return the keyword arguments that every call of Lance takes."""
    options: Mapping[str, str] = place.address(location).storage_options
    return {"session": session(), "storage_options": dict(options) or None}


def session() -> Any:
    """Make a session with small caches.

    Each handle gets one of its own: the defaults would let caches grow to 7 GiB, and a shared one might remember a
    table that was dropped and made anew in the same folder.
    """
    return lance.Session(index_cache_size_bytes=_INDEX_CACHE, metadata_cache_size_bytes=_METADATA_CACHE)  # type: ignore[attr-defined]  # documented, though missing in __all__


def commit_arguments(place: Place, location: str) -> dict[str, Any]:
    """Return the keyword arguments that a call of Lance takes in addition when it commits."""
    lock = place.commit_lock(location)
    return {} if lock is None else {"commit_lock": lock}


def open_latest(place: Place, location: str) -> lance.LanceDataset | None:
    """Open the newest version; None when there is no table."""
    uri = place.address(location).uri
    try:
        with lance_faults(uri):
            return _open(place, location, uri, None)
    except NotFound:
        return None


def open_version(place: Place, location: str, version: int | str | None = None) -> lance.LanceDataset:
    """Open a version by number or tag, or the newest.

    Raises
    ------
    NotFound
        When the table or the version does not exist.
    Unavailable
        When its place does not answer.
    """
    uri = place.address(location).uri
    where = uri if version is None else f"version {version} of {uri}"
    with lance_faults(where):
        try:
            return _open(place, location, where, version)
        except ValueError as missing:
            if "not found" not in str(missing):
                raise
            raise NotFound(f"{where} does not exist; it may have been deleted") from missing


def _open(place: Place, location: str, where: str, version: int | str | None) -> lance.LanceDataset:
    def opened() -> lance.LanceDataset:
        return lance.dataset(place.address(location).uri, version=version, **lance_arguments(place, location))

    return opened() if place.way() is Way.LOCAL else within(_PATIENCE, where, opened)


def version_numbers(dataset: lance.LanceDataset) -> list[int]:
    """List the versions of a table, oldest first, with a single listing of its folder."""
    return sorted(int(ref["version"]) for ref in dataset.version_refs())
