"""What happens to the files of a version while it is read, and what does not happen to its reader."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pytest
from tests.storage.alluxio.test_mounts import manager, needs_fuse, place  # noqa: F401 - fixtures
from tests.storage.views.conftest import LOCATION, ROWS, rows

from alluxio_lance.errors import Corrupt, InvalidArgument, Unavailable
from alluxio_lance.storage import LanceStore
from alluxio_lance.storage.local import LocalRoot
from alluxio_lance.storage.patience import Pump, within
from alluxio_lance.storage.views.folder import View
from alluxio_lance.storage.views.opening import open_nearest
from alluxio_lance.storage.views.window import Window
from alluxio_lance.ways import Way

NEAR, FAR = Way.SHORT_CIRCUIT, Way.ENDPOINT
ALL = pa.concat_tables([rows(), rows(ROWS), rows(2 * ROWS)])


def test_wrong_bytes_in_a_block(rig, caplog):
    """Its file is read from the under-store instead, with a line in the log, and is near again next time, pin and all."""
    version = rig.fill(rows(), rows(ROWS), rows(2 * ROWS))
    path = rig.data(1)
    rig.namespace.pin(rig.full(path), pinned=True)
    rig.flip(path)
    table, ways = rig.read(version)
    assert table.equals(ALL)
    assert ways[path].way is FAR
    assert "its bytes on this node hash to" in ways[path].why
    assert [way.way for name, way in ways.items() if name != path] == [NEAR, NEAR]
    assert path in caplog.text
    assert rig.namespace.status(rig.full(path)).pinned
    assert rig.namespace.await_cached(rig.full(path), percent=100, patience=30)
    table, ways = rig.read(version)
    assert table.equals(ALL)
    assert {way.way for way in ways.values()} == {NEAR}


def test_wrong_bytes_everywhere(rig):
    """When the under-store has them wrong, too, the read ends; no wrong row comes out of it."""
    version = rig.fill(rows())
    path = rig.data(0)
    below = Path(rig.namespace.status(rig.full(path)).under_path)
    times = below.stat()
    rig.flip(path)
    below.write_bytes(rig.block(path).read_bytes())
    os.utime(below, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(Corrupt, match="in the cache and below it: roll back"):
        rig.read(version)


def drop_blocks(rig):
    """Lose all block files."""
    for number in range(3):
        rig.block(rig.data(number)).unlink()


def free_all(rig):
    """Have the worker drop all, as after the deprecation of the version."""
    rig.namespace.free(rig.full("data"))
    for number in range(3):
        assert rig.namespace.await_cached(rig.full(rig.data(number)), percent=0, patience=30)


def drop_table(rig):
    """Remove the whole table."""
    rig.store.drop(LOCATION)


@pytest.mark.parametrize("when", ["before the first batch", "after it"])
@pytest.mark.parametrize("event", [drop_blocks, free_all, drop_table])
def test_files_that_go_while_they_are_read(rig, event, when):
    """What was near when the version was opened stays so, whatever becomes of it."""
    version = rig.fill(rows(), rows(ROWS), rows(2 * ROWS))
    with rig.store.open(LOCATION, version, rig.known) as reader:
        stream = reader.batches(reader.schema.names, batch_bytes=1 << 12)
        read = [next(stream)] if when == "after it" else []
        event(rig)
        read += stream
        assert pa.Table.from_batches(read).equals(ALL)
        assert [way.way for way in reader.ways] == [NEAR] * 3


@pytest.mark.parametrize("good", [0, 1, 500])
def test_blocks_that_break_off(rig, good, monkeypatch):
    """The endpoint goes on at the very row, in the middle of a fragment or at the beginning of one.

    The disk that fails is made up: the stream of a view ends with an error after some batches.
    """
    version = rig.fill(rows(), rows(ROWS), rows(2 * ROWS))
    whole = Window.scan

    def broken(self, piece, shape, span):
        yield from islice(whole(self, piece, shape, span), good)
        raise Unavailable("the disk is gone", what="disk")

    monkeypatch.setattr(Window, "scan", broken)
    table, ways = rig.read(version, batch_bytes=1 << 12)
    assert table.equals(ALL)
    assert {way.way for way in ways.values()} == {FAR}
    assert all("its blocks broke off after" in way.why for way in ways.values())


def test_no_room_for_a_view(rig):
    """Without a folder for it, all is read through the endpoint."""
    version = rig.fill(rows())
    rig.node.mkdir()
    (rig.node / "views").write_text("in the way", encoding="utf-8")
    table, ways = rig.read(version)
    assert table.equals(rows())
    assert [(way.way, "no view can be made" in way.why) for way in ways.values()] == [(FAR, True)]


def test_a_stream_outlives_its_reader(rig):
    """Closing a reader lets the streams under way end as they began; one that starts later needs no files, and says so."""
    version = rig.fill(rows(), rows(ROWS), rows(2 * ROWS))
    reader = rig.store.open(LOCATION, version, rig.known)
    early, late = (reader.batches(reader.schema.names, batch_bytes=1 << 12) for _ in range(2))
    first = next(early)
    reader.close()
    reader.close()
    assert pa.Table.from_batches([first, *early]).equals(ALL)
    assert {way.way for way in reader.ways} == {NEAR}
    assert pa.Table.from_batches(late).equals(ALL)
    assert {way.way for way in reader.ways} == {FAR}


def test_two_streams_at_once(rig):
    """Each has a view of its own."""
    version = rig.fill(rows(), rows(ROWS), rows(2 * ROWS))
    with rig.store.open(LOCATION, version, rig.known) as reader:
        streams = [reader.batches(reader.schema.names, batch_bytes=1 << 12) for _ in range(2)]
        pairs = list(zip(*streams, strict=True))
    assert all(pa.Table.from_batches(each).equals(ALL) for each in zip(*pairs, strict=True))


@pytest.fixture
def stopped_proxy(cluster):
    """Stop the proxy, as a process that hangs, until the test is over."""
    pid = cluster.node("proxy").pid
    yield lambda: os.kill(pid, signal.SIGSTOP)
    os.kill(pid, signal.SIGCONT)


def test_a_read_that_hangs(rig, stopped_proxy):
    """Neither opening nor reading waits for ever; and what is near needs no proxy once it is open."""
    version = rig.fill(rows())
    views = rig.node / "views"
    far = open_nearest(rig.place, LOCATION, version, None, views, patience=5)
    near = open_nearest(rig.place, LOCATION, version, rig.known, views, patience=5)
    started = near.batches(["i"])
    first = next(started)
    stopped_proxy()
    assert pa.Table.from_batches([first, *started]).num_rows == ROWS
    with pytest.raises(Unavailable, match="gave nothing for 5 s") as caught:
        list(far.batches(["i"]))
    assert caught.value.details["what"] == "alluxio"
    with pytest.raises(Unavailable, match="gave nothing for 5 s"):
        open_nearest(rig.place, LOCATION, version, None, views, patience=5)
    near.close()
    far.close()


def test_a_pump_passes_errors_on_and_lets_its_thread_end():
    """What the other iterator raises is raised where its items are wanted; a closed one is drawn from no more."""
    drawn = []

    def numbers():
        for number in range(100):
            drawn.append(number)
            yield number
        raise KeyError("the end")

    pump = Pump(10, "numbers", numbers)
    assert next(pump) == 0
    pump.close()
    for thread in threading.enumerate():
        if thread.name == "alluxio-lance-read":
            thread.join(10)
    assert len(drawn) < 10
    assert list(pump) == []
    with pytest.raises(KeyError, match="the end"):
        list(Pump(10, "numbers", numbers))
    assert within(10, "an answer", lambda: 42) == 42


LEAVE = """
import os, sys
from pathlib import Path
from alluxio_lance.storage.views.folder import View
view = View(Path(sys.argv[1]))
view.put("_versions/1.manifest", b"m")
view.link("data/a.lance", 0)
os.kill(os.getpid(), 9)
"""


def test_what_a_killed_process_left_is_cleared(tmp_path):
    """By the next view in the same place, which leaves alone those whose processes live, and what is no view."""
    (tmp_path / "somebody's").mkdir()
    with View(tmp_path) as mine:
        subprocess.run([sys.executable, "-c", LEAVE, str(tmp_path)], check=False, stdin=subprocess.DEVNULL)
        assert len(list(tmp_path.glob("view-*"))) == 2
        with View(tmp_path) as other:
            found = {str(folder) for folder in tmp_path.glob("view-*")}
            assert found == {str(each.root.root) for each in (mine, other)}
    assert [folder.name for folder in tmp_path.iterdir()] == ["somebody's"]


@needs_fuse
def test_no_table_is_written_through_a_mount(manager, place, cluster):  # noqa: F811 - fixtures
    """The error names the address that reaches the same folder."""
    manager.mount(place)
    port = cluster.plan.ports.master
    with pytest.raises(InvalidArgument, match=f"give the store alluxio://localhost:{port}/lake/tables"):
        LanceStore.local(place / "lake" / "tables")
    LocalRoot(place.parent / "beside")
