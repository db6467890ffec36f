"""Archiving: a clone that went wrong, and where the cold tier lies by default."""

from __future__ import annotations

import pyarrow as pa
import pytest

from alluxio_lance.errors import Corrupt
from alluxio_lance.storage import archiving

LOCATION = "datasets/deep/a.lance"
TABLE = pa.table({"id": pa.array(range(1000)), "x": pa.array([0.5] * 1000)})


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (TABLE.slice(0, 999), "1000 rows"),
        (TABLE.rename_columns(["id", "y"]), "x: double"),
        (TABLE.set_column(1, "x", pa.array([0.25] * 1000)), None),
    ],
    ids=["rows", "schema", "values"],
)
def test_a_clone_that_is_not_the_version_is_no_copy(tiers, snapshots, write, source, monkeypatch, other, expected):
    """A stand-in for a clone gone wrong, since Lance's do not: it clones another table instead."""
    store = tiers.store
    store.create(LOCATION, source(TABLE), write())
    store.create("other.lance", source(other), write())
    described, known = snapshots(store, LOCATION, [1])
    clone = archiving._clone
    monkeypatch.setattr(
        archiving, "_clone", lambda cold, _, target: clone(cold, store.dataset("other.lance", 1), target)
    )
    with pytest.raises(Corrupt, match="is not what was written") as caught:
        store.archive(LOCATION, 1, "c", known, write())
    assert (expected or described[1].files[0].hash) in caught.value.details["expected"]
    assert "c/_original/files.json" not in tiers.cold_files()
    monkeypatch.undo()
    store.archive(LOCATION, 1, "c", known, write())
    assert "c/_original/files.json" in tiers.cold_files()


def test_by_default_the_cold_tier_is_beside_the_tables(local_tiers, snapshots, write, source):
    """Its folder is made with its first file, and there is no cache to cool."""
    store = local_tiers.store
    store.create(LOCATION, source(TABLE), write())
    assert not local_tiers.cold.folder.exists()
    store.drop_cold("c")
    store.archive(LOCATION, 1, "c", {}, write())
    assert "c/_original/files.json" in local_tiers.cold_files()
    assert store.cool(LOCATION, 1, []) == 0
