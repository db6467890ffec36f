"""The node over a real Alluxio: warmed before it is loaded, and served from its disk while Alluxio is down."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from alluxio_lance.client.table import Table
from alluxio_lance.errors import Unavailable
from alluxio_lance.sidecar.server import Sidecar
from alluxio_lance.sidecar.settings import Settings
from alluxio_lance.storage.alluxio.cluster import Cluster, ClusterPlan, Ports
from alluxio_lance.ways import Way

TABLE = pa.table({"x": np.arange(50_000), "t": [f"row {number}" for number in range(50_000)]})


def _node(root: Path, store: str, run: str, **options) -> Sidecar:
    defaults = {"memory_budget": "64MiB", "prefetch": "none", "janitor_interval": 0}
    return Sidecar(Settings(root=root, store=store, run_dir=run, **{**defaults, **options}))


@pytest.fixture
def run():
    """A run folder with a short path."""
    with tempfile.TemporaryDirectory(prefix="al-") as folder:
        yield folder


def test_a_version_is_warmed_before_it_is_loaded_where_the_rules_say_so(alluxio, tmp_path, run):
    """With progress of both steps in bytes; elsewhere it is only loaded, and either way the share is told."""
    with _node(tmp_path / "root", alluxio, run, disk_budget=0) as node:
        node.manager.set_rules('[[cache]]\nname = "hot"\nnames = ["a"]\nload = "active"\n')
        for name, steps in (("a", ["cache", "load"]), ("b", ["load"])):
            version = node.manager.register_resource("datasets", name, TABLE)
            node.manager.deprecate_resource("datasets", name, version.semver)
            node.manager.cool_resource("datasets", name, version.semver)
            told = []
            node.residency.prefetch(version, on_progress=told.append)
            assert list(dict.fromkeys(progress.step for progress in told)) == steps
            cached = [progress for progress in told if progress.step == "cache"]
            assert all(0 < progress.bytes <= progress.total_bytes for progress in cached[-1:])
            (found,) = [each for each in node.residency.statistics().versions if each.name == name]
            assert sum(found.ways.values()) > 0
            assert Way.DISK not in found.ways
            assert found.cached_percent == 100 if name == "a" else found.cached_percent in range(101)


def test_what_came_from_the_disk_is_brought_into_alluxio_afterwards(alluxio, tmp_path, run):
    """Readers do not wait for it; the next node, or this one when its disk has dropped the version, finds it there."""
    with _node(tmp_path / "root", alluxio, run, prefetch="active") as node:
        node.manager.set_rules('[[cache]]\nname = "hot"\n')
        version = node.manager.register_resource("datasets", "a", TABLE)
        _eventually(lambda: node.residency.is_hot(version))
        assert node.disk is not None
        assert node.disk.settle()
        node.manager.deprecate_resource("datasets", "a", version.semver)
        _eventually(lambda: not node.residency.is_hot(version))
        store = node.manager.store
        location = "datasets/a.lance"
        _eventually(lambda: store.share(location, version.version).percent < 10)
        node.manager.activate_resource("datasets", "a", version.semver)
        _eventually(lambda: node.residency.is_hot(version))
        _eventually(lambda: store.share(location, version.version).percent == 100)
        (found,) = node.residency.statistics().versions
        assert set(found.ways) == {Way.DISK}


def _eventually(holds):
    """Wait until something holds, for as long as a loaded machine may need."""
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_while_alluxio_is_down_the_disk_serves(tmp_path, run, jars):
    """A node that starts then has its active version hot; what is not on its disk is refused."""
    plan = ClusterPlan(
        folder=tmp_path / "alluxio", ports=Ports.free(), tier_bytes=64 << 20, heap_bytes=256 << 20, small=True
    )
    cluster = Cluster.start(plan)
    try:
        store = cluster.uri.replace("/?", "/lance/tables?")
        with _node(tmp_path / "root", store, run) as node:
            version = node.manager.register_resource("datasets", "a", TABLE)
            other = node.manager.register_resource("datasets", "b", TABLE.slice(1))
            node.residency.prefetch(version)
            assert node.disk is not None
            assert node.disk.settle()
    finally:
        cluster.stop()
    with _node(tmp_path / "root", store, run) as node:
        node.residency.prefetch(version)
        (found,) = node.residency.statistics().versions
        assert dict(found.ways) == {Way.DISK: found.bytes}
        assert node.residency.statistics().disk.hits == 2
        assert node.manager.find_version("datasets", "a").version == version.version
        with Table.open("alluxio://datasets/a@1.0.0", address=node.address.grpc) as table:
            assert table.rows == TABLE.num_rows
        with pytest.raises(Unavailable, match="does not answer"):
            node.residency.prefetch(other)
