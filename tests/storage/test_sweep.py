"""Sweeping and dropping, also after processes that were killed in the middle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import lance
import pyarrow as pa
import pytest

from alluxio_lance.storage import LanceStore

LOCATION = "datasets/deep/a.lance"
TABLE = pa.table({"id": pa.array(range(1000)), "x": pa.array([0.5] * 1000)})

DYING = """
import os, signal, sys
from pathlib import Path
import numpy as np, pyarrow as pa
from alluxio_lance.lifecycle.ports import Source, Write
from alluxio_lance.storage import LanceStore

root, verb, batches = sys.argv[1], sys.argv[2], int(sys.argv[3])
schema = pa.schema([("id", pa.int64()), ("x", pa.float64())])

def rows():
    for _ in range(batches):
        yield pa.record_batch([np.arange(600_000), np.random.default_rng().random(600_000)], schema=schema)
    os.kill(os.getpid(), signal.SIGKILL)
    yield

store = LanceStore.local(Path(root))
source = Source(reader=pa.RecordBatchReader.from_batches(schema, rows()))
write = Write(operation="d" * 32, actor="a@b", message="")
getattr(store, verb)(sys.argv[4], source, *([["id"]] if verb == "upsert" else []), write)
"""


def die(root, verb, batches):
    """Run a write in a process that is killed by its own source after some batches."""
    done = subprocess.run(
        [sys.executable, "-c", DYING, str(root), verb, str(batches), LOCATION],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def on_disk(root):
    """List the files below the root."""
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def expected(root, location=LOCATION):
    """List the files that the table's versions, tags and hint account for."""
    table = lance.dataset(str(root / location))
    named = {row["path"] for row in table.tracked_files().read_all().to_pylist()}
    manifests = {path for path in named if path.startswith("_versions/")}
    assert len(manifests) == len(table.version_refs())
    tags = {f"_refs/tags/{name}.json" for name in table.tags.list()}
    return {f"{location}/{path}" for path in named | tags | {"_versions/latest_version_hint.json"}}


@pytest.fixture
def root(store):
    """The store's folder."""
    return store._place.root


@pytest.fixture
def versions(store, write, source):
    """Five versions: create, append, overwrite, append, upsert; the function returns which are left."""
    store.create(LOCATION, source(TABLE), write())
    store.append(LOCATION, source(TABLE), write())
    store.overwrite(LOCATION, source(TABLE), write())
    store.append(LOCATION, source(TABLE.slice(0, 5)), write())
    store.upsert(LOCATION, source(TABLE.slice(0, 7)), ["id"], write())
    return lambda: sorted(ref["version"] for ref in lance.dataset(store.absolute(LOCATION)).version_refs())


@pytest.mark.parametrize(
    ("keep", "left"), [([1, 2, 3, 4, 5], [1, 2, 3, 4, 5]), ([2, 5], [2, 5]), ([5], [5]), ([3], [3, 5]), ([99], [5])]
)
def test_only_what_is_kept_and_the_newest_remain(store, versions, root, read, keep, left):
    """Files shared with a kept version stay, all others go, and the bytes freed are those of the disk."""
    rows = {version: read(LOCATION, version) for version in left}
    before = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    freed = store.sweep(LOCATION, keep)
    after = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    assert freed == before - after
    assert versions() == left
    assert on_disk(root) == expected(root)
    assert all(read(LOCATION, version).equals(table) for version, table in rows.items())
    assert store.sweep(LOCATION, keep) == 0


def test_tags_of_what_goes_go_too(store, versions, root):
    """A tag does not keep a version that the catalog no longer knows."""
    store.mirror_tags(LOCATION, {"active": 5, "1.0.0": 1, "1.1.0": 2})
    store.sweep(LOCATION, [2, 5])
    assert versions() == [2, 5]
    assert set(lance.dataset(store.absolute(LOCATION)).tags.list()) == {"active", "1.1.0"}
    assert on_disk(root) == expected(root)


