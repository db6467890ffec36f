"""Branches: a line of their own, which shares the data, is merged, is removed, and survives any death."""

import runpy
import shutil
import tempfile
import uuid
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

import alluxio_lance as al
from alluxio_lance.catalog import DatabaseCatalog
from alluxio_lance.embedded import catalog_url, tables_folder
from alluxio_lance.errors import InvalidArgument, Leased, NotFound, Restoring
from alluxio_lance.lifecycle.ports import Holder
from alluxio_lance.storage import LanceStore
from alluxio_lance.values import State

DYING = runpy.run_path(str(Path(__file__).with_name("dying.py")))
Death, Fate, mortal = DYING["Death"], DYING["Fate"], DYING["mortal"]

HERE = "/dev/shm" if Path("/dev/shm").is_dir() else None


def rows(*ids):
    """Make a table."""
    return pa.table({"id": pa.array(ids, pa.int64())})


def ids(manager, selector=None):
    """Read the rows of a version."""
    return sorted(manager.get_resource("datasets", "a", selector).to_lance().to_table()["id"].to_pylist())


@pytest.fixture
def manager(tmp_path):
    """Give an embedded manager with two versions: rows 1, then 1 and 2."""
    with al.ResourceManager.embedded(tmp_path / "root") as manager:
        manager.register_resource("datasets", "a", rows(1), metadata={"x": 1})
        manager.update_resource("datasets", "a", rows(2))
        yield manager


def test_a_branch_is_a_line_of_its_own(manager):
    """It begins with the content of its base, goes on under its own numbers, and is never active."""
    first = manager.branch_resource("datasets", "a", "exp", version="1.0.0", message="try")
    assert (first.semver, first.branch, first.state, dict(first.metadata)) == (
        "1.0.0-exp.1",
        "exp",
        State.REGISTERED,
        {"x": 1},
    )
    assert manager.find_version("datasets", "a", "1.0.0").content_hash == first.content_hash
    second = manager.update_resource("datasets", "a", rows(7), branch="exp", metadata={"y": 2})
    third = manager.update_resource("datasets", "a", rows(7, 8), mode="upsert", on="id", branch="exp")
    fourth = manager.update_resource("datasets", "a", metadata={"y": None}, branch="exp")
    assert [v.semver for v in (second, third, fourth)] == ["1.0.0-exp.2", "1.0.0-exp.3", "1.0.0-exp.4"]
    assert dict(third.metadata) == {"x": 1, "y": 2}
    assert dict(fourth.metadata) == {"x": 1}
    assert ids(manager, "exp") == ids(manager, "1.0.0-exp.3") == [1, 7, 8]
    assert ids(manager, "1.0.0-exp.2") == [1, 7]
    assert ids(manager) == [1, 2]
    assert manager.find_version("datasets", "a").semver == "1.1.0"
    (resource,) = manager.list_resources()
    assert resource.branches == ("exp",)
    assert [v.semver for v in manager.list_versions("datasets", "a", branch="exp")] == [
        "1.0.0-exp.4",
        "1.0.0-exp.3",
        "1.0.0-exp.2",
        "1.0.0-exp.1",
    ]
    assert manager.update_resource("datasets", "a", rows(3)).semver == "1.2.0"
    assert ids(manager) == [1, 2, 3]


def test_two_branches_and_the_main_line_go_on_side_by_side(manager):
    """Each continues from its own newest version."""
    for branch, version in (("left", "1.0.0"), ("right", None)):
        manager.branch_resource("datasets", "a", branch, version=version)
    for round in (10, 20):
        manager.update_resource("datasets", "a", rows(round), branch="left")
        manager.update_resource("datasets", "a", rows(round + 1), branch="right")
        manager.update_resource("datasets", "a", rows(round + 2))
    assert (ids(manager, "left"), ids(manager, "right"), ids(manager)) == (
        [1, 10, 20],
        [1, 2, 11, 21],
        [1, 2, 12, 22],
    )


