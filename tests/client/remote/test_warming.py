"""The cache of a real Alluxio, steered and looked at through a sidecar; nothing stands in for either."""

import time

import pyarrow as pa
import pytest

from alluxio_lance.client.cache import RemoteCache
from alluxio_lance.client.manager import RemoteManager
from alluxio_lance.sidecar.server import Sidecar
from alluxio_lance.sidecar.settings import Settings
from alluxio_lance.ways import Way


@pytest.fixture
def sidecar(alluxio, tmp_path):
    """A sidecar whose tables lie in Alluxio; it loads nothing by itself."""
    settings = Settings(
        root=tmp_path / "root",
        run_dir=tmp_path / "run",
        store=alluxio,
        memory_budget="64MiB",
        disk_budget="64MiB",
        prefetch="none",
        janitor_interval=0,
    )
    with Sidecar(settings) as sidecar:
        yield sidecar


@pytest.fixture
def manager(sidecar):
    """A manager that is connected to it."""
    with RemoteManager.open(sidecar.address) as manager:
        yield manager


@pytest.fixture
def cache(sidecar):
    """Its shared memory."""
    with RemoteCache.connect(sidecar.address) as cache:
        yield cache


def percents(manager, wanted=lambda _: True, patience=30.0):
    """Map versions to how much of them is cached, as soon as it is as wanted, or in the end: workers free in their time."""
    deadline = time.monotonic() + patience
    while True:
        versions = manager.storage("datasets", "a").versions
        found = {each.semver: 100 * each.cached_bytes // each.hot_bytes for each in versions}
        if wanted(found) or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


def test_a_version_leaves_the_cache_and_comes_back(manager, cache, rows):
    """Its share, its ways and its reasons follow; what it shares with the active one stays."""
    manager.register_resource("datasets", "a", rows(50_000))
    manager.update_resource("datasets", "a", rows(50_000, 50_000), mode="overwrite")
    assert percents(manager) == {"1.0.0": 100, "1.1.0": 100}
    assert manager.cool_resource("datasets", "a", "1.0.0") > 0
    left = percents(manager, lambda found: found["1.0.0"] < 100)
    assert left["1.0.0"] < 100
    assert left["1.1.0"] == 100
    gone = manager.explain_resource("datasets", "a", "1.0.0")
    assert gone.share.percent < 100
    assert [(file.way, file.cached_percent) for file in gone.files if file.path.startswith("data/")] == [
        (Way.ENDPOINT, 0)
    ]
    assert "not cached on this node" in " ".join(file.why for file in gone.files)
    told = []
    share = manager.warm_resource("datasets", "a", "1.0.0", on_progress=told.append)
    assert (share.percent, share.cached_bytes) == (100, share.bytes)
    assert {progress.step for progress in told} == {"cache"}
    back = manager.explain_resource("datasets", "a", "1.0.0")
    assert back.share == share
    assert {file.way for file in back.files if file.path.startswith("data/")} == {Way.SHORT_CIRCUIT}

    assert [each.rows for each in cache.prefetch("alluxio://datasets/a")][-1] == 50_000
    (version,) = cache.statistics().versions
    assert sum(version.ways.values()) > 0
    assert set(version.ways) == {Way.SHORT_CIRCUIT}
    assert cache.statistics().disk.budget_bytes == 64 << 20


def test_an_explanation_of_many_files_comes_in_pages(manager, monkeypatch):
    """No version has too many files to be explained."""
    from alluxio_lance.sidecar.services.calls import base

    monkeypatch.setattr(base, "_PAGE", 200)
    manager.register_resource("datasets", "a", pa.table({"x": [0]}))
    for number in range(1, 4):
        manager.update_resource("datasets", "a", pa.table({"x": [number]}))
    found = manager.explain_resource("datasets", "a")
    assert len([file for file in found.files if file.path.startswith("data/")]) == 4
    assert [file.path for file in found.files] == sorted({file.path for file in found.files})
    assert found.share.bytes >= sum(file.bytes for file in found.files)
