"""Versions read from the block files of a real worker on this node, as far as they are there."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import threading
from dataclasses import replace
from pathlib import Path

import lance
import pyarrow as pa
import pytest
from tests.storage.views.conftest import LOCATION, ROWS, WRITE, rows

from alluxio_lance.errors import Unavailable
from alluxio_lance.files.blocks import LocalBlocks, NotHere
from alluxio_lance.files.namespace import Namespace
from alluxio_lance.incoming import Source
from alluxio_lance.storage import LanceStore
from alluxio_lance.storage.opening import open_version
from alluxio_lance.storage.views import joining, opening
from alluxio_lance.storage.views.table import Manifest
from alluxio_lance.ways import FileWay, Way

NEAR, JOINED, FAR = Way.SHORT_CIRCUIT, Way.JOINED, Way.ENDPOINT


def descriptors():
    """Count the files that this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def views(rig):
    """List what lies in the folder of views."""
    return list((rig.node / "views").glob("*"))


def test_all_files_near(rig):
    """Same rows as through the endpoint; afterwards nothing is open and nothing is left."""
    version = rig.fill(rows(), rows(ROWS))
    open_before = descriptors()
    near, ways = rig.read(version)
    assert [way.way for way in ways.values()] == [NEAR, NEAR]
    assert all("of this node's worker" in way.why and way.cached_percent == 100 for way in ways.values())
    assert near.equals(pa.concat_tables([rows(), rows(ROWS)]))
    far, ways = rig.read(version, known=None)
    assert {way.way for way in ways.values()} == {FAR}
    assert far.equals(near)
    assert views(rig) == []
    assert descriptors() <= open_before + 2  # connections of HTTP clients


def test_a_version_that_is_all_near_is_opened_by_its_manifest(rig, monkeypatch):
    """Lance asks the endpoint nothing for it: not before rows are filtered, or a file is not near any more."""
    version = rig.fill(rows(), rows(ROWS))
    opened = []
    monkeypatch.setattr(opening, "open_version", lambda *each: (opened.append(each), open_version(*each))[1])
    with rig.store.open(LOCATION, version, rig.known) as reader:
        assert pa.Table.from_batches(reader.batches(["i", "v", "s"])).equals(pa.concat_tables([rows(), rows(ROWS)]))
        assert opened == []
        found = [row for part in reader.matching("i = 4000") for row in part.tolist()]
        assert (found, len(opened)) == ([4000], 1)
    with rig.store.open(LOCATION, version, rig.known) as reader:
        rig.flip(rig.data(0))
        assert pa.Table.from_batches(reader.batches(["i"]))["i"].to_pylist() == list(range(2 * ROWS))
        assert len(opened) == 2


def test_files_are_looked_for_while_the_manifest_comes(rig, monkeypatch):
    """Their folder is listed before anybody knows which of them the version has; others when they are asked for."""
    rig.fill(rows())
    listed, real = [], Namespace.list
    began = threading.Event()

    def list_(namespace, folder, **options):
        listed.append(folder.rpartition("/")[2])
        began.set()
        return real(namespace, folder, **options)

    monkeypatch.setattr(Namespace, "list", list_)
    look = rig.place.look(LOCATION, "data")
    assert began.wait(60)
    found = look([rig.data(0), "_deletions/none.arrow"])
    assert listed == ["data", "_deletions"]
    assert [near.way for near in found.values()] == [NEAR, FAR]
    for descriptor in found[rig.data(0)].blocks:
        os.close(descriptor)


@pytest.mark.parametrize("fault", ["no manifest", "no folder", "another version"])
def test_a_version_that_its_manifest_does_not_open(rig, fault, monkeypatch):
    """It is opened through the endpoint, and read."""
    version = rig.fill(rows())
    if fault == "no manifest":

        def read(*_):
            raise Unavailable("the endpoint is busy", what="alluxio")

        monkeypatch.setattr(Manifest, "read", read)
    elif fault == "no folder":
        (rig.node / "views").parent.mkdir(parents=True, exist_ok=True)
        (rig.node / "views").write_bytes(b"")
    else:
        rig.store.append(LOCATION, rig.source(rows(ROWS)), WRITE)
        read = Manifest.read
        monkeypatch.setattr(Manifest, "read", lambda place, line, number: read(place, line, number + 1))
    found, ways = rig.read(version)
    assert found.equals(rows())
    assert {way.way for way in ways.values()} == {FAR}


@pytest.mark.parametrize("columns", [["i"], ["s", "i"], ["v"]])
def test_columns_and_batches_as_from_the_endpoint(rig, columns):
    """Columns in the order asked for, and batches cut in the same places."""
    version = rig.fill(rows(), rows(ROWS))
    read = {}
    for known in (rig.known, None):
        with rig.store.open(LOCATION, version, known) as reader:
            read[known is None] = list(reader.batches(columns, batch_bytes=1 << 14))
    assert [batch.num_rows for batch in read[False]] == [batch.num_rows for batch in read[True]]
    assert pa.Table.from_batches(read[False]).equals(pa.Table.from_batches(read[True]))


