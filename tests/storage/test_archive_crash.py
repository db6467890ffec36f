"""Real processes, killed in the middle of archive and unarchive, on a folder and on a bucket."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import lance
import numpy as np
import pyarrow as pa
import pytest

LOCATION = "datasets/deep/a.lance"
ROWS = 600_000

DYING = """
import json, os, signal, sys, threading
from pathlib import Path
from alluxio_lance.lifecycle.ports import StoredFile, Write
from alluxio_lance.storage import LanceStore

root, address, options, watched, known, verb, when = sys.argv[1:]
store = LanceStore.local(Path(root), address, json.loads(options))
known = {path: StoredFile(path=path, **file) for path, file in json.loads(known).items()}

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def on_progress(progress):
    if when == f"at {progress.step}" and progress.bytes:
        die()

def watch():
    # Lance says nothing while it copies: the first file that it brings there is the sign.
    while not any(path.is_file() for path in Path(watched).rglob("*.lance")):
        pass
    die()

def dying(put, number, after):
    def replaced(*arguments):
        global puts
        puts += 1
        if puts == number and not after:
            die()
        put(*arguments)
        if puts == number:
            die()
    return replaced

puts = 0
place = store._cold if verb == "archive" else store._place
word, _, number = when.partition(" put ")
if number:
    place.put = dying(place.put, int(number), word == "after")
if when == "in clone":
    threading.Thread(target=watch, daemon=True).start()
write = Write(operation="d" * 32, actor="a", message="", on_progress=on_progress)
if verb == "archive":
    store.archive("datasets/deep/a.lance", 2, "c/2", known, write)
else:
    store.unarchive("c/2", "datasets/deep/a.lance", 2, known, write)
"""


def die(tiers, known, verb, when):
    """Run a verb in a process that kills itself at a moment."""
    files = {path: {"size": file.size, "hash": file.hash} for path, file in known.items()}
    done = subprocess.run(
        [
            *(sys.executable, "-c", DYING, str(tiers.root), tiers.cold.address, json.dumps(tiers.cold.options)),
            *(str(tiers.cold.folder), json.dumps(files), verb, when),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.fixture
def table(tiers, snapshots, write, source):
    """Three versions: the second has a deletion file, and shares data with both others."""

    def rows(start):
        ids = np.arange(start, start + ROWS)
        return pa.table({"id": ids, "x": np.random.default_rng(start).random(ROWS)})

    store = tiers.store
    store.create(LOCATION, source(rows(0)), write())
    store.upsert(LOCATION, source(rows(0).slice(0, 9)), ["id"], write("2" * 32))
    store.overwrite(LOCATION, source(rows(ROWS)), write())
    described, known = snapshots(store, LOCATION, [1, 2, 3])
    return tiers, described, known


ARCHIVE = ["in clone", "at verify", "before put 1", "after put 1", "after put 2", "before put 3", "after put 3"]
UNARCHIVE = [
    "at copy",
    "before put 1",
    "after put 1",
    "after put 2",
    "after put 3",
    "before put 4",
    "before put 5",
    "after put 5",
]


@pytest.mark.parametrize("when", ARCHIVE)
def test_an_archive_that_was_killed_is_begun_anew(table, snapshots, write, when):
    """The hot table was not touched; the copy is half until its list is there, and the next call makes it whole."""
    tiers, described, known = table
    before = tiers.hot_files()
    die(tiers, known, "archive", when)
    assert tiers.hot_files() == before
    whole = "c/2/_original/files.json" in tiers.cold_files()
    assert whole == (when == "after put 3")
    copy = tiers.store.archive(LOCATION, 2, "c/2", known, write())
    assert copy.num_bytes == sum(len(data) for data in tiers.cold_files().values())
    data = {path for path in tiers.cold_files() if path.startswith("c/2/data/")}
    assert data == {f"c/2/{file.path}" for file in described[2].files if file.path.startswith("data/")}
    tiers.store.remove(LOCATION, [2], write())
    tiers.store.unarchive("c/2", LOCATION, 2, known, write())
    assert snapshots(tiers.store, LOCATION, [1, 2, 3])[0] == described


@pytest.mark.parametrize("when", ["in clone", "at verify", "before put 3"])
def test_half_a_copy_can_be_dropped(table, when):
    """Lance refuses to drop a folder without a manifest; nothing is left."""
    tiers, _, known = table
    die(tiers, known, "archive", when)
    assert tiers.cold_files()
    tiers.store.drop_cold("c/2")
    assert tiers.cold_files() == {}


@pytest.mark.parametrize("when", UNARCHIVE)
def test_a_version_that_was_half_back_comes_back_with_the_next_call(table, snapshots, write, when):
    """It is visible whole or not at all; the others are not touched, and nothing is left over."""
    tiers, described, known = table
    store = tiers.store
    store.archive(LOCATION, 2, "c/2", known, write())
    store.remove(LOCATION, [1, 2], write())
    gone = tiers.hot_files()
    die(tiers, known, "unarchive", when)
    refs = [ref["version"] for ref in lance.dataset(store.absolute(LOCATION)).version_refs()]
    assert refs == ([2, 3] if when == "after put 5" else [3])
    if refs == [2, 3]:
        assert store.snapshot(LOCATION, 2, {}) == described[2]
    assert store.snapshot(LOCATION, 3, {}) == described[3]
    store.unarchive("c/2", LOCATION, 2, known, write())
    assert snapshots(store, LOCATION, [2, 3])[0] == {version: described[version] for version in (2, 3)}
    assert store.writers(LOCATION)[2] == "2" * 32
    assert store.sweep(LOCATION, [2, 3]) == 0
    store.remove(LOCATION, [2], write())
    assert tiers.hot_files() == gone


def test_what_was_half_back_can_be_swept(table, write):
    """When nobody wants the version any more, its files go."""
    tiers, _, known = table
    tiers.store.archive(LOCATION, 2, "c/2", known, write())
    tiers.store.remove(LOCATION, [1, 2], write())
    gone = tiers.hot_files()
    for when in ("after put 2", "at copy"):
        die(tiers, known, "unarchive", when)
    assert len(tiers.hot_files()) > len(gone)
    tiers.store.sweep(LOCATION, [3])
    assert tiers.hot_files() == gone
