"""Branches: lines of their own that share the data, with everything that versions of the main line have."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from itertools import product

import lance
import pyarrow as pa
import pytest

from alluxio_lance.errors import InvalidArgument, NotFound

LOCATION = "datasets/deep/a.lance"
TABLE = pa.table({"id": pa.array(range(1000)), "x": pa.array([0.5] * 1000)})

DYING = """
import os, signal, sys
from pathlib import Path
from alluxio_lance.lifecycle.ports import Write
from alluxio_lance.storage import LanceStore, writing

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

address, root, when = sys.argv[1:]
store = LanceStore.at(address, Path(root))
if when == "branch":
    writing.restore = die
    store.branch("datasets/deep/a.lance", "exp", 2, Write(operation="d" * 32, actor="a", message=""))
else:
    store._place.drop = die
    store.unbranch("datasets/deep/a.lance", "exp")
"""


@pytest.fixture
def main(store, write, source):
    """A main line of two versions, the second with a deletion file."""
    store.create(LOCATION, source(TABLE), write())
    store.upsert(LOCATION, source(TABLE.slice(0, 7)), ["id"], write())
    return store


@pytest.fixture
def branch(main, write, source):
    """A branch from version 2 on: its beginning, an append, an upsert; returns its location."""
    assert main.branch(LOCATION, "exp", 2, write("b" * 32)) == 3
    location = main.branch_location(LOCATION, "exp")
    assert main.append(location, source(TABLE.slice(0, 5)), write()) == 4
    assert main.upsert(location, source(TABLE.slice(10, 3)), ["id"], write()) == 5
    return location


def whole(store, location, version):
    """Read all rows."""
    with store.open(location, version) as reader:
        return pa.Table.from_batches(reader.batches(reader.schema.names), reader.schema)


def folder_bytes(root, location):
    """Sum the sizes of files."""
    return sum(path.stat().st_size for path in (root / location).rglob("*") if path.is_file())


def test_a_branch_has_its_own_line(main, branch, plain, write, source):
    """Both go on without the other; the first commit of the branch carries our operation."""
    assert main.writers(branch) == {2: None, 3: "b" * 32, 4: "1" * 32, 5: "1" * 32}
    assert (main.latest(LOCATION), main.latest(branch)) == (2, 5)
    main.overwrite(LOCATION, source(TABLE.slice(0, 1)), write())
    assert main.open(branch, 5).num_rows == 1005
    assert plain.open(branch).count_rows() == 1005
    assert main.open(branch, 3).num_rows == 1000
    assert main.overwrite(branch, source(TABLE.slice(0, 2)), write()) == 6
    assert main.open(LOCATION, 3).num_rows == 1


def test_files_of_a_branch_are_named_from_the_main_table(main, branch, root, snapshots):
    """Shared ones as on the main line, so that nothing is hashed twice."""
    described, known = snapshots(main, LOCATION, [1, 2])
    on_branch, _ = snapshots(main, branch, [3, 4, 5], known)
    assert on_branch[3].files == described[2].files
    assert on_branch[3].content_hash == described[2].content_hash
    own = [file.path for file in on_branch[5].files if file.path not in known]
    assert own
    assert all(path.startswith("tree/exp/") for path in own)
    assert snapshots(main, branch, [3, 4, 5])[0] == on_branch
    assert all((root / LOCATION / file.path).is_file() for file in on_branch[5].files)


def test_the_main_line_keeps_what_a_branch_needs(main, branch, ground, snapshots, write, source):
    """Sweeps and removals of either line leave the other one alone, and orphans go all the same."""
    on_branch, _ = snapshots(main, branch, [3, 4, 5])
    main.overwrite(LOCATION, source(TABLE.slice(0, 1)), write())
    orphans = [
        ground.root / LOCATION / path for path in ("data/orphan.lance", "tree/exp/data/orphan.lance", "_incoming/x")
    ]
    for path in orphans:
        path.parent.mkdir(exist_ok=True)
        ground.damage(path, b"left by a crash")
    main.sweep(LOCATION, [3])
    assert [path.exists() for path in orphans] == [False, True, False]
    assert snapshots(main, branch, [3, 4, 5])[0] == on_branch
    main.sweep(branch, [2, 3, 4, 5])
    assert not any(path.exists() for path in orphans)
    assert snapshots(main, branch, [3, 4, 5])[0] == on_branch
    assert main.open(LOCATION, 3).num_rows == 1


def test_usage_and_removal_on_a_branch(main, branch, root, snapshots, write):
    """Only files of the branch's own can be freed there; on the main line none that a branch needs."""
    on_branch, _ = snapshots(main, branch, [3, 4, 5])
    used = main.usage(branch, [3, 4, 5])
    assert used.table == folder_bytes(root, branch)
    assert used.total[5] > on_branch[5].num_bytes > used.unique[5]
    told, size = main.removal(branch, [4]), folder_bytes(root, LOCATION)
    assert told == used.unique[4]
    assert main.remove(branch, [4], write()) == told == size - folder_bytes(root, LOCATION)
    on_main = main.usage(LOCATION, [1, 2])
    assert on_main.table == folder_bytes(root, LOCATION)
    assert on_main.unique[1] == main.removal(LOCATION, [1])
    main.remove(LOCATION, [1], write())
    assert snapshots(main, branch, [3, 5])[0] == {version: on_branch[version] for version in (3, 5)}