def remove_block(rig, path):
    """Lose a block behind the worker's back."""
    rig.block(path).unlink()
    return "block 1 of 1 is not cached on this node"


def free(rig, path):
    """Have the worker drop it."""
    rig.namespace.free(rig.full(path))
    assert rig.namespace.await_cached(rig.full(path), percent=0, patience=30)
    return "block 1 of 1 is not cached on this node"


def cut_block(rig, path):
    """Cut a block short: the worker cannot serve it any more."""
    size = rig.known[path].size
    os.truncate(rig.block(path), 100)
    return f"block 1 of 1 has 100 bytes on this node, not {size}"


def forget_hash(rig, path):
    """Have a catalog that does not know the file."""
    del rig.known[path]
    return "the catalog knows no hash to check it by"


def lose_one_of_many(rig, path):
    """Lose a block of several."""
    rig.cut_into_blocks(path, 1 << 20)
    rig.block(path, 1).unlink()
    return "block 2 of 2 is not cached on this node"


@pytest.mark.parametrize(
    ("fault", "number"), [(remove_block, 0), (free, 2), (cut_block, 1), (forget_hash, 1), (lose_one_of_many, 0)]
)
def test_some_files_near(rig, fault, number):
    """A file that is not near, or not whole, goes by the endpoint, the others do not; rows stay in order."""
    version = rig.fill(rows(), rows(ROWS), rows(2 * ROWS))
    path = rig.data(number)
    why = fault(rig, path)
    explained = rig.explained(version)
    table, ways = rig.read(version)
    assert table.equals(pa.concat_tables([rows(), rows(ROWS), rows(2 * ROWS)]))
    assert (ways[path].way, ways[path].why) == (FAR, why)
    assert [way.way for name, way in ways.items() if name != path] == [NEAR, NEAR]
    assert ways == explained


def _without_free(ways: dict[str, FileWay]) -> dict[str, FileWay]:
    return {path: replace(way, why=re.sub(r"\d+ MiB free", "free", way.why)) for path, way in ways.items()}


def test_joined_blocks(rig, monkeypatch):
    """A file of several blocks is joined when the disk has room, and goes by the endpoint when not."""
    version = rig.fill(rows(), rows(ROWS))
    path = rig.data(0)
    rig.cut_into_blocks(path, 1 << 20)
    table, ways = rig.read(version)
    assert (ways[path].way, ways[rig.data(1)].way) == (JOINED, NEAR)
    assert ways[path].why.startswith("its 2 blocks lie in ")
    assert ways == rig.explained(version)
    monkeypatch.setattr(joining, "_SPARE", 1 << 60)
    again, ways = rig.read(version)
    assert ways[path].way is FAR
    assert "to join its blocks takes" in ways[path].why
    # What is free on the disk changes from one moment to the next.
    assert _without_free(ways) == _without_free(rig.explained(version))
    assert table.equals(again)
    assert table.equals(pa.concat_tables([rows(), rows(ROWS)]))


def test_without_a_worker_here_all_goes_by_the_endpoint(rig, alluxio, tmp_path):
    """The reason names the port that was asked."""
    version = rig.fill(rows())
    far = LanceStore.at(f"{alluxio.partition('&worker=')[0]}&worker=1", tmp_path / "data")
    with far.open(LOCATION, version, rig.known) as reader:
        assert sum(batch.num_rows for batch in reader.batches(["i"])) == ROWS
        assert [(way.way, way.why) for way in reader.ways] == [
            (FAR, "no worker of Alluxio answers on this node, at port 1")
        ]


def test_no_more_files_are_opened_than_the_process_may(rig):
    """Half of what is left stays for everything else in the process."""
    # Twice as many as that, since connections that are kept may end meanwhile.
    version = rig.fill(*(rows(number * 10, 10) for number in range(12)))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors() + 12, hard))
    try:
        ways = rig.explained(version).values()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert {NEAR, FAR} == {way.way for way in ways}
    assert {way.why for way in ways if way.way is FAR} == {
        "this process may not open more files: raise the limit (`ulimit -n`)"
    }


