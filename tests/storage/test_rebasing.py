"""The manifest of a branch as that of a table of its own."""

from __future__ import annotations

import shutil

import lance
import pyarrow as pa
import pytest

from alluxio_lance.errors import Corrupt
from alluxio_lance.storage.rebasing import without_bases

LOCATION = "datasets/a.lance"
TABLE = pa.table({"id": pa.array(range(1000)), "x": pa.array([0.5] * 1000)})


def test_a_branch_becomes_a_table_of_its_own(store, source, write, tmp_path):
    """With data and deletion files of both lines in one folder; plain Lance reads it, under its number."""
    store.create(LOCATION, source(TABLE), write())
    store.upsert(LOCATION, source(TABLE.slice(0, 7)), ["id"], write())
    store.branch(LOCATION, "exp", 2, write())
    branch = store.branch_location(LOCATION, "exp")
    store.append(branch, source(TABLE.slice(0, 5)), write())
    version = store.upsert(branch, source(TABLE.slice(10, 3)), ["id"], write())
    root, alone = store._place.root, tmp_path / "alone"
    for line in (LOCATION, branch):
        for folder in ("data", "_deletions"):
            shutil.copytree(root / line / folder, alone / folder, dirs_exist_ok=True)
    name = f"{2**64 - 1 - version}.manifest"
    (alone / "_versions").mkdir()
    manifest = (root / branch / "_versions" / name).read_bytes()
    (alone / "_versions" / name).write_bytes(without_bases(manifest, name))
    found = lance.dataset(str(alone))
    assert found.version == version
    expected = store.dataset(branch, version).to_table()
    shutil.rmtree(root)
    assert found.to_table().equals(expected)
    assert without_bases(without_bases(manifest, name), name) == without_bases(manifest, name)


@pytest.mark.parametrize("cut", [0, 10, 100, -1, -20])
def test_what_is_no_manifest_is_corrupt(store, source, write, cut):
    """Its name stands in the error."""
    store.create(LOCATION, source(TABLE), write())
    (path,) = (store._place.root / LOCATION / "_versions").glob("*.manifest")
    with pytest.raises(Corrupt, match="the-name"):
        without_bases(path.read_bytes()[:cut], "the-name")