def test_nothing_kept_is_nothing_left(store, versions, root):
    """Without a version to keep the table goes, with its empty parents, and its bytes are told."""
    size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    assert store.sweep(LOCATION, []) == size
    assert list(root.iterdir()) == []
    assert store.sweep(LOCATION, []) == 0


def test_a_create_that_was_killed_leaves_nothing(store, root):
    """Data without a manifest are no table; a sweep removes the folder, and the name is free before it too."""
    die(root, "create", 6)
    assert on_disk(root)
    assert store.latest(LOCATION) is None
    assert store.writers(LOCATION) == {}
    assert store.sweep(LOCATION, []) > 0
    assert list(root.iterdir()) == []


def test_a_create_after_one_that_was_killed(store, root, write, source):
    """The second one succeeds, and a sweep then removes what the first one left."""
    die(root, "create", 6)
    left = on_disk(root)
    store.create(LOCATION, source(TABLE), write())
    assert on_disk(root) > left
    assert store.sweep(LOCATION, [1]) > 0
    assert on_disk(root) == expected(root)
    assert not on_disk(root) & left


@pytest.mark.parametrize("verb", ["append", "overwrite", "upsert"])
def test_a_write_that_was_killed_leaves_no_orphan(store, root, write, source, read, verb):
    """The table is as before, and a sweep that keeps all versions frees the orphans' bytes."""
    store.create(LOCATION, source(TABLE), write())
    before = on_disk(root)
    die(root, verb, 6)
    assert on_disk(root) > before
    assert store.latest(LOCATION) == 1
    assert store.sweep(LOCATION, [1]) > 0
    assert on_disk(root) == expected(root) == before
    assert read(LOCATION, 1).equals(TABLE)


def test_an_upsert_of_some_columns_that_was_killed_leaves_nothing(store, root, write, source):
    """Its spool has no name: there is nothing to sweep."""
    store.create(LOCATION, source(TABLE.append_column("note", pa.nulls(1000, pa.string()))), write())
    before = on_disk(root)
    die(root, "upsert", 6)
    assert on_disk(root) == before


def test_branches_of_others_are_spared(store, root, write, source):
    """Files that only a branch refers to stay."""
    store.create(LOCATION, source(TABLE), write())
    branch = lance.dataset(store.absolute(LOCATION)).create_branch("exp")
    store.overwrite(LOCATION, source(TABLE.slice(0, 1)), write())
    store.sweep(LOCATION, [2])
    assert lance.dataset(branch.uri).count_rows() == 1000


def test_dropping_is_idempotent_and_removes_empty_parents(store, versions, root, write, source):
    """A second drop is no error; a neighbour keeps the common parent."""
    store.create("datasets/b.lance", source(TABLE), write())
    store.drop(LOCATION)
    assert [path.name for path in (root / "datasets").iterdir()] == ["b.lance"]
    store.drop(LOCATION)
    store.drop("datasets/b.lance")
    assert list(root.iterdir()) == []
    assert root.is_dir()


@pytest.mark.parametrize("already_gone", ["_versions", "data"])
def test_a_half_removed_table_can_be_dropped(store, versions, root, already_gone):
    """A drop that was killed in its middle is finished by the next one."""
    import shutil

    shutil.rmtree(root / LOCATION / already_gone)
    store.drop(LOCATION)
    assert list(root.iterdir()) == []


def test_a_store_can_be_opened_twice(tmp_path, write, source):
    """Two stores on one folder see the same tables, also one that was dropped and made anew."""
    one, two = LanceStore.local(tmp_path / "r"), LanceStore.local(tmp_path / "r")
    one.create(LOCATION, source(TABLE), write())
    with two.open(LOCATION, 1) as reader:
        assert reader.num_rows == 1000
    one.drop(LOCATION)
    one.create(LOCATION, source(TABLE.slice(0, 3).select(["x"])), write())
    with two.open(LOCATION, 1) as reader:
        assert (reader.num_rows, reader.schema.names) == (3, ["x"])
    assert two.absolute(LOCATION) == os.fspath(tmp_path / "r" / LOCATION)