def test_deleted_rows(rig):
    """The files that tell which rows are deleted are files of the version: near, and checked."""
    rig.fill(rows(), rows(ROWS))
    lance.dataset(
        rig.store.absolute(LOCATION), storage_options=dict(rig.store.storage_options(LOCATION)), commit_lock=_unlocked
    ).delete("i % 3 = 0")
    version = rig.learn(3)
    table, ways = rig.read(version)
    assert sorted(name.partition("/")[0] for name in ways) == ["_deletions"] * 2 + ["data"] * 2
    assert {way.way for way in ways.values()} == {NEAR}
    assert table["i"].to_pylist() == [number for number in range(2 * ROWS) if number % 3]
    gone = min(ways)
    rig.block(gone).unlink()
    table, ways = rig.read(version)
    assert table["i"].to_pylist() == [number for number in range(2 * ROWS) if number % 3]
    assert sorted(way.way for way in ways.values()) == [FAR, FAR, NEAR, NEAR]
    assert [way.why for name, way in ways.items() if way.way is FAR and name != gone] == [
        f"it is read together with {gone}: block 1 of 1 is not cached on this node"
    ]


@contextlib.contextmanager
def _unlocked(_):
    """Nobody else writes."""
    yield


def test_blobs(rig):
    """The side files in which Lance keeps large values are near too."""
    values = [b"a" * 10, b"b" * (1 << 20), b"c" * (1 << 18)]
    table = pa.Table.from_arrays([lance.blob_array(values)], schema=pa.schema([lance.blob_field("b")]))
    options = dict(rig.store.storage_options(LOCATION))
    lance.write_dataset(
        table,
        rig.store.absolute(LOCATION),
        data_storage_version="2.2",
        storage_options=options,
        commit_lock=_unlocked,
    )
    version = rig.learn(1)
    back, ways = rig.read(version)
    assert back["b"].to_pylist() == values
    assert len(ways) > 1
    assert {way.way for way in ways.values()} == {NEAR}


def test_a_branch(rig):
    """Fragments of its own are near; those of the main line are read through the endpoint, and say so."""
    base = rig.fill(rows())
    rig.store.branch(LOCATION, "exp", base, WRITE)
    own = rig.store.branch_location(LOCATION, "exp")
    version = rig.learn(rig.store.append(own, rig.source(rows(ROWS)), WRITE), own)
    table, ways = rig.read(version, location=own)
    assert table.equals(pa.concat_tables([rows(), rows(ROWS)]))
    assert {name.startswith("tree/exp/"): (way.way, "main line" in way.why) for name, way in ways.items()} == {
        True: (NEAR, False),
        False: (FAR, True),
    }
    assert ways == rig.explained(version, own)


def test_a_local_root_has_one_way(tmp_path, monkeypatch):
    """Also when the catalog is not asked; there is no cache between. A version is opened once to be read and to tell its ways."""
    store = LanceStore.local(tmp_path / "data")
    table = rows()
    reader = pa.RecordBatchReader.from_batches(table.schema, table.to_batches())
    store.create(LOCATION, Source(reader=reader, description="rows"), WRITE)
    known = {file.path: file for file in store.snapshot(LOCATION, 1, {}).files}
    explained = store.explain(LOCATION, 1, known)
    assert explained.share is None
    opens = []
    monkeypatch.setattr(opening, "open_version", lambda *which: opens.append(which) or open_version(*which))
    for given in (known, None):
        with store.open(LOCATION, 1, given) as opened:
            assert tuple(opened.ways) == explained.files
    assert len(opens) == 2
    (only,) = explained.files
    assert (only.way, only.cached_percent, only.bytes) == (Way.LOCAL, None, known[only.path].size)


def test_an_explanation_tells_of_the_cache(rig):
    """Percentages by file, and the share of the whole version."""
    version = rig.fill(rows(), rows(ROWS))
    path = rig.data(1)
    free(rig, path)
    found = rig.store.explain(LOCATION, version, rig.known)
    assert {way.path: way.cached_percent for way in found.files} == {rig.data(0): 100, path: 0}
    assert found.share is not None
    assert found.share == rig.store.share(LOCATION, version)
    assert found.share.bytes - found.share.cached_bytes == rig.known[path].size


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"master": 1}, r"belongs to the master localhost:\d+, not to localhost:1$"),
        ({"host": "192.0.2.1"}, r"belongs to the master localhost:\d+, not to 192.0.2.1:\d+$"),
        ({"worker": 1}, r"no worker of Alluxio answers on this node, at port 1$"),
    ],
)
def test_workers_that_are_not_ours(rig, change, why):
    """One of another cluster, whose blocks have the same ids, or none."""
    with pytest.raises(NotHere, match=why):
        LocalBlocks.find(replace(rig.place.where, **change))


def test_folders_of_the_worker_that_this_user_cannot_enter(rig):
    """The reason says so."""
    mode = rig.tier.stat().st_mode
    rig.tier.chmod(0)
    user = os.geteuid()
    # Nothing is closed to root: become somebody else for a moment.
    os.seteuid(65534 if user == 0 else user)
    try:
        with pytest.raises(NotHere, match="cannot be entered by this user"):
            LocalBlocks.find(rig.place.where)
    finally:
        os.seteuid(user)
        rig.tier.chmod(mode)
