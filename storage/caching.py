"""What the cache between the files and their readers holds of versions, and shall hold."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from alluxio_lance.errors import NotFound
from alluxio_lance.manager import OnProgress
from alluxio_lance.storage.inventory import MANIFESTS, Inventory
from alluxio_lance.storage.lines import line_of
from alluxio_lance.storage.place import CachedFile, Place
from alluxio_lance.values import Progress
from alluxio_lance.ways import CacheShare

__all__ = ["cached_bytes", "cool", "pin", "share", "warm"]

_STEP = "cache"


def warm(
    place: Place, location: str, version: int, on_progress: OnProgress | None, go_on: Callable[[], bool]
) -> CacheShare:
    """Bring the files of a version into the cache, as far as they fit, and tell how much is there then.

    Raises
    ------
    NotFound
        When the table or version does not exist.
    Unavailable
        When the cache does not answer.
    """
    stock = Inventory.take(place, location)
    needed = _needs(stock, version)
    total = stock.bytes_of(needed)
    cache = place.cache()
    if cache is None:
        return CacheShare(bytes=total, cached_bytes=total)

    def on_bytes(cached: int) -> None:
        if on_progress is not None:
            on_progress(Progress(step=_STEP, bytes=cached, total_bytes=total))

    # What every reader needs first comes first, and is small.
    cache.warm(stock.line.root, sorted(needed, key=lambda path: (MANIFESTS not in path, path)), on_bytes, go_on)
    return _share(cache.look(stock.line.root), needed)


def share(place: Place, location: str, version: int) -> CacheShare | None:
    """Tell how much of a version is cached; None without a cache.

    Raises
    ------
    NotFound
        When the table or version does not exist.
    """
    cache = place.cache()
    if cache is None:
        return None
    stock = Inventory.take(place, location)
    return _share(cache.look(stock.line.root), _needs(stock, version))


def pin(place: Place, location: str, versions: Sequence[int]) -> None:
    """Keep the files of these versions from eviction, and of the line's files no others; again changes nothing."""
    cache = place.cache()
    if cache is None:
        return
    line = line_of(location)
    wanted: set[str] = set()
    if versions:
        stock = Inventory.take(place, location)
        wanted = set().union(*(stock.needs.get(version, frozenset()) for version in versions))
    found = cache.look(line.root)
    # First on, then off: a file that stays pinned is never without.
    cache.pin(line.root, sorted(path for path in wanted if path in found and not found[path].pinned), pinned=True)
    loose = (path for path, file in found.items() if file.pinned and path not in wanted and line.owns(path))
    cache.pin(line.root, sorted(loose), pinned=False)


def cool(place: Place, location: str, version: int, keep: Sequence[int]) -> int:
    """Let the cache drop what of a version nobody in ``keep`` needs, nor another line; return the bytes.

    What only describes versions stays, some hundred bytes each: whoever looks at the table reads all of it, and a file
    that is read while it goes may stay with a worker that the master does not know of: at 0 % for ever.
    """
    cache = place.cache()
    if cache is None:
        return 0
    stock = Inventory.take(place, location)
    kept = stock.elsewhere.union(*(stock.needs.get(each, frozenset()) for each in keep))
    going = stock.needs.get(version, frozenset()) - kept
    return cache.drop(stock.line.root, sorted(path for path in going if not stock.line.describes(path)))


def cached_bytes(found: Mapping[str, CachedFile], paths: Iterable[str]) -> int:
    """Sum what is cached of files; those that are not there count as nothing."""
    return sum(found[path].cached_bytes for path in paths if path in found)


def _needs(stock: Inventory, version: int) -> frozenset[str]:
    if version not in stock.needs:
        raise NotFound(f"there is no version {version} of {stock.line.location}: it was removed")
    return stock.needs[version]


def _share(found: Mapping[str, CachedFile], needed: Collection[str]) -> CacheShare:
    there = [found[path] for path in needed if path in found]
    return CacheShare(
        bytes=sum(file.bytes for file in there),
        cached_bytes=sum(file.cached_bytes for file in there),
        pinned=all(file.pinned for file in there),
    )
