"""What versions take, and how much would be free without some of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from alluxio_lance.lifecycle.ports import Usage
from alluxio_lance.storage.caching import cached_bytes
from alluxio_lance.storage.inventory import Inventory
from alluxio_lance.storage.place import Place

__all__ = ["usage"]


def usage(place: Place, location: str, versions: Sequence[int]) -> Usage:
    """Tell what versions take, in bytes. Steps back count for nobody, as in `removing`.

    Raises
    ------
    NotFound
        When there is no table.
    """
    stock = Inventory.take(place, location)
    steps = stock.steps_back(besides=versions)
    others = [version for version in stock.needs if version not in steps]
    count = Counter(path for version in others for path in stock.needs[version])
    count.update(stock.elsewhere)
    asked = [version for version in versions if version in stock.needs]
    cache = place.cache()
    found = cache.look(stock.line.root) if cache is not None and asked else {}
    return Usage(
        table=sum(size for path, size in stock.sizes.items() if path.startswith(stock.line.prefix)),
        total={version: stock.bytes_of(stock.needs[version]) for version in asked},
        unique={
            version: stock.bytes_of(path for path in stock.needs[version] if count[path] == 1) for version in asked
        },
        cached=None if cache is None else {version: cached_bytes(found, stock.needs[version]) for version in asked},
    )
