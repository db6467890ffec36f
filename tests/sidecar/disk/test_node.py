"""The disk tier in a node: restarts without the store, mixed loads, versions that are not served, purges."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from alluxio_lance import ResourceManager
from alluxio_lance.errors import NotFound, Restoring
from alluxio_lance.lifecycle.local import LocalManager
from alluxio_lance.sidecar.feed import Feed
from alluxio_lance.sidecar.prefetcher import Prefetcher
from alluxio_lance.sidecar.server import Sidecar
from alluxio_lance.sidecar.settings import Settings
from alluxio_lance.sidecar.statistics import Status
from alluxio_lance.ways import Way

WAIT = 30.0
"""Seconds after which a test that waits has failed."""
TABLE = pa.table({"x": np.arange(5000), "t": [f"row {number}" for number in range(5000)]})


def until(true: Callable[[], bool]) -> None:
    """Look until something is so."""
    deadline = time.monotonic() + WAIT
    pause = threading.Event()
    while not true():
        assert time.monotonic() < deadline
        pause.wait(0.01)


class House:
    """The root folder of a node, and the node."""

    def __init__(self, root: Path, run: Path) -> None:
        self.root = root
        self._run = run

    def start(self, **options) -> Sidecar:
        """Start the node."""
        defaults = {"memory_budget": "64MiB", "disk_budget": "64MiB", "prefetch": "none", "janitor_interval": 0}
        return Sidecar(Settings(root=self.root, run_dir=self._run, **{**defaults, **options}))

    def kept(self) -> list[Path]:
        """List the columns on the disk."""
        return [path.parent for path in (self.root / "disk").glob("*/index.json")]


@pytest.fixture
def house(tmp_path):
    """A root folder; socket paths are short, so the run folder is elsewhere."""
    with tempfile.TemporaryDirectory(prefix="al-") as run:
        yield House(tmp_path / "root", Path(run))


def _resident(node: Sidecar):
    (found,) = node.residency.statistics().versions
    return found


def _read(node: Sidecar, version, columns=None) -> pa.Table:
    """Open a version as a reader does, and read its segments."""
    hold = node.residency.open(version, columns)
    try:
        descriptors = iter(hold.descriptors)
        arrays = {
            column.name: pa.concat_tables(
                pa.ipc.open_file(pa.OSFile(f"/proc/self/fd/{next(descriptors)}")).read_all() for _ in column.segments
            ).column(0)
            for column in hold.layout.columns
        }
        return pa.table(arrays).cast(TABLE.select(list(arrays)).schema)
    finally:
        hold.release()


def test_after_a_restart_the_store_is_not_needed(house):
    """The active version gets hot from the disk, whatever became of the tables, and is announced."""
    with house.start(prefetch="active") as node:
        version = node.manager.register_resource("datasets", "a", TABLE)
        until(lambda: node.disk.statistics().columns == 2)
        assert _resident(node).ways.keys() == {Way.LOCAL}
    (house.root / "data").rename(house.root / "elsewhere")
    with house.start(prefetch="active") as node:
        until(lambda: node.residency.is_hot(version))
        found = _resident(node)
        assert (found.status, dict(found.ways), found.cached_percent) == (Status.HOT, {Way.DISK: found.bytes}, None)
        assert _read(node, version).equals(TABLE)
        disk = node.residency.statistics().disk
        assert (disk.hits, disk.misses, disk.columns, disk.budget_bytes) == (2, 0, 2, 64 << 20)


def test_what_is_not_on_the_disk_comes_from_the_store(house):
    """One load, both ways, columns in the order asked for; afterwards all of it is on the disk."""
    with house.start() as node:
        version = node.manager.register_resource("datasets", "a", TABLE)
        assert _read(node, version, ["t"]).equals(TABLE.select(["t"]))
        until(lambda: node.disk.statistics().columns == 1)
        node.residency.evict(version)
        steps = []
        node.residency.prefetch(version, on_progress=lambda progress: steps.append(progress.step))
        assert list(dict.fromkeys(steps)) == ["disk", "load"]
        assert list(_resident(node).ways) == [Way.LOCAL, Way.DISK]
        assert _read(node, version).equals(TABLE)
        until(lambda: node.disk.statistics().columns == 2)
        node.residency.evict(version)
        assert _read(node, version, ["x", "t"]).equals(TABLE)
        assert list(_resident(node).ways) == [Way.DISK]
        assert node.residency.statistics().used_bytes == _resident(node).bytes


def test_a_corrupt_column_is_read_from_the_store(house):
    """And is on the disk again afterwards."""
    with house.start() as node:
        version = node.manager.register_resource("datasets", "a", TABLE)
        node.residency.prefetch(version)
        until(lambda: node.disk.statistics().columns == 2)
        node.residency.evict(version)
        for folder in house.kept():
            (folder / "0.arrow").chmod(0o600)
            (folder / "0.arrow").write_bytes(bytes((folder / "0.arrow").stat().st_size))
        assert _read(node, version).equals(TABLE)
        assert list(_resident(node).ways) == [Way.LOCAL]
        until(lambda: node.disk.statistics().columns == 2)
        assert node.disk.statistics().corrupt == 2
        node.residency.evict(version)
        assert _read(node, version).equals(TABLE)
        assert list(_resident(node).ways) == [Way.DISK]


def test_what_is_not_served_is_not_served_from_the_disk(house):
    """An archived version has to come back first, a deleted one is gone; nothing stays claimed."""
    with house.start() as node:
        version = node.manager.register_resource("datasets", "a", TABLE)
        node.manager.update_resource("datasets", "a", TABLE)
        node.residency.prefetch(version)
        until(lambda: node.disk.statistics().columns == 2)
        node.residency.evict(version)
        node.manager.archive_resource("datasets", "a", version.semver)
        with pytest.raises(Restoring):
            node.residency.open(version)
        node.manager.restore_resource("datasets", "a", version.semver)
        assert _read(node, version).equals(TABLE)
        assert list(_resident(node).ways) == [Way.DISK]
        node.residency.evict(version)
        node.manager.delete_resource("datasets", "a", version.semver)
        with pytest.raises(NotFound):
            node.residency.open(version)
        assert node.residency.statistics().used_bytes == 0


@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize("whole", [True, False])
def test_of_what_was_purged_no_byte_is_left(house, running, whole):
    """Neither of a version nor of a resource, also when it was purged while the node was down; the others stay."""
    with house.start() as node:
        gone = node.manager.register_resource("datasets", "a", TABLE)
        node.manager.update_resource("datasets", "a", TABLE.slice(1), mode="overwrite")
        other = node.manager.register_resource("datasets", "b", TABLE.slice(2))
        for version in (gone, other):
            node.residency.prefetch(version)
        until(lambda: node.disk.statistics().columns == 4)

        def purge(manager: ResourceManager) -> None:
            semver = None if whole else gone.semver
            manager.delete_resource("datasets", "a", semver)
            assert len(house.kept()) == 4
            manager.purge_resource("datasets", "a", semver)

        if running:
            purge(node.manager)
            until(lambda: len(house.kept()) == 2)
    if not running:
        with ResourceManager.embedded(house.root) as manager:
            purge(manager)
    with house.start() as node:
        assert node.disk.owners() == {("datasets", "b")}
        assert len(house.kept()) == 2


@pytest.mark.parametrize(
    "step",
    [(LocalManager, "reconcile"), (Feed, "__init__"), (Prefetcher, "start")],
    ids=["before the events", "with the events", "before the prefetcher"],
)
def test_what_is_purged_while_a_node_starts_is_gone_too(house, monkeypatch, step):
    """By another node, or by this one's mending of a purge that it died in: no restart is needed for it."""
    with house.start() as node:
        node.residency.prefetch(node.manager.register_resource("datasets", "a", TABLE))
        until(lambda: node.disk.statistics().columns == 2)
        node.manager.delete_resource("datasets", "a")
    plain = getattr(*step)

    def purged(*arguments, **keywords):
        monkeypatch.setattr(*step, plain)
        with ResourceManager.embedded(house.root) as other:
            other.purge_resource("datasets", "a")
        return plain(*arguments, **keywords)

    monkeypatch.setattr(*step, purged)
    with house.start() as node:
        until(lambda: not house.kept())
        assert node.disk.owners() == set()


