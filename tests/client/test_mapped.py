"""Versions that are larger than the budget, mapped as a whole from the disk tier: by real processes through a real sidecar."""

from __future__ import annotations

import json
import os
import pickle
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import numpy as np
import pytest
from tests.client import test_ondemand
from tests.client.test_ondemand import BUDGET, ROWS, read
from tests.client.test_streaming import UNIT_ROWS, WIDTH, data, eventually, statistics
from tests.conftest import Node, _running

from alluxio_lance.client import mapped as mapped_module
from alluxio_lance.client.mapped import Mapped
from alluxio_lance.client.ondemand import OnDemand
from alluxio_lance.client.streamed import StreamedVersion
from alluxio_lance.client.table import Table
from alluxio_lance.errors import Unavailable

pytestmark = test_ondemand.pytestmark


@pytest.fixture(scope="module")
def streaming() -> Iterator[tuple[Node, str]]:
    """A sidecar with less memory than its one version takes, and a disk that has all of it; and the URI of that."""
    with _running("--memory-budget", str(BUDGET), "--disk-budget", "256MiB") as node:
        uri = node.register("large", data(ROWS)).uri
        with StreamedVersion.open(uri, address=node.at) as stream:

            def all_written() -> bool:
                # What leaves memory before the disk could take it is not kept: so it is read until it is.
                for unit in range(stream.units):
                    stream.window([unit]).close()
                return statistics(node).disk.columns == 4 * stream.units

            eventually(all_written)
        yield node, uri


@pytest.fixture
def stream(streaming: tuple[Node, str]) -> Iterator[StreamedVersion]:
    """The version, open; nothing of it is held at the end."""
    node, uri = streaming
    with StreamedVersion.open(uri, address=node.at) as stream:
        yield stream
    nothing_held(node)


def nothing_held(node: Node) -> None:
    """Wait until nobody has a lease, and no file of the disk tier is open."""
    eventually(lambda: statistics(node).leases == ())
    eventually(lambda: statistics(node).disk.mapped_bytes == 0)


def whole(stream: StreamedVersion) -> Table:
    """Wait for all rows."""

    def there() -> bool:
        stream.ask_whole()
        return stream.whole is not None

    eventually(there)
    table = stream.whole
    assert table is not None
    return table


def test_all_rows_without_memory(streaming, stream):
    """In one table, whose files are given back when the version is closed."""
    node, _ = streaming
    assert stream.whole is None
    table = whole(stream)
    rows = data(ROWS)
    assert table.rows == ROWS
    assert (table.columns["id"].array == rows["id"].to_numpy()).all()
    assert (table.columns["image"].array[:, 5] == table.columns["id"].array % 251).all()
    some = np.array([ROWS - 1, 0, UNIT_ROWS, 5, 3 * UNIT_ROWS - 1])
    assert list(table.columns["text"].take(some).rows()) == rows["text"].take(some).to_pylist()
    found = statistics(node)
    assert found.disk.mapped_bytes > ROWS * WIDTH
    assert found.used_bytes < BUDGET
    stream.close()
    assert stream.whole is None
    nothing_held(node)
    assert table.lease.closed


def test_windows_go_on_beside_it(stream):
    """Whoever has one keeps it."""
    with stream.window([1, 7]) as window:
        table = whole(stream)
        with stream.window([3], at_once=True) as other:
            assert other.columns["id"].array[0] == 3 * UNIT_ROWS == table.columns["id"].array[3 * UNIT_ROWS]
        assert window.columns["id"].array[0] == UNIT_ROWS


def test_a_node_without_it(make_node):
    """Without a disk tier it is never there, and windows are all there is."""
    node = make_node("--memory-budget", str(BUDGET), "--disk-budget", "0")
    uri = node.register("large", data(ROWS)).uri
    with StreamedVersion.open(uri, address=node.at) as stream:
        for unit in range(stream.units):
            with stream.window([unit]):
                stream.ask_whole()
        eventually(lambda: not [one for one in threading.enumerate() if one.name == "alluxio-lance-mapped"])
        assert stream.whole is None


