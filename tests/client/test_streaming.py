"""Versions larger than the node's budget, read window by window: by real processes through a real sidecar."""

from __future__ import annotations

import copy
import json
import os
import pickle
import random
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from tests.client.streamer import windows

from alluxio_lance.client.cache import RemoteCache
from alluxio_lance.client.statistics import CacheStatistics
from alluxio_lance.client.streamed import StreamedVersion
from alluxio_lance.client.table import Table
from alluxio_lance.errors import (
    AlluxioLanceError,
    InvalidArgument,
    Leased,
    NoSpace,
    NotFound,
    Unavailable,
)
from alluxio_lance.layout import ColumnKind

WIDTH = 12288
UNIT_ROWS = 512
ROWS = 18 * UNIT_ROWS + 100
BUDGET = ROWS * WIDTH // 4
"""A quarter of the version."""
WAIT = 30.0
"""Seconds after which a test that waits for an event has failed."""


def data(rows: int = ROWS, start: int = 0) -> pa.Table:
    """Make rows that tell who they are, with nulls and texts of any length."""
    ids = np.arange(start, start + rows)
    image = np.repeat((ids % 251).astype(np.uint8), WIDTH)
    return pa.table(
        {
            "image": pa.FixedSizeListArray.from_arrays(pa.array(image), WIDTH),
            "id": ids,
            "text": pa.array([f"row {n} " * (n % 3) for n in ids.tolist()], mask=ids % 5 == 0),
            "place": pa.array([{"at": n} for n in ids.tolist()]),
        }
    )


@pytest.fixture(scope="module")
def streaming():
    """A sidecar whose budget is a quarter of its one version, and the URI of that."""
    from tests.conftest import _running

    with _running("--memory-budget", str(BUDGET)) as node:
        yield node, node.register("large", data()).uri


@pytest.fixture
def stream(streaming):
    """The version, open."""
    node, uri = streaming
    with StreamedVersion.open(uri, address=node.at) as stream:
        yield stream


def statistics(node) -> CacheStatistics:
    """Ask a node what is hot and who reads it."""
    with RemoteCache.connect(node.address) as cache:
        return cache.statistics()


def eventually(holds: Callable[[], bool]) -> None:
    """Wait for what the sidecar does in the background, looking again and again."""
    end = time.monotonic() + WAIT
    while not holds():
        assert time.monotonic() < end, "it did not come about"


def connections(node) -> int:
    """Count the connections to a node's door."""
    path = str(node.address.door)
    return sum(path in line for line in Path("/proc/net/unix").read_text().splitlines()) - 1