@pytest.mark.parametrize(
    ("options", "semver", "content"),
    [({}, "1.2.0", [1, 7]), ({"bump": "major"}, "2.0.0", [1, 7]), ({"activate": False}, "1.2.0", [1, 2])],
)
def test_a_merge_makes_the_branch_the_next_version(manager, options, semver, content):
    """Its rows and metadata, under the next number of the main line; the branch may go afterwards."""
    manager.branch_resource("datasets", "a", "exp", version="1.0.0")
    manager.update_resource("datasets", "a", rows(7), branch="exp", metadata={"y": 2}, provenance={"job": "j"})
    merged = manager.merge_resource("datasets", "a", "exp", **options)
    assert (merged.semver, merged.branch, dict(merged.metadata)) == (semver, "", {"x": 1, "y": 2})
    assert dict(merged.provenance) == {"job": "j", "merged_from": "1.0.0-exp.2"}
    manager.unbranch_resource("datasets", "a", "exp")
    assert ids(manager, semver) == [1, 7]
    assert ids(manager) == content


def test_a_merge_of_another_schema_bumps_the_major_version(manager):
    """As an overwrite with it would."""
    manager.branch_resource("datasets", "a", "exp")
    manager.update_resource("datasets", "a", pa.table({"name": ["x"]}), mode="overwrite", branch="exp")
    assert manager.merge_resource("datasets", "a", "exp").semver == "2.0.0"


def test_a_removed_branch_leaves_nothing(manager):
    """Its versions, its bytes and its name are gone, and another branch may be called so."""
    before = manager.storage("datasets", "a").table_bytes
    manager.branch_resource("datasets", "a", "exp")
    manager.update_resource("datasets", "a", rows(7), branch="exp")
    assert manager.storage("datasets", "a").table_bytes > before
    manager.unbranch_resource("datasets", "a", "exp")
    assert manager.storage("datasets", "a").table_bytes == before
    assert [v.semver for v in manager.list_versions("datasets", "a")] == ["1.1.0", "1.0.0"]
    with pytest.raises(NotFound):
        manager.get_resource("datasets", "a", "exp")
    for verb in (manager.unbranch_resource, manager.merge_resource):
        with pytest.raises(NotFound, match=r"has no branch 'exp' \(it has: none\)"):
            verb("datasets", "a", "exp")
    with pytest.raises(NotFound, match="has no branch"):
        manager.update_resource("datasets", "a", rows(7), branch="exp")
    assert manager.branch_resource("datasets", "a", "exp", version="1.0.0").semver == "1.0.0-exp.1"


def test_a_branch_that_is_read_stays(manager):
    """The reader is named; when he has gone it can be removed."""
    manager.branch_resource("datasets", "a", "exp")
    holder = Holder(
        id=uuid.uuid4().hex,
        type="datasets",
        name="a",
        semver="1.1.0-exp.1",
        node="node-b",
        pid=7,
        user="alice",
        command="train.py",
        since=datetime.now(UTC),
    )
    manager.catalog.hold(holder, 60)
    with pytest.raises(Leased, match="node-b"):
        manager.unbranch_resource("datasets", "a", "exp")
    assert ids(manager, "exp") == [1, 2]
    manager.catalog.release([holder.id])
    manager.unbranch_resource("datasets", "a", "exp")


def test_branches_begin_on_the_main_line(manager):
    """A branch of a branch would have a number that nobody could read."""
    manager.branch_resource("datasets", "a", "exp")
    with pytest.raises(InvalidArgument, match="begin on the main line"):
        manager.branch_resource("datasets", "a", "more", version="exp")
    with pytest.raises(InvalidArgument, match="leave bump and version out"):
        manager.update_resource("datasets", "a", rows(1), branch="exp", bump="major")
    with pytest.raises(InvalidArgument, match="bump 'huge' is unknown"):
        manager.merge_resource("datasets", "a", "exp", bump="huge")


def test_an_archived_base_is_brought_back_first(manager):
    """The call says that it is under way; afterwards the branch can begin."""
    manager.archive_resource("datasets", "a", "1.0.0")
    with pytest.raises(Restoring):
        manager.branch_resource("datasets", "a", "exp", version="1.0.0")
    manager.restore_resource("datasets", "a", "1.0.0")
    manager.branch_resource("datasets", "a", "exp", version="1.0.0")
    assert ids(manager, "exp") == [1]


def test_requests_are_not_done_twice(manager):
    """The second call of each verb returns the first one's result."""
    for _ in range(2):
        assert manager.branch_resource("datasets", "a", "exp", request_id="b").semver == "1.1.0-exp.1"
    for _ in range(2):
        assert manager.update_resource("datasets", "a", rows(7), branch="exp", request_id="u").semver == "1.1.0-exp.2"
    for _ in range(2):
        assert manager.merge_resource("datasets", "a", "exp", request_id="m").semver == "1.2.0"
    for _ in range(2):
        manager.unbranch_resource("datasets", "a", "exp", request_id="r")
    assert len(manager.list_versions("datasets", "a")) == 3