def test_a_forked_child_goes_on_with_it(stream):
    """And reads on when its parent has closed it: what is mapped stays."""
    table = whole(stream)
    receiving, sending = os.pipe()
    starting, start = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(start)
            os.read(starting, 1)
            found = stream.whole
            assert found is table
            os.write(sending, json.dumps(found.columns["id"].take(np.array([9, ROWS - 1])).tolist()).encode())
            stream.close()
            status = 0
        finally:
            os._exit(status)
    os.close(sending)
    stream.close()
    os.write(start, b"!")
    with os.fdopen(receiving) as pipe:
        assert json.loads(pipe.read()) == [9, ROWS - 1]
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    for end in (starting, start):
        os.close(end)


def test_a_killed_reader_gives_the_files_back(streaming):
    """Its connection ends with it."""
    node, uri = streaming
    receiving, sending = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with StreamedVersion.open(uri, address=node.at) as stream:
                whole(stream)
                os.write(sending, b"!")
                signal.pause()
        finally:
            os._exit(1)
    assert os.read(receiving, 1) == b"!"
    assert statistics(node).disk.mapped_bytes > 0
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    for end in (receiving, sending):
        os.close(end)
    nothing_held(node)


def test_a_pickled_copy_asks_for_its_own(stream):
    """It shares the lease, and nothing else."""
    table = whole(stream)
    copy = pickle.loads(pickle.dumps(stream))
    assert copy.whole is None
    assert whole(copy).columns["id"].array[-1] == ROWS - 1
    assert copy.whole is not table
    copy.close()


def test_rows_by_number_need_no_windows_then(stream, monkeypatch):
    """What was held is let go, and all that was read is counted."""
    with closing(OnDemand(stream)) as opened:
        first = read(opened, [5, UNIT_ROWS, ROWS - 1])
        whole(stream)
        before = opened.statistics().gathered_bytes
        assert before > 0
        monkeypatch.setattr(StreamedVersion, "window", _no_window)
        assert read(opened, [5, UNIT_ROWS, ROWS - 1]) == (first[0], 1)
        every = np.random.default_rng(4).permutation(ROWS)
        assert read(opened, every) == (every.tolist(), 1)
        assert opened.statistics().gathered_bytes > before + ROWS * WIDTH


def _no_window(*_: Any, **__: Any) -> Table:
    raise AssertionError("a window was asked for")


# -- what a process has of it ------------------------------------------------------------------------------------------


class Double:
    """Stands for the table: these tests decide when it comes."""

    columns: dict[str, Any] = {}  # noqa: RUF012 - nobody writes it

    def __init__(self) -> None:
        self.closes = 0

    def close(self) -> None:
        """Count."""
        self.closes += 1


def settled(mapped: Mapped) -> None:
    """Wait for the thread that asks."""
    eventually(lambda: not mapped._askers)


def test_it_is_asked_for_once_at_a_time(monkeypatch):
    """Again after a refusal or a failure, but not at once, and no more once it is there."""
    answers: Sequence[Any] = [None, Unavailable("the sidecar is gone", what="sidecar"), table := Double()]
    waiting, asked = threading.Event(), []

    def take() -> Any:
        answer = answers[len(asked)]
        asked.append(answer)
        assert waiting.wait(30)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(mapped_module, "_PAUSE", 1e9)
    mapped = Mapped(take)
    for number in range(3):
        waiting.clear()
        monkeypatch.setattr(mapped, "_not_before", 0.0)
        for _ in range(5):
            mapped.ask()
        assert mapped.table is None
        waiting.set()
        settled(mapped)
        mapped.ask()
        settled(mapped)
        assert len(asked) == number + 1
    assert mapped.table is table
    mapped.ask()
    settled(mapped)
    assert len(asked) == 3
    mapped.close()
    mapped.close()
    assert (mapped.table, table.closes) == (None, 1)
    mapped.ask()
    assert len(asked) == 3


def test_what_comes_after_the_end_is_closed():
    """By the thread that got it."""
    going_on, table = threading.Event(), Double()

    def take() -> Any:
        assert going_on.wait(30)
        return table

    mapped = Mapped(take)
    mapped.ask()
    mapped.close()
    going_on.set()
    settled(mapped)
    eventually(lambda: table.closes == 1)
    assert mapped.table is None
