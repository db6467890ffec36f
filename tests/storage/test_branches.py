"""A branch in a folder whose name is odd."""

from __future__ import annotations

import pyarrow as pa

from alluxio_lance.storage import LanceStore

LOCATION = "datasets/deep/a.lance"
TABLE = pa.table({"id": pa.array(range(1000)), "x": pa.array([0.5] * 1000)})


def test_a_root_with_odd_characters(tmp_path, write, source, snapshots):
    """Lance names the main table by its path in the branch's manifests."""
    store = LanceStore.local(tmp_path / "a b%20é")
    store.create(LOCATION, source(TABLE), write())
    store.branch(LOCATION, "exp", 1, write())
    location = store.branch_location(LOCATION, "exp")
    store.append(location, source(TABLE), write())
    before, _ = snapshots(store, location, [2, 3])
    store.overwrite(LOCATION, source(TABLE.slice(0, 1)), write())
    store.sweep(LOCATION, [2])
    assert snapshots(store, location, [2, 3])[0] == before
    assert store.usage(location, [3]).total[3] > before[3].num_bytes
