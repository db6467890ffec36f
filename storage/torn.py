"""What a write that was cut has left half: manifests, names of branches, tags. Lance stumbles over them, and nobody needs them.

Where an endpoint takes what has come for the whole when its writer dies (Alluxio's S3 service marks it complete, with a
hash), such a manifest hides all versions below it from whoever asks for the newest. On a disk a loss of power does it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Final

from alluxio_lance.errors import Corrupt
from alluxio_lance.storage.place import Place

__all__ = ["remove_torn", "torn_tags"]

_MANIFEST: Final = re.compile(r"(?:tree/(?P<branch>[^/]+)/)?_versions/(?P<number>\d+)\.manifest")
_BRANCH: Final = re.compile(r"_refs/branches/(?P<branch>.+)\.json")
_TAGS: Final = "_refs/tags/"
_MAGIC: Final = b"LANC"
"""The last bytes of every manifest."""
_DIGITS: Final = 20
"""Of names that count down from the highest number, so that the newest version is listed first."""
_HIGHEST: Final = (1 << 64) - 1


def remove_torn(place: Place, location: str, known: Mapping[str, Collection[int]]) -> list[str]:
    """Remove manifests and names of branches that are half, in all lines of a table, and return their paths.

    Safe only while nobody writes: the caller holds the commit lock.

    Parameters
    ----------
    location
        Of the main table.
    known
        By branch (empty: the main line) the versions that are there for good. Nothing of them is looked at or removed.
    """
    sizes = place.files(location)
    torn = [path for path, size in sizes.items() if _is_torn(place, location, path, size, known)]
    # Names first, manifests last: nothing is named that is not there.
    torn.sort(key=lambda path: (_MANIFEST.fullmatch(path) is not None, path))
    if torn:
        place.remove(location, torn)
    return torn


def torn_tags(place: Place, location: str) -> list[str]:
    """Find the tags that are half. All are read, one by one: ask only when Lance cannot read them."""
    sizes = place.files(location)
    return [
        path for path, size in sizes.items() if path.startswith(_TAGS) and not _is_json(place, location, path, size)
    ]


def _is_torn(place: Place, location: str, path: str, size: int, known: Mapping[str, Collection[int]]) -> bool:
    if manifest := _MANIFEST.fullmatch(path):
        number = int(manifest["number"])
        version = _HIGHEST - number if len(manifest["number"]) == _DIGITS else number
        if version in known.get(manifest["branch"] or "", ()):
            return False
        size = _settled(place, location, path, size)
        return size < len(_MAGIC) or _tail(place, location, path, size) not in (_MAGIC, None)
    if branch := _BRANCH.fullmatch(path):
        return branch["branch"] not in known and not _is_json(place, location, path, size)
    return False


def _settled(place: Place, location: str, path: str, size: int) -> int:
    """Return the size of a file when nobody writes it any more.

    One that an endpoint still takes in is listed as empty. Removed before its writer's end is
    known there, it could come up again in the under-store, in the place of what was written since.
    """
    if size >= len(_MAGIC):
        return size
    place.await_arrival(location, path)
    return place.files(location).get(path, size)


def _tail(place: Place, location: str, path: str, size: int) -> bytes | None:
    """Read the last bytes; None when it has just gone, or is another one now."""
    try:
        return place.read(location, path, size - len(_MAGIC), len(_MAGIC))
    except Corrupt:
        return None


def _is_json(place: Place, location: str, path: str, size: int) -> bool:
    try:
        json.loads(place.read(location, path, 0, size) if size else b"")
    except ValueError:
        return False
    except Corrupt:
        return True  # it has just gone, or is another one now
    return True
