"""Rows by number of a version that is larger than the node's budget: by a real sidecar, in windows that come and go."""

from __future__ import annotations

import json
import os
import pickle
import signal
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tests.client.test_streaming import UNIT_ROWS, WIDTH, data, eventually, statistics
from tests.conftest import Node, _running

from alluxio_lance.client.ondemand import OnDemand
from alluxio_lance.client.streamed import StreamedVersion
from alluxio_lance.client.table import Table
from alluxio_lance.errors import NoSpace, NotFound, Unavailable

ROWS = 7 * UNIT_ROWS + 100
"""Eight units, of which the last one is short."""
BUDGET = 5 * UNIT_ROWS * (WIDTH + 100)
"""So large that windows have two units."""

pytestmark = [
    # The watchdog: a wait for memory that nobody frees fails the test.
    pytest.mark.timeout(120),
    # Other rooms' tests load Lance into this process; nothing here forks one that uses it.
    pytest.mark.filterwarnings("ignore:lance is not fork-safe"),
]


@pytest.fixture(scope="module")
def streaming() -> Iterator[tuple[Node, str]]:
    """A sidecar whose budget is smaller than its one version, and the URI of that."""
    with _running("--memory-budget", str(BUDGET), "--disk-budget", "0") as node:
        yield node, node.register("large", data(ROWS)).uri


@pytest.fixture
def opened(streaming: tuple[Node, str]) -> Iterator[OnDemand]:
    """The version, open; nothing of it is held at the end."""
    node, uri = streaming
    found = OnDemand.open(uri, address=node.at)
    yield found
    found.close()
    eventually(lambda: statistics(node).leases == ())
    eventually(lambda: not any(version.leases for version in statistics(node).versions))


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Note the windows that are asked for."""
    asked: list[tuple[int, ...]] = []
    window = StreamedVersion.window

    def noting(self: StreamedVersion, units: Any, **options: Any) -> Table:
        asked.append(tuple(units))
        return window(self, units, **options)

    monkeypatch.setattr(StreamedVersion, "window", noting)
    return asked


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing go for the time that passes: on a busy machine a second may pass between two lines of a test."""
    monkeypatch.setattr("alluxio_lance.client.ondemand_held._PATIENCE", 1000.0)


def read(opened: OnDemand, rows: Any, **options: Any) -> tuple[list[int], int]:
    """Read numbers and texts of rows; each must be the one that was asked for. Returns also in how many parts."""
    wanted = np.asarray(rows, np.int64)
    found = np.full(len(wanted), -1, np.int64)
    texts: list[Any] = [""] * len(wanted)
    parts = 0

    def take(table: Table, local: npt.NDArray[np.int64], places: npt.NDArray[np.int64]) -> None:
        nonlocal parts
        parts += 1
        assert (found[places] == -1).all(), "no row comes twice"
        found[places] = table.columns["id"].take(local)
        assert (table.columns["image"].take(local)[:, 9] == found[places] % 251).all()
        for place, text in zip(places.tolist(), table.columns["text"].take(local).rows(), strict=True):
            texts[place] = text

    opened.read(wanted, take, **options)
    assert texts == data(ROWS)["text"].take(wanted).to_pylist()
    return found.tolist(), parts


def test_rows_come_as_they_were_asked_for(opened):
    """At random, twice, none at all, in order, and more than fit at once; nothing stays behind."""
    assert (opened.version.units, opened.version.window_units) == (8, 2)
    chance = np.random.default_rng(3)
    for rows in (
        chance.integers(0, ROWS, 60),
        [5, 5, 5],
        [],
        range(UNIT_ROWS - 10, UNIT_ROWS + 10),
        range(ROWS - 1, -1, -7),
    ):
        assert read(opened, rows)[0] == list(rows)
    assert opened.statistics().gathers > 0


@pytest.mark.usefixtures("patient")
def test_as_few_windows_as_fit(opened, windows):
    """What is held is not asked for again, what fits into one window comes in one part, and what does not in several."""
    assert read(opened, [0, 700])[1] == 1
    assert read(opened, [5, 600, 1000])[1] == 1
    assert windows == [(0, 1)]
    # In one window with what is held already: two neighbours.
    assert read(opened, [1000, 1100])[1] == 1
    assert windows == [(0, 1), (1, 2)]
    assert read(opened, range(0, ROWS, 100))[1] == 4
    # First what is held.
    assert windows[2:] == [(0, 3), (4, 5), (6, 7)]


@pytest.mark.usefixtures("patient")
def test_neighbours_are_asked_for_ahead(opened, monkeypatch):
    """Who goes on where the window before ended has the next units loaded meanwhile, and at the end no more."""
    asked: list[list[int]] = []
    monkeypatch.setattr(StreamedVersion, "ahead", lambda _, units: asked.append(list(units)))
    for start in range(0, ROWS, 256):
        rows = range(start, min(start + 256, ROWS))
        assert read(opened, rows)[0] == list(rows)
    assert asked == [[1], [2], [3], [4], [5], [6], [7]]
    asked.clear()
    read(opened, [0])
    read(opened, [5 * UNIT_ROWS])
    assert asked == []


@pytest.mark.usefixtures("patient")
def test_what_was_read_last_is_kept_beside(opened, windows):
    """Who reads in two places in turn has both; together, readers keep no more than one window."""
    for _ in range(3):
        read(opened, [3])
        read(opened, [4 * UNIT_ROWS])
    assert windows == [(0,), (0, 4)]
    windows.clear()
    read(opened, [7], readers=2)
    read(opened, [4 * UNIT_ROWS], readers=2)
    read(opened, [7], readers=2)
    assert windows == [(4,), (0,)]