def test_an_error_in_the_middle_leaves_no_branch(manager, monkeypatch):
    """What was written of it is removed, and the name can be used."""
    before = manager.storage("datasets", "a").table_bytes

    def broken(*_):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("alluxio_lance.storage.snapshots._hash_all", broken)
        with pytest.raises(OSError, match="Input/output"):
            manager.branch_resource("datasets", "a", "exp", version="1.0.0")
    assert manager.storage("datasets", "a").table_bytes == before
    assert manager.catalog.open_operations() == []
    manager.branch_resource("datasets", "a", "exp", version="1.0.0")
    size = manager.storage("datasets", "a").table_bytes
    with monkeypatch.context() as patch:
        patch.setattr("alluxio_lance.storage.snapshots._hash_all", broken)
        for verb in (manager.merge_resource, lambda *name: manager.update_resource(*name[:2], rows(9), branch=name[2])):
            with pytest.raises(OSError, match="Input/output"):
                verb("datasets", "a", "exp")
    assert ids(manager) == [1, 2]
    assert ids(manager, "exp") == [1]
    manager.merge_resource("datasets", "a", "exp")
    manager.unbranch_resource("datasets", "a", "exp")
    assert manager.storage("datasets", "a").table_bytes < size + 3000


# -- deaths ------------------------------------------------------------------------------------------------------------

VERBS = {
    "branch": lambda manager: manager.branch_resource("datasets", "a", "new", version="1.0.0"),
    "update": lambda manager: manager.update_resource("datasets", "a", rows(7), branch="exp"),
    "merge": lambda manager: manager.merge_resource("datasets", "a", "exp"),
    "unbranch": lambda manager: manager.unbranch_resource("datasets", "a", "exp"),
}


@pytest.fixture(scope="module")
def prepared():
    """Give a folder with a resource of two versions and a branch of two."""
    with tempfile.TemporaryDirectory(dir=HERE) as folder:
        with al.ResourceManager.embedded(Path(folder) / "root") as manager:
            manager.register_resource("datasets", "a", rows(1))
            manager.update_resource("datasets", "a", rows(2))
            manager.branch_resource("datasets", "a", "exp", version="1.0.0")
            manager.update_resource("datasets", "a", rows(5), branch="exp")
        yield Path(folder) / "root"


def state(manager):
    """Read everything that a user can see."""
    versions = manager.list_versions("datasets", "a")
    branches = manager.list_resources()[0].branches
    return branches, {v.semver: (ids(manager, v.semver), v.state.value) for v in versions}


@pytest.mark.parametrize("verb", VERBS)
def test_a_death_at_any_call_leaves_the_verb_done_or_undone(prepared, verb):
    """Before each call of catalog or store in turn: the next process finds all of it or nothing, and can do it again."""
    with tempfile.TemporaryDirectory(dir=HERE) as folder:
        root = Path(folder) / "done"
        shutil.copytree(prepared, root)
        with al.ResourceManager.embedded(root) as manager:
            before = state(manager)
            VERBS[verb](manager)
            after, size = state(manager), manager.storage("datasets", "a").table_bytes
        seen = []
        died = True
        while died:
            died = False
            root = Path(folder) / f"root{len(seen)}"
            shutil.copytree(prepared, root)
            catalog, store = DatabaseCatalog.open(catalog_url(root)), LanceStore.local(tables_folder(root))
            victim = mortal(catalog, store, Fate(at=len(seen) + 1))
            try:
                VERBS[verb](victim)
            except Death:
                died = True
            victim._rooms.journal.close()
            catalog.close()
            with al.ResourceManager.embedded(root) as manager:
                assert manager.catalog.open_operations() == []
                seen.append(state(manager))
                assert seen[-1] in (before, after), f"died at call {len(seen)}: {victim.catalog._fate.told}"
                if seen[-1] == before:
                    VERBS[verb](manager)
                    assert state(manager) == after
                if verb != "update":
                    # A step back of an undone update may lie below, a few hundred bytes of manifest.
                    assert manager.storage("datasets", "a").table_bytes - size < 2000
            shutil.rmtree(root)
        assert seen[0] == before
        assert seen[-1] == after
        # It goes over once, and not back.
        assert seen == sorted(seen, key=lambda each: each == after)
