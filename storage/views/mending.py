"""A copy in the cache whose bytes are wrong: forgotten, so that the next read brings what the under-store has."""

from __future__ import annotations

from alluxio_lance.errors import Corrupt
from alluxio_lance.lifecycle.ports import StoredFile
from alluxio_lance.storage.digest import file_hash
from alluxio_lance.storage.place import Place

__all__ = ["mend"]


def mend(place: Place, location: str, path: str, wanted: StoredFile | None) -> None:
    """Have the cache forget a file, and make sure that what comes instead is right, as far as that is known.

    Raises
    ------
    Corrupt
        When it is not: the file itself is damaged.
    """
    cache = place.cache()
    if cache is not None:
        cache.renew(location, path)
    if wanted is None:
        return
    found = file_hash(place, location, path, wanted.size, lambda _: None)
    if found != wanted.hash:
        raise Corrupt(
            f"the file {path} of {place.address(location).uri} was {wanted.hash} when it was written and is "
            f"{found} now, in the cache and below it: roll back to an earlier version",
            expected=wanted.hash,
            found=found,
        )