def test_readers_follow_a_rollback_when_the_version_is_hot_again(house):
    """To one that was deprecated, and so has left shared memory; it comes back from the disk."""
    with house.start(prefetch="active") as node:
        first = node.manager.register_resource("datasets", "a", TABLE)
        until(lambda: node.disk.statistics().columns == 2)
        second = node.manager.update_resource("datasets", "a", TABLE.slice(1), mode="overwrite")
        until(lambda: node.residency.is_hot(second))
        node.manager.deprecate_resource("datasets", "a", first.semver)
        until(lambda: not node.residency.is_hot(first))
        announce = node._prefetcher._announce
        told = []

        def listen(type, name, announced):
            told.append((announced[0], node.residency.is_hot(first)))
            announce(type, name, announced)

        node._prefetcher._announce = listen
        node.manager.rollback_resource("datasets", "a", first.semver)
        until(lambda: bool(told))
        assert told == [(first.semver, True)]
        found = next(each for each in node.residency.statistics().versions if each.semver == first.semver)
        assert list(found.ways) == [Way.DISK]


def test_without_a_budget_there_is_no_disk_tier(house):
    """As by default where the tables lie on the same disk."""
    with house.start(disk_budget=None) as node:
        node.residency.prefetch(node.manager.register_resource("datasets", "a", TABLE))
        assert node.disk is None
        assert node.residency.statistics().disk.budget_bytes == 0
    assert not (house.root / "disk").exists()
