"""A version that is larger than the cache of the workers."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pyarrow as pa

from alluxio_lance.client.cache import RemoteCache
from alluxio_lance.client.table import Table

ROWS = 5 << 20
"""Of 8 bytes: well above the tier."""


def test_a_version_larger_than_the_cache_is_loaded_whole(fragile, make_node, address):
    """Blocks come and go while it is read; what is hot in the end is what was written, also the second time."""
    tier = fragile.status().capacity_bytes
    values = np.random.default_rng(7).integers(0, 1 << 62, ROWS)
    assert values.nbytes > 1.5 * tier
    node = make_node("--store", address, "--prefetch", "none", "--disk-budget", "0")
    node.register("large", pa.table({"x": values}))
    with closing(RemoteCache.connect(node.address)) as cache:
        for _ in range(2):
            list(cache.prefetch("alluxio://datasets/large", wait=True))
            with Table.open("alluxio://datasets/large", address=node.at) as table:
                np.testing.assert_array_equal(table.column("x").array, values)
            cache.evict("alluxio://datasets/large")
    assert 0 < fragile.status().used_bytes <= tier