TIERS = [
    *product(["folder", "folder+s3"], [[4], [5], [3, 4, 5]]),
    *product(["alluxio", "alluxio-s3"], [[3, 4, 5]]),
]


@pytest.mark.parametrize(("ground", "going"), TIERS, indirect=["ground"])
def test_versions_on_a_branch_go_to_the_cold_tier_and_back(tiers, snapshots, write, source, going):
    """Their copy needs nothing of the main line."""
    store = tiers.store
    store.create(LOCATION, source(TABLE), write())
    store.upsert(LOCATION, source(TABLE.slice(0, 7)), ["id"], write())
    store.branch(LOCATION, "exp", 2, write("b" * 32))
    location = store.branch_location(LOCATION, "exp")
    store.append(location, source(TABLE.slice(0, 5)), write())
    store.upsert(location, source(TABLE.slice(10, 3)), ["id"], write())
    before, known = snapshots(store, location, [3, 4, 5])
    for version in going:
        store.archive(location, version, f"c/{version}", known, write())
        address = store._cold.address(f"c/{version}")
        copy = lance.dataset(address.uri, storage_options=dict(address.storage_options) or None)
        assert (copy.version, copy.count_rows()) == (version, before[version].num_rows)
    store.remove(location, going, write())
    for version in going:
        store.unarchive(f"c/{version}", location, version, known, write())
    assert snapshots(store, location, [3, 4, 5])[0] == before
    assert store.writers(location)[3] == "b" * 32


def test_a_merge_copies_the_rows(main, branch, write):
    """The new version of the main line is the branch's, and lives on without it."""
    rows = whole(main, branch, 5)
    merged = main.merge(LOCATION, "exp", 5, write("e" * 32))
    assert merged == 3
    assert main.writers(LOCATION)[3] == "e" * 32
    main.unbranch(LOCATION, "exp")
    assert whole(main, LOCATION, 3).equals(rows)
    assert not any(file.path.startswith("tree/") for file in main.snapshot(LOCATION, 3, {}).files)
    with pytest.raises(NotFound):
        main.merge(LOCATION, "exp", 5, write())


def test_a_merge_keeps_blobs(main, plain, write):
    """Values in files of their own are copied as well."""
    table = pa.Table.from_arrays(
        [lance.blob_array([b"a" * (5 << 20), b"b"])], schema=pa.schema([lance.blob_field("b")])
    )
    plain.write(table, "b.lance", data_storage_version="2.2")
    main.branch("b.lance", "exp", 1, write())
    rows = whole(main, "b.lance", 1)
    assert whole(main, "b.lance", main.merge("b.lance", "exp", 2, write())).equals(rows)


