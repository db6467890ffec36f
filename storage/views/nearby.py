"""Files of a version that are looked for on this node before it is known which ones it has."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

from alluxio_lance.storage.lines import line_of
from alluxio_lance.storage.place import Near, Place

__all__ = ["close_blocks", "found_near"]


@contextmanager
def found_near(place: Place, location: str, paths: Iterable[str]) -> Iterator[Callable[[], MutableMapping[str, Near]]]:
    """Look for files in another thread; who asks waits for what was found, takes what it needs, and the rest is closed."""
    with ThreadPoolExecutor(1, "alluxio-lance-near") as pool:
        looking = pool.submit(place.near, line_of(location).root, list(paths))
        try:
            yield looking.result
        finally:
            if looking.exception() is None:
                for near in looking.result().values():
                    close_blocks(near.blocks)


def close_blocks(blocks: Sequence[int]) -> None:
    """Close descriptors of block files."""
    for block in blocks:
        with suppress(OSError):
            os.close(block)