@pytest.mark.usefixtures("patient")
def test_readers_leave_room_for_each_other(streaming, opened):
    """What they keep together is no more than a window: of two each a unit, of three none."""
    node, _ = streaming
    read(opened, [0, 700], readers=2)
    assert opened._held().table is None
    read(opened, [0], readers=2)
    assert opened._held().table is not None
    assert [version.leases for version in statistics(node).versions] == [1]
    read(opened, [0], readers=3)
    assert opened._held().table is None


def test_nobody_waits_while_it_holds(opened, streaming, monkeypatch):
    """Neither one of its own nor one of another dataset of the process."""
    node, uri = streaming
    other = OnDemand.open(uri, address=node.at)
    window = StreamedVersion.window

    def empty_handed(self: StreamedVersion, units: Any) -> Table:
        assert opened._held().table is None
        assert other._held().table is None
        return window(self, units)

    monkeypatch.setattr(StreamedVersion, "window", empty_handed)
    for row in (0, 1000, 2000):
        assert read(opened, [row, row + UNIT_ROWS])[0] == [row, row + UNIT_ROWS]
        assert read(other, [row])[0] == [row]
    other.close()


def test_a_window_that_nobody_reads_is_let_go(streaming, opened):
    """After a second, without being asked, so that others get the room; the next read takes it again."""
    node, _ = streaming
    read(opened, [0])
    eventually(lambda: opened._held().table is None)
    eventually(lambda: [version.leases for version in statistics(node).versions] == [0])
    assert read(opened, [1])[0] == [1]


def test_threads_take_turns(opened):
    """Each gets its rows, whoever has the window meanwhile."""
    failed: list[BaseException] = []

    def reading(seed: int) -> None:
        chance = np.random.default_rng(seed)
        try:
            for _ in range(5):
                rows = chance.integers(0, ROWS, 3).tolist()
                assert read(opened, rows)[0] == rows
        except BaseException as error:  # noqa: BLE001 - the test shows it
            failed.append(error)

    threads = [threading.Thread(target=reading, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_a_forked_copy_has_a_window_of_its_own(opened):
    """Also one that was forked while another thread had its turn; the parent's window stays as it is."""
    read(opened, [3])
    held = opened._held()
    receiving, sending = os.pipe()
    with held.turn:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                before = opened.statistics().gathers
                told = [before, *read(opened, [6 * UNIT_ROWS, 3])[0]]
                opened.close()
                os.write(sending, json.dumps(told).encode())
                status = 0
            finally:
                os._exit(status)
    os.close(sending)
    with os.fdopen(receiving) as pipe:
        told = json.loads(pipe.read())
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert told == [0, 6 * UNIT_ROWS, 3]
    assert read(opened, [4])[0] == [4]


def test_pickled_copies(opened):
    """A copy reads on when the first one was closed."""
    read(opened, [0])
    copied = pickle.loads(pickle.dumps(opened))
    opened.close()
    assert read(copied, [ROWS - 1, 0])[0] == [ROWS - 1, 0]
    copied.close()


def test_what_it_is(opened):
    """Columns without rows say what they are; whole ones are refused, with the ways out."""
    assert opened.rows == ROWS
    assert opened.schema.names == list(opened.columns) == ["image", "id", "text", "place"]
    assert [column.rows for column in opened.columns.values()] == [0] * 4
    with pytest.raises(NoSpace, match=r"columns=\[…\].*batch\(range.*IterableDataset"):
        opened.column("image")
    with pytest.raises(NotFound, match="no column 'nothing', it has image"):
        opened.column("nothing")


def test_a_closed_one(opened):
    """It says so, and holds nothing."""
    read(opened, [0])
    opened.close()
    opened.close()
    assert opened._held().table is None
    with pytest.raises(Unavailable, match="was closed - open it again"):
        read(opened, [0])
    with pytest.raises(Unavailable, match="was closed"):
        opened.columns  # noqa: B018 - the property raises


def test_a_forgotten_one(streaming):
    """The version says that it was not closed; the window goes with it, and is not mentioned."""
    node, uri = streaming
    forgotten = OnDemand.open(uri, address=node.at)
    read(forgotten, [0])
    with pytest.warns(ResourceWarning, match="the stream of .* was not closed") as warned:
        del forgotten
    assert len(warned) == 1
    eventually(lambda: statistics(node).leases == ())


def test_an_error_leaves_nothing_behind(opened):
    """What the taker raises comes through; the next read is as usual."""

    def failing(table: Table, local: npt.NDArray[np.int64], places: npt.NDArray[np.int64]) -> None:
        raise KeyError(table.rows, len(local), len(places))

    with pytest.raises(KeyError):
        opened.read(np.array([1, 2]), failing)
    assert not opened._held().turn.locked()
    assert read(opened, [1])[0] == [1]


@pytest.mark.usefixtures("patient")
def test_a_killed_copy_frees_its_window(streaming, opened):
    """The kernel ends the connection that holds it, however long it would have been kept."""
    node, _ = streaming
    receiving, sending = os.pipe()
    child = os.fork()
    if child == 0:
        read(opened, [0, 700])
        os.write(sending, b"held")
        signal.pause()
    try:
        assert os.read(receiving, 4) == b"held"
        assert [version.leases for version in statistics(node).versions] == [1]
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(receiving)
        os.close(sending)
    eventually(lambda: [version.leases for version in statistics(node).versions] == [0])
    assert read(opened, [0])[0] == [0]