def test_tags_of_both_lines(main, branch, plain, write):
    """Lance's tags are common to all lines; what goes takes only its own."""
    main.mirror_tags(LOCATION, {"active": 2, "old": 1})
    main.mirror_tags(branch, {"1.0.1-exp.1": 3, "1.0.1-exp.2": 4})
    tags = plain.open(LOCATION).tags
    assert {name: (tag["branch"], tag["version"]) for name, tag in tags.list().items()} == {
        "active": (None, 2),
        "old": (None, 1),
        "1.0.1-exp.1": ("exp", 3),
        "1.0.1-exp.2": ("exp", 4),
    }
    main.remove(LOCATION, [1], write())
    main.remove(branch, [4], write())
    assert set(tags.list()) == {"active", "1.0.1-exp.1"}
    main.mirror_tags(LOCATION, {"1.0.1-exp.1": 2})
    assert tags.list()["1.0.1-exp.1"]["branch"] is None
    main.mirror_tags(branch, {"1.0.1-exp.1": 3})
    main.unbranch(LOCATION, "exp")
    assert set(tags.list()) == {"active"}


def test_unbranch_leaves_nothing(main, branch, plain, root, snapshots, write):
    """A second call is no error, also without a table, and the name is free."""
    described, _ = snapshots(main, LOCATION, [1, 2])
    main.unbranch(LOCATION, "exp")
    main.unbranch(LOCATION, "exp")
    main.unbranch("datasets/none.lance", "exp")
    assert not (root / LOCATION / "tree" / "exp").exists()
    assert plain.open(LOCATION).branches.list() == {}
    assert snapshots(main, LOCATION, [1, 2])[0] == described
    assert main.branch(LOCATION, "exp", 1, write()) == 2
    assert main.open(main.branch_location(LOCATION, "exp"), 2).num_rows == 1000


def test_a_branch_that_was_killed_at_its_beginning_is_begun_anew(main, ground, write):
    """The killed one had no commit of ours."""
    kill(ground, "branch")
    assert main.writers(main.branch_location(LOCATION, "exp")) == {2: None}
    assert main.branch(LOCATION, "exp", 2, write("b" * 32)) == 3
    assert main.writers(main.branch_location(LOCATION, "exp")) == {2: None, 3: "b" * 32}


@pytest.mark.parametrize("half", ["killed", "no folder", "no reference"])
def test_a_branch_half_removed_does_no_harm(main, branch, ground, snapshots, write, half):
    """The main line works, and the next call removes the rest, or begins it anew."""
    described, _ = snapshots(main, LOCATION, [1, 2])
    if half == "killed":
        kill(ground, "unbranch")
    elif half == "no folder":
        shutil.rmtree(ground.root / branch)
    else:
        ground.damage(ground.root / LOCATION / "_refs" / "branches" / "exp.json", None)
    main.sweep(LOCATION, [1, 2])
    main.usage(LOCATION, [1, 2])
    assert snapshots(main, LOCATION, [1, 2])[0] == described
    assert main.branch(LOCATION, "exp", 2, write()) == 3
    main.unbranch(LOCATION, "exp")
    assert not (ground.root / branch).exists()


def kill(ground, verb):
    """Run a verb in a process that is killed in its middle."""
    done = subprocess.run(
        [sys.executable, "-c", DYING, ground.address, str(ground.root), verb],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize("name", ["1a", "a/b", "..", "a.b", "x" * 64, "a b"])
def test_names_that_no_branch_can_have(main, write, name):
    """The error says what is accepted, before anything is touched."""
    with pytest.raises(InvalidArgument, match="a letter, then up to 62"):
        main.branch(LOCATION, name, 1, write())
    with pytest.raises(InvalidArgument, match="no name of a branch"):
        main.unbranch(LOCATION, name)
    with pytest.raises(InvalidArgument, match="no name of a branch"):
        main.branch_location(LOCATION, name)


def test_a_branch_at_a_version_that_does_not_exist(main, plain, write):
    """Nothing is left of it."""
    with pytest.raises(NotFound):
        main.branch(LOCATION, "exp", 9, write())
    assert plain.open(LOCATION).branches.list() == {}
    assert main.branch_location(LOCATION, "") == LOCATION
