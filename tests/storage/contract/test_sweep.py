"""Sweeping and dropping, also after processes that were killed in the middle."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time

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

address, root, location, verb, batches = *sys.argv[1:5], int(sys.argv[5])
schema = pa.schema([("id", pa.int64()), ("x", pa.float64())])

def rows():
    for _ in range(batches):
        yield pa.record_batch([np.arange(600_000), np.random.default_rng().random(600_000)], schema=schema)
    os.kill(os.getpid(), signal.SIGKILL)
    yield

store = LanceStore.at(address, Path(root))
source = Source(reader=pa.RecordBatchReader.from_batches(schema, rows()))
write = Write(operation="d" * 32, actor="a@b", message="")
getattr(store, verb)(location, source, *([["id"]] if verb == "upsert" else []), write)
"""


def die(ground, verb, batches):
    """Run a write in a process that is killed by its own source after some batches."""
    done = subprocess.run(
        [sys.executable, "-c", DYING, ground.address, str(ground.root), LOCATION, verb, str(batches)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def on_disk(root):
    """List the files below the root, but for the hint that Lance keeps of the newest version where it can."""
    found = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    return {path for path in found if not path.endswith("_versions/latest_version_hint.json")}


def expected(plain, location=LOCATION):
    """List the files that the table's versions and tags account for."""
    table = plain.open(location)
    named = {row["path"] for row in table.tracked_files().read_all().to_pylist()}
    manifests = {path for path in named if path.startswith("_versions/")}
    assert len(manifests) == len(table.version_refs())
    tags = {f"_refs/tags/{name}.json" for name in table.tags.list()}
    return {f"{location}/{path}" for path in named | tags}


@pytest.fixture
def versions(store, write, source, plain):
    """Five versions: create, append, overwrite, append, upsert; the function returns which are left."""
    store.create(LOCATION, source(TABLE), write())
    store.append(LOCATION, source(TABLE), write())
    store.overwrite(LOCATION, source(TABLE), write())
    store.append(LOCATION, source(TABLE.slice(0, 5)), write())
    store.upsert(LOCATION, source(TABLE.slice(0, 7)), ["id"], write())
    return lambda: plain.numbers(LOCATION)


KEEP = [([1, 2, 3, 4, 5], [1, 2, 3, 4, 5]), ([2, 5], [2, 5]), ([5], [5]), ([3], [3, 5]), ([99], [5])]
CASES = [
    (kind, *case)
    for kind, cases in (("folder", KEEP), ("alluxio", KEEP[1:4:2]), ("alluxio-s3", KEEP[1:4:2]))
    for case in cases
]


@pytest.mark.parametrize(("ground", "keep", "left"), CASES, indirect=["ground"])
def test_only_what_is_kept_and_the_newest_remain(store, versions, root, plain, read, keep, left):
    """Files shared with a kept version stay, all others go, and the bytes freed are those of the disk."""
    rows = {version: read(LOCATION, version) for version in left}
    before = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    freed = store.sweep(LOCATION, keep)
    after = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    assert freed == before - after
    assert versions() == left
    assert on_disk(root) == expected(plain)
    assert all(read(LOCATION, version).equals(table) for version, table in rows.items())
    assert store.sweep(LOCATION, keep) == 0


def test_tags_of_what_goes_go_too(store, versions, root, plain):
    """A tag does not keep a version that the catalog no longer knows."""
    store.mirror_tags(LOCATION, {"active": 5, "1.0.0": 1, "1.1.0": 2})
    store.sweep(LOCATION, [2, 5])
    assert versions() == [2, 5]
    assert set(plain.open(LOCATION).tags.list()) == {"active", "1.1.0"}
    assert on_disk(root) == expected(plain)


def test_nothing_kept_is_nothing_left(store, versions, root):
    """Without a version to keep the table goes, with its empty parents, and its bytes are told."""
    size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    assert store.sweep(LOCATION, []) == size
    assert list(root.iterdir()) == []
    assert store.sweep(LOCATION, []) == 0


def test_a_create_that_was_killed_leaves_nothing(store, root, ground):
    """Data without a manifest are no table; a sweep removes the folder, and the name is free before it too."""
    die(ground, "create", 6)
    assert store.latest(LOCATION) is None
    assert store.writers(LOCATION) == {}
    # What a killed writer has left of a file that goes by uploads is a matter of the moment.
    assert store.sweep(LOCATION, []) > 0 or ground.address
    # The service may end what a dead writer had sent only now: another sweep removes that too.
    deadline = time.monotonic() + 60
    while ground.address and any(root.rglob("*")) and time.monotonic() < deadline:
        store.sweep(LOCATION, [])
        time.sleep(0.2)
    assert list(root.rglob("*")) == []


def test_a_create_after_one_that_was_killed(store, root, ground, plain, write, source):
    """The second one succeeds, and a sweep then removes what the first one left."""
    die(ground, "create", 6)
    left = on_disk(root)
    store.create(LOCATION, source(TABLE), write())
    assert on_disk(root) >= left
    assert store.sweep(LOCATION, [1]) > 0 or not left
    assert on_disk(root) == expected(plain)
    assert not on_disk(root) & left


@pytest.mark.parametrize("verb", ["append", "overwrite", "upsert"])
def test_a_write_that_was_killed_leaves_no_orphan(store, root, ground, plain, write, source, read, verb):
    """The table is as before, and a sweep that keeps all versions frees the orphans' bytes."""
    store.create(LOCATION, source(TABLE), write())
    before = on_disk(root)
    die(ground, verb, 6)
    left = on_disk(root) - before
    assert left or ground.address
    assert store.latest(LOCATION) == 1
    assert store.sweep(LOCATION, [1]) > 0 or not left
    assert on_disk(root) == expected(plain) == before
    assert read(LOCATION, 1).equals(TABLE)


def test_an_upsert_of_some_columns_that_was_killed_leaves_nothing(store, root, ground, write, source):
    """Its spool has no name: there is nothing to sweep."""
    store.create(LOCATION, source(TABLE.append_column("note", pa.nulls(1000, pa.string()))), write())
    before = on_disk(root)
    die(ground, "upsert", 6)
    assert on_disk(root) == before


def test_branches_of_others_are_spared(store, plain, write, source):
    """Files that only a branch refers to stay."""
    store.create(LOCATION, source(TABLE), write())
    plain.open(LOCATION).create_branch("exp")
    store.overwrite(LOCATION, source(TABLE.slice(0, 1)), write())
    store.sweep(LOCATION, [2])
    assert plain.open(store.branch_location(LOCATION, "exp")).count_rows() == 1000


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
    shutil.rmtree(root / LOCATION / already_gone)
    store.drop(LOCATION)
    assert list(root.iterdir()) == []


def test_a_store_can_be_opened_twice(ground, write, source):
    """Two stores at one address see the same tables, also one that was dropped and made anew."""
    one, two = (LanceStore.at(ground.address, ground.root) for _ in range(2))
    one.create(LOCATION, source(TABLE), write())
    with two.open(LOCATION, 1) as reader:
        assert reader.num_rows == 1000
    one.drop(LOCATION)
    one.create(LOCATION, source(TABLE.slice(0, 3).select(["x"])), write())
    with two.open(LOCATION, 1) as reader:
        assert (reader.num_rows, reader.schema.names) == (3, ["x"])
