"""A removal of versions that is killed in its middle."""

from __future__ import annotations

import signal
import subprocess
import sys

import lance
import pyarrow as pa
import pytest

LOCATION = "datasets/deep/a.lance"
TABLE = pa.table({"id": pa.array(range(1000)), "x": pa.array([0.5] * 1000)})

DYING = """
import os, signal, sys
from pathlib import Path
from alluxio_lance.lifecycle.ports import Write
from alluxio_lance.storage import LanceStore

left = int(sys.argv[2])
unlink = Path.unlink

def dying(path, **options):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    unlink(path, **options)

Path.unlink = dying
going = [int(number) for number in sys.argv[3:]]
LanceStore.local(Path(sys.argv[1])).remove("datasets/deep/a.lance", going, Write(operation="d" * 32, actor="a", message=""))
"""


@pytest.fixture
def table(local_tiers, write, source):
    """Five versions that share files: create, append, overwrite, upsert with a deletion file, append."""
    store = local_tiers.store
    store.create(LOCATION, source(TABLE), write())
    store.append(LOCATION, source(TABLE), write())
    store.overwrite(LOCATION, source(TABLE), write())
    store.upsert(LOCATION, source(TABLE.slice(0, 7)), ["id"], write())
    store.append(LOCATION, source(TABLE.slice(0, 5)), write())
    return local_tiers


def numbers(store):
    """List the versions."""
    return sorted(ref["version"] for ref in lance.dataset(store.absolute(LOCATION)).version_refs())


@pytest.mark.parametrize("going", [[1, 2], [3, 4], [5], [1, 2, 3, 4, 5]])
@pytest.mark.parametrize("steps", [0, 1, 2])
def test_a_removal_that_was_killed_is_ended_by_the_next(table, snapshots, write, going, steps):
    """Killed after any number of files: what stays is whole, a second call frees the rest, and nothing is left over."""
    store = table.store
    before, _ = snapshots(store, LOCATION, [1, 2, 3, 4, 5])
    done = subprocess.run(
        [sys.executable, "-c", DYING, str(table.root), str(steps), *map(str, going)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    stayed = [version for version in before if version not in going]
    assert snapshots(store, LOCATION, stayed)[0] == {version: before[version] for version in stayed}
    told, size = store.removal(LOCATION, going), table.hot_bytes()
    assert store.remove(LOCATION, going, write()) == told == size - table.hot_bytes()
    assert [version for version in numbers(store) if version <= 5] == stayed
    assert store.sweep(LOCATION, numbers(store)) == 0
