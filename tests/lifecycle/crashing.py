"""What the crash tests share: a verb in a process that kills itself, and what must lie on the disks afterwards."""

import signal
import subprocess
import sys
from pathlib import Path

import lance
import pyarrow as pa

import alluxio_lance as al
from alluxio_lance.values import State

CRASHER = Path(__file__).with_name("crasher.py")


def rows(n):
    """Make n rows of the schema that the crasher writes."""
    return pa.table({"id": pa.array(range(n), pa.int64()), "x": pa.array([bytes(40)] * n, pa.binary(40))})


def prepare(folder):
    """Make a root with one resource of three versions, the last one active."""
    with al.ResourceManager.embedded(folder) as manager:
        manager.register_resource("datasets", "old", rows(10))
        manager.update_resource("datasets", "old", rows(5))
        manager.update_resource("datasets", "old", rows(3))
    return folder


def crash(root, verb, step):
    """Run the verb in a process that kills itself at the step."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(CRASHER), str(root), verb, step],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def contents(root):
    """Read all versions that can be read: state, hash and rows by semantic version."""
    with al.ResourceManager.embedded(root) as manager:
        found = {}
        for version in manager.list_versions("datasets", "old"):
            count = None
            if version.state is not State.ARCHIVED:
                table = manager.get_resource("datasets", "old", version.semver).to_lance()
                assert table.version == version.version
                count = table.to_table().num_rows
            found[version.semver] = (version.state, version.content_hash, count)
        return found


def check_no_orphans(root):
    """Every Lance version belongs to a version of the catalog, every data file to a Lance version, every copy in the cold tier to an archived version, nothing else lies there."""
    with al.ResourceManager.embedded(root) as manager:
        assert manager.catalog.open_operations() == []
        tables, cold = {}, set()
        for deleted in (False, True):
            for resource in manager.list_resources(deleted=deleted):
                copies = manager.catalog.cold_copies(resource.type, resource.name)
                cold |= {copy.location for copy in copies.values()}
                versions = manager.list_versions(resource.type, resource.name, deleted=deleted)
                versions += [] if deleted else manager.list_versions(resource.type, resource.name, deleted=True)
                hot = {version.version for version in versions if version.semver not in copies}
                tables[root / "data" / manager.catalog.location(resource.type, resource.name)] = hot
    lying = {path.relative_to(root / "cold") for path in files(root / "cold")}
    assert {path for path in lying if not any(path.is_relative_to(copy) for copy in cold)} == set()
    assert {copy for copy in cold if not any(path.is_relative_to(copy) for path in lying)} == set()
    folders = {path.parent for path in (root / "data").rglob("*.lance") if path.is_dir()}
    assert {path for folder in folders for path in folder.glob("*.lance")} == set(tables)
    for location, known in tables.items():
        check_table(location, known)


def check_table(location, known):
    """Nothing lies in a table but what its versions need."""
    dataset = lance.dataset(str(location))
    present = {ref["version"] for ref in dataset.version_refs()}
    newest = max(present)
    # A step back that an undone update made last, or that covers a removed version, stays until the next update.
    assert present - {newest} <= known <= present
    used = {row["path"] for row in dataset.tracked_files().read_all().to_pylist() if row["type"] == "data file"}
    on_disk = {str(path.relative_to(location)) for path in files(location / "data")}
    assert on_disk <= {path if path.startswith("data/") else f"data/{path}" for path in used}


def files(folder):
    """List all files below a folder."""
    return [path for path in folder.rglob("*") if path.is_file()]
