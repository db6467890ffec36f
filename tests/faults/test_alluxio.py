"""Each process of a real Alluxio, killed in the middle of each kind of work: the answer is clear, and nothing is lost."""

from __future__ import annotations

import os
import time
from contextlib import closing
from itertools import product

import numpy as np
import pyarrow as pa
import pytest

from alluxio_lance.catalog import DatabaseCatalog
from alluxio_lance.client.cache import RemoteCache
from alluxio_lance.errors import Unavailable
from alluxio_lance.lifecycle.local import LocalManager
from alluxio_lance.lifecycle.ports.store import STEP_BACK
from alluxio_lance.storage import LanceStore
from alluxio_lance.values import State

LOCATION = "datasets/a.lance"
SCHEMA = pa.schema([("id", pa.int64()), ("x", pa.float64())])
BATCH = 1 << 18
"""Rows, of 4 MiB."""
PARTS = ("worker", "proxy", "master")
WORK = ("update", "prefetch", "archive")
# Each part and each kind of work once; all nine take some minutes.
CASES = (
    list(product(PARTS, WORK)) if os.environ.get("ALLUXIO_LANCE_ALL_FAULTS") else list(zip(PARTS, WORK, strict=True))
)


def batch(number):
    """Rows that do not compress."""
    return pa.record_batch(
        [np.arange(number * BATCH, (number + 1) * BATCH), np.random.default_rng(number).random(BATCH)], schema=SCHEMA
    )


def table(*numbers):
    """Several batches."""
    return pa.Table.from_batches([batch(number) for number in numbers])


@pytest.fixture
def root(tmp_path):
    """The folder of catalog and cold tier."""
    return tmp_path / "root"


@pytest.fixture
def store(address, root):
    """The store that is broken."""
    return LanceStore.at(address, root / "data")


@pytest.fixture
def manager(store, root):
    """A manager with two versions, the second active."""
    root.mkdir(exist_ok=True)
    with LocalManager(DatabaseCatalog.open(f"sqlite:///{root}/catalog.db"), store) as found:
        found.register_resource("datasets", "a", table(0, 1, 2))
        found.update_resource("datasets", "a", table(3))
        yield found


def update(manager, node, kill):
    """Append 24 MiB; the part dies after the third of six batches."""

    def rows():
        for number in range(4, 10):
            if number == 7:
                kill()
            yield batch(number)

    manager.update_resource("datasets", "a", pa.RecordBatchReader.from_batches(SCHEMA, rows()))


def prefetch(manager, node, kill):
    """Have a real sidecar load the active version; the part dies with its first word of progress."""
    with closing(RemoteCache.connect(node.address)) as cache:
        for told in cache.prefetch("alluxio://datasets/a", wait=True):
            kill(told)


def archive(manager, node, kill):
    """Move the first version to the cold tier; the part dies when the copy begins."""
    manager.archive_resource("datasets", "a", "1.0.0", on_progress=kill)


@pytest.mark.timeout(280)
@pytest.mark.parametrize(("part", "work"), CASES)
def test_a_killed_part_is_told_and_loses_nothing(
    fragile, kill, record, manager, store, address, root, make_node, part, work
):
    """`Unavailable`, or not noticed; after its restart all versions are what they were, and the next update works."""
    node = make_node("--root", str(root), "--store", address, "--prefetch", "none", "--disk-budget", "0")
    acknowledged = {version.semver: version.content_hash for version in manager.list_versions("datasets", "a")}
    killer = kill(part)
    try:
        {"update": update, "prefetch": prefetch, "archive": archive}[work](manager, node, killer)
        outcome = "done"
    except Unavailable:
        outcome = "Unavailable"
    ended = time.monotonic()
    assert killer.at is not None
    fragile.restart(part)
    findings = manager.reconcile()
    record(part, work, outcome, ended - killer.at, ", ".join(f"{each.verb} {each.outcome}" for each in findings))
    assert manager.catalog.open_operations() == []
    after_fault(manager, store, acknowledged, more=outcome == "done" and work == "update")
    manager.update_resource("datasets", "a", table(20))
    assert (
        manager.get_resource("datasets", "a").num_rows
        == (6 if outcome == "done" and work == "update" else 0) * BATCH + 5 * BATCH
    )
    # What is hot at last is what was written.
    with closing(RemoteCache.connect(node.address)) as cache:
        list(cache.prefetch("alluxio://datasets/a", wait=True))


def after_fault(manager, store, acknowledged, *, more):
    """Check that exactly the acknowledged versions are there, whole, and nothing else."""
    versions = {version.semver: version for version in manager.list_versions("datasets", "a")}
    assert {semver: versions[semver].content_hash for semver in acknowledged} == acknowledged
    assert len(versions) == len(acknowledged) + more
    for version in versions.values():
        if version.state is State.ARCHIVED:
            manager.get_resource("datasets", "a", version.semver, wait=True)
        assert store.snapshot(LOCATION, version.version, {}).content_hash == version.content_hash
        with store.open(LOCATION, version.version) as reader:
            ids = [value for part in reader.batches(["id"]) for value in part.column("id").to_numpy()[[0, -1]]]
            assert ids[0] == 0
            assert reader.num_rows == version.num_rows
    known = {version.version for version in versions.values()}
    assert {writer for number, writer in store.writers(LOCATION).items() if number not in known} <= {STEP_BACK}
    assert store.sweep(LOCATION, range(1, store.latest(LOCATION) + 1)) == 0
