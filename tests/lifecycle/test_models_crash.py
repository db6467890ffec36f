"""kill -9 in the middle of writing a model: a real process, a real kill, and what the next one finds."""

import runpy
from pathlib import Path

import pytest

import alluxio_lance as al
from alluxio_lance.errors import NotFound

# The folders of tests are no packages.
CRASHING = runpy.run_path(str(Path(__file__).with_name("crashing.py")))
check_no_orphans, crash, files, rows = (CRASHING[name] for name in ("check_no_orphans", "crash", "files", "rows"))
PARTS = runpy.run_path(str(Path(__file__).with_name("model_parts.py")))
rows_of, tensors_of, weights = PARTS["rows_of"], PARTS["tensors_of"], PARTS["weights"]


@pytest.fixture
def root(tmp_path):
    """Prepare a root with one model."""
    folder = tmp_path / "root"
    with al.ResourceManager.embedded(folder) as manager:
        manager.register_resource("models", "old", rows_of(weights()))
    return folder


def names(manager):
    """List the tensors of the active version."""
    active = manager.find_version("models", "old")
    return active.semver, sorted(tensors_of(active.location, active.version))


def test_a_register_killed_in_its_middle_leaves_nothing(root):
    """Neither a version nor a file, and the name is free."""
    crash(root, "register:model", "mid-write")
    with al.ResourceManager.embedded(root) as manager, pytest.raises(NotFound):
        manager.find_version("models", "new")
    check_no_orphans(root)


def test_a_register_killed_behind_its_write_is_completed(root):
    """The rows were checked before they were committed: they are a whole model."""
    crash(root, "register:model", "written")
    with al.ResourceManager.embedded(root) as manager:
        found = manager.find_version("models", "new")
        assert len(tensors_of(found.location, found.version)) == 12
    check_no_orphans(root)


@pytest.mark.parametrize("step", ["mid-write", "uncommitted"])
def test_an_update_killed_before_its_commit_leaves_nothing(root, step):
    """Also not the pieces that were on the disk already, in a file that no version names."""
    with al.ResourceManager.embedded(root) as manager:
        before = names(manager)
    crash(root, "update:model", step)
    lying = sum(path.stat().st_size for path in files(root / "data" / "models" / "old.lance" / "data"))
    assert step == "mid-write" or lying > 12 * (4 << 20)
    with al.ResourceManager.embedded(root) as manager:
        assert names(manager) == before
    check_no_orphans(root)


def test_an_update_killed_behind_its_commit_is_completed(root):
    """The next process finds the new version, and goes on from it."""
    crash(root, "update:model", "written")
    with al.ResourceManager.embedded(root) as manager:
        semver, found = names(manager)
        assert (semver, len(found)) == ("1.1.0", 12)
        manager.update_resource("models", "old", rows_of(weights()), mode="overwrite")
        assert names(manager) == ("1.2.0", sorted(weights()))
    check_no_orphans(root)