def reader(node, uri: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a process that reads."""
    script = Path(__file__).with_name("streamer.py")
    command = [sys.executable, "-W", "error", str(script), node.at, uri, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=environment
    )


# -- reading -----------------------------------------------------------------------------------------------------------


def test_every_row_comes_exactly_once(stream):
    """In random windows, with fixed, ragged, null and nested columns; the seed is printed."""
    seed = random.randrange(1 << 32)
    print("seed", seed)  # noqa: T201 - shown when it fails
    expected = data()
    assert (stream.rows, stream.unit_rows, stream.units, stream.window_units) == (ROWS, UNIT_ROWS, 19, 2)
    assert stream.schema.equals(expected.schema)
    assert [column.kind for column in stream.layout.columns] == [
        ColumnKind.FIXED,
        ColumnKind.FIXED,
        ColumnKind.VARIABLE,
        ColumnKind.ARROW,
    ]
    seen: list[int] = []
    for units in windows(stream, random.Random(seed)):
        with stream.window(units) as table:
            ids = table.columns["id"].array
            assert table.rows == len(ids)
            seen += ids.tolist()
            places = np.random.default_rng(seed).permutation(table.rows)[:50]
            rows = expected.take(ids[places])
            assert (table.columns["image"].take(places)[:, 100] == ids[places] % 251).all()
            assert table.columns["text"].take(places).rows() == rows["text"].to_pylist()
            assert table.columns["place"].take(places) == rows["place"].to_pylist()
    assert sorted(seen) == list(range(ROWS))


def test_some_columns(streaming):
    """In the order asked for; fewer columns make larger windows."""
    node, uri = streaming
    with StreamedVersion.open(uri, ["id", "text"], address=node.at) as stream:
        assert stream.units == 19
        assert stream.window_units > 2
        with stream.window([3, 1]) as table:
            assert list(table.columns) == ["id", "text"]
            assert table.columns["id"].array[[0, UNIT_ROWS]].tolist() == [3 * UNIT_ROWS, UNIT_ROWS]
    with pytest.raises(NotFound, match="no column 'nothing'"):
        StreamedVersion.open(uri, ["nothing"], address=node.at)


def test_rows_that_were_deleted_do_not_count(streaming):
    """After an upsert, which deletes rows from the old fragments, every row comes once in its new form."""
    node, _ = streaming
    node.register("a", data(6 * UNIT_ROWS))
    changed = data(2 * UNIT_ROWS, UNIT_ROWS // 2)
    changed = changed.set_column(2, "text", pa.array(["new"] * len(changed)))
    uri = node.update("a", changed, mode="upsert", on="id").uri
    with StreamedVersion.open(uri, address=node.at) as stream:
        seen = {}
        for units in windows(stream, random.Random(1)):
            with stream.window(units) as table:
                everything = np.arange(table.rows)
                texts = table.columns["text"].take(everything).rows()
                seen |= dict(zip(table.columns["id"].array.tolist(), texts, strict=True))
    old = data(6 * UNIT_ROWS)["text"].to_pylist()
    news = range(UNIT_ROWS // 2, UNIT_ROWS // 2 + 2 * UNIT_ROWS)
    assert seen == {n: "new" if n in news else old[n] for n in range(6 * UNIT_ROWS)}


def test_several_processes_in_a_quarter_of_the_version(streaming):
    """Each reads all in an order of its own; the seed is printed."""
    node, uri = streaming
    seed = random.randrange(1 << 16)
    print("seed", seed)  # noqa: T201 - shown when it fails
    readers = [reader(node, uri, seed + number) for number in range(3)]
    for one in readers:
        output, _ = one.communicate(timeout=250)
        assert one.returncode == 0
        assert sorted(json.loads(output)) == list(range(ROWS))
    found = statistics(node)
    assert found.used_bytes <= BUDGET
    assert found.leases == ()


def test_threads_share_one(stream):
    """One reads while others wait for their windows or ask ahead."""
    with ThreadPoolExecutor(4) as threads:

        def read(unit: int) -> list[int]:
            stream.ahead([(unit + 4) % 18])
            with stream.window([unit]) as table:
                return table.columns["id"].array.tolist()

        seen = [row for rows in threads.map(read, range(18)) for row in rows]
    assert sorted(seen) == list(range(18 * UNIT_ROWS))


def test_arrays_outlive_their_window(stream):
    """Their memory is that of the mapping; the closed table says what to do."""
    table = stream.window([0])
    ids, part = table.columns["id"].array, table.columns["image"].view(3, 5)
    table.close()
    table.close()
    with pytest.raises(Unavailable, match="was closed"):
        table.columns  # noqa: B018 - the property raises
    with stream.window([5, 6]), stream.window([7, 8]):
        pass
    assert ids.tolist() == list(range(UNIT_ROWS))
    assert part[:, 0].tolist() == [3, 4]


# -- copies ------------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:lance is not fork-safe")
def test_a_forked_copy_reads_on_its_own(stream):
    """Parent and child ask for windows at the same time, and neither takes the other's replies."""
    with stream.window([2]) as held:
        receiving, sending = os.pipe()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                inherited = held.columns["id"].array[:2].tolist()
                rows = []
                for unit in range(6):
                    with stream.window([unit]) as table:
                        rows.append(int(table.columns["id"].array[0]))
                held.close()
                os.write(sending, json.dumps([inherited, rows]).encode())
                status = 0
            finally:
                os._exit(status)
        os.close(sending)
        rows = []
        for unit in range(6):
            with stream.window([unit]) as table:
                rows.append(int(table.columns["id"].array[0]))
        with os.fdopen(receiving) as pipe:
            told = json.loads(pipe.read())
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert told == [[2 * UNIT_ROWS, 2 * UNIT_ROWS + 1], rows] == [told[0], [n * UNIT_ROWS for n in range(6)]]
        assert held.columns["id"].array[0] == 2 * UNIT_ROWS


def test_pickled_copies(streaming, stream):
    """Of the version and of a window: they hold what they have when the first one is closed."""
    node, _ = streaming
    with stream.window([4, 18]) as table:
        other, rows = pickle.loads(pickle.dumps((stream, table)))
        ids = table.columns["id"].array.tolist()
    stream.close()
    assert rows.columns["id"].array.tolist() == ids == [*range(2048, 2560), *range(ROWS - 100, ROWS)]
    with other.window([1]) as again, copy.deepcopy(again) as copied:
        assert copied.columns["id"].array[0] == again.columns["id"].array[0] == UNIT_ROWS
    rows.close()
    assert len(statistics(node).leases) == 1
    other.close()
    assert statistics(node).leases == ()


# -- ends --------------------------------------------------------------------------------------------------------------


def test_a_killed_reader_frees_its_windows(streaming):
    """The kernel ends its connection; what it held can be evicted."""
    node, uri = streaming
    with reader(node, uri, 0, 3) as one:
        assert json.loads(one.stdout.readline()) == "held"
        found = statistics(node)
        assert [version.leases for version in found.versions] == [1]
        with RemoteCache.connect(node.address) as cache:
            cache.evict(uri)
            with pytest.raises(Leased, match=f"process {one.pid} of"):
                cache.evict(uri)
        one.kill()
        one.wait(WAIT)
    found = statistics(node)
    assert found.leases == ()
    assert [version.leases for version in found.versions] == [0]
    with RemoteCache.connect(node.address) as cache:
        assert cache.evict(uri) > 0
    assert statistics(node).used_bytes == 0


def test_a_reader_that_is_killed_while_it_waits(streaming, stream):
    """It waits for room that this process holds; its lease ends all the same, and nothing is loaded for it."""
    node, uri = streaming
    with stream.window([0, 1]), reader(node, uri, 0, 3) as one:
        eventually(
            lambda: [lease for lease in statistics(node).leases if lease.pid == one.pid and lease.connections == 2]
        )
        one.kill()
        one.wait(WAIT)
        eventually(lambda: [lease.pid for lease in statistics(node).leases] == [os.getpid()])


def test_the_sidecar_dies(make_node):
    """Whoever waits for a window is told at once; what is mapped stays readable, and travels on, without the sidecar."""
    node = make_node("--memory-budget", "16MiB")
    uri = node.register("few", data(UNIT_ROWS * 6)).uri
    with StreamedVersion.open(uri, address=node.at) as stream, stream.window([0, 1]) as held:
        pickled, version = pickle.dumps(held), pickle.dumps(stream)
        with ThreadPoolExecutor(1) as thread:
            # It waits for room that this process holds.
            waiting = thread.submit(stream.window, [2, 3])
            eventually(lambda: connections(node) > 2)
            node.kill()
            with pytest.raises(Unavailable, match="has gone"):
                waiting.result(WAIT)
        for call in (lambda: stream.window([0]), lambda: stream.ahead([0]), lambda: pickle.loads(version)):
            with pytest.raises(Unavailable):
                call()
        assert held.columns["id"].array[5] == 5
        with pickle.loads(pickled) as copied:
            assert not copied.lease.attached
            assert copied.columns["id"].array.tolist() == list(range(2 * UNIT_ROWS))


def test_ahead_loads_and_ends_with_its_reader(streaming, stream):
    """What was asked for is hot soon; after the reader has ended nothing is kept for it."""
    node, uri = streaming
    with RemoteCache.connect(node.address) as cache:
        cache.evict(uri)
        stream.ahead([3, 7])
        eventually(lambda: [version.rows for version in cache.statistics().versions] == [2 * UNIT_ROWS])
        assert cache.statistics().versions[0].leases == 0
    other = StreamedVersion.open(uri, address=node.at)
    other.ahead([10])
    stream.close()
    with other.window([10]) as table:
        assert table.columns["id"].array[0] == 10 * UNIT_ROWS
    other.close()


def test_the_lease_keeps_the_version(streaming):
    """Nobody archives or deletes it away; after a forced end there are no further windows."""
    node, _ = streaming
    uri = node.register("kept", data(4 * UNIT_ROWS), version="1.0.0").uri
    with StreamedVersion.open("alluxio://datasets/kept@1.0.0", address=node.at) as stream:
        with pytest.raises(Leased):
            node.call(lambda manager: manager.delete_resource("datasets", "kept"))
        with stream.window([0]) as table:
            assert table.rows == UNIT_ROWS
        node.call(lambda manager: manager.delete_resource("datasets", "kept", force=True))
        with pytest.raises(NotFound):
            stream.window([3])
    with pytest.raises(NotFound):
        StreamedVersion.open(uri, address=node.at)


# -- what is refused ---------------------------------------------------------------------------------------------------


def test_the_way_out_of_no_space(streaming):
    """Who opens the version as a whole is told how it can be read."""
    node, uri = streaming
    with pytest.raises(
        NoSpace, match=r"read it window by window: alluxio\.torch\.IterableDataset, alluxio\.tf\.Dataset"
    ):
        Table.open(uri, address=node.at)


def test_a_window_that_is_too_large(stream):
    """The sentence says how large it is, what the budget is, and how many units fit."""
    with pytest.raises(NoSpace, match=r"6 units of datasets/large@v1 take .* MiB .* ask for at most 4 units at once"):
        stream.window(range(6))
    with stream.window([0]) as table:
        assert table.rows == UNIT_ROWS


@pytest.mark.parametrize(
    ("units", "error", "sentence"),
    [
        ([], InvalidArgument, "at least one unit"),
        ([19], IndexError, "unit 19 is out of range for 19 units"),
        ([-1], IndexError, "unit -1 is out of range"),
        ([1, 2, 1], InvalidArgument, "a unit comes twice"),
        ([18, 0], InvalidArgument, "unit 18 .* has fewer rows"),
        ([0.5], InvalidArgument, "by a sequence of integers"),
    ],
)
def test_what_is_no_window(stream, units, error, sentence):
    """It is said before anything is asked of the sidecar; what is asked ahead may come in any order."""
    with pytest.raises(error, match=sentence):
        stream.window(units)
    if "fewer" in sentence:
        stream.ahead(units)
        return
    with pytest.raises(error, match=sentence):
        stream.ahead(units)


def test_a_closed_one(streaming):
    """It says so; windows of it stay."""
    node, uri = streaming
    stream = StreamedVersion.open(uri, address=node.at)
    table = stream.window([1])
    stream.close()
    stream.close()
    for call in (lambda: stream.window([0]), lambda: stream.ahead([0])):
        with pytest.raises(Unavailable, match="the version was closed - open it again"):
            call()
    assert table.columns["id"].array[0] == UNIT_ROWS
    assert len(statistics(node).leases) == 1
    table.close()
    assert statistics(node).leases == ()


def test_a_forgotten_one_is_warned_of(streaming):
    """As a forgotten lease is; a window, too."""
    node, uri = streaming
    stream = StreamedVersion.open(uri, address=node.at)
    with pytest.warns(ResourceWarning, match="a window of .* was not closed"):
        stream.window([0])
    with pytest.warns(ResourceWarning, match="the stream of .* was not closed"):
        del stream
    assert statistics(node).leases == ()


def test_a_lease_on_the_whole_has_no_windows(streaming):
    """And unknown windows are not released."""
    node, _ = streaming
    uri = node.register("few", data(10)).uri
    with Table.open(uri, address=node.at) as table:
        door = table.lease._door
        for call in (lambda: door.window(table.lease.token, [0]), lambda: door.ahead(table.lease.token, [0])):
            with pytest.raises(InvalidArgument, match="was opened as a whole and has no windows"):
                call()
        with pytest.raises(NotFound, match="holds no window"):
            door.release("0" * 16)
        with pytest.raises(NotFound, match="holds no lease"):
            door.window("0" * 32, [0])
        with pytest.raises(AlluxioLanceError):
            door.window(table.lease.token, ["a"])
