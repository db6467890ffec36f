"""Answers to filters in the sidecar: evaluated once, joined, kept within a budget, ended when nobody waits."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from alluxio_lance.errors import Corrupt, InvalidArgument, Unavailable
from alluxio_lance.sidecar import selections as module
from alluxio_lance.sidecar.selections import Selections

ROWS = 1000


class FilteredTable:
    """A reader whose filters are numbers: ``"7"`` matches every 7th row; stops at a gate, if there is one.

    A double, since these tests decide when an evaluation goes on.
    """

    def __init__(self, rows=ROWS):
        self.num_rows = rows
        self.opened = self.closed = 0
        self.asked = []
        self.gate = None
        self.reached = threading.Semaphore(0)

    def open(self, version):
        self.opened += 1
        return self

    def matching(self, filter):
        self.asked.append(filter)
        if filter == "wrong":
            raise InvalidArgument("it is wrong")
        rows = np.arange(0, self.num_rows, int(filter), dtype=np.uint64)
        for part in np.array_split(rows, 4):
            self.reached.release()
            if self.gate is not None:
                assert self.gate.wait(10)
            yield part

    def close(self):
        self.closed += 1


@pytest.fixture
def version(make_version):
    """Some version."""
    return make_version(pa.table({"a": [1]}))


def find(selections, version, filter, wanted=lambda: True):
    """Find all rows as one list."""
    return [row for part in selections.find(version, filter, wanted) for row in part.tolist()]


def test_rows_come_in_order_and_in_parts(version):
    """Across parts of an answer, and with as many rows as do not fill the last byte."""
    table = FilteredTable(300_001)
    with Selections(table.open) as selections:
        parts = list(selections.find(version, "3", lambda: True))
        assert np.concatenate(parts).tolist() == list(range(0, 300_001, 3))
        assert len(parts) == 3
        assert max(map(len, parts)) <= 131072
        assert find(selections, version, "1") == list(range(300_001))
    assert (table.opened, table.closed) == (2, 2)


def test_an_answer_is_found_once(version, make_version):
    """For one version and filter; another version or another filter is another question."""
    table = FilteredTable()
    with Selections(table.open) as selections:
        assert find(selections, version, "7") == find(selections, version, "7")
        assert table.asked == ["7"]
        find(selections, make_version(pa.table({"a": [1]}), version=2), "7")
        find(selections, version, "8")
        assert table.asked == ["7", "7", "8"]


def test_those_who_ask_meanwhile_wait_for_the_first(version):
    """Three callers, one evaluation, the same answer."""
    table = FilteredTable()
    table.gate = threading.Event()
    with Selections(table.open) as selections, ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(find, selections, version, "7") for _ in range(3)]
        assert table.reached.acquire(timeout=10)
        while len(next(iter(selections._searches.values())).wishes) < 3:
            pass
        table.gate.set()
        assert [future.result(10) for future in waiting] == [list(range(0, ROWS, 7))] * 3
    assert table.asked == ["7"]


def test_a_failure_reaches_all_and_is_not_kept(version):
    """The next one who asks gets a new evaluation."""
    table = FilteredTable()
    with Selections(table.open) as selections:
        for _ in range(2):
            with pytest.raises(InvalidArgument, match="it is wrong"):
                find(selections, version, "wrong")
    assert table.asked == ["wrong", "wrong"]
    assert table.closed == 2


def test_the_oldest_answers_give_way(version, monkeypatch):
    """An answer counts with its text and a fixed part; one that was just used stays; one too large is not kept at all."""
    table = FilteredTable(8000)
    monkeypatch.setattr(module, "KEPT_BYTES", 3 * (1000 + 4 + 1024))
    with Selections(table.open) as selections:
        for filter in ("1", "2", "3", "1", "4", "1", "2"):
            find(selections, version, filter)
        assert table.asked == ["1", "2", "3", "4", "2"]
        monkeypatch.setattr(module, "KEPT_BYTES", 10)
        assert len(find(selections, version, "5")) == 1600
        assert selections._kept == {}


def test_an_evaluation_that_nobody_waits_for_ends(version):
    """After the part that is being read; nothing is kept, and the table is closed."""
    table = FilteredTable()
    table.gate = threading.Event()
    there = True
    with Selections(table.open) as selections, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(find, selections, version, "7", lambda: there)
        assert table.reached.acquire(timeout=10)
        there = False
        table.gate.set()
        with pytest.raises(Unavailable, match="nobody waits"):
            waiting.result(10)
        assert table.closed == 1
        assert find(selections, version, "7") == list(range(0, ROWS, 7))


def test_an_evaluation_goes_on_for_those_who_stay(version):
    """The one who asked first goes away, the other gets the answer."""
    table = FilteredTable()
    table.gate = threading.Event()
    there = True
    with Selections(table.open) as selections, ThreadPoolExecutor(2) as pool:
        pool.submit(find, selections, version, "7", lambda: there)
        assert table.reached.acquire(timeout=10)
        stays = pool.submit(find, selections, version, "7")
        while len(next(iter(selections._searches.values())).wishes) < 2:
            pass
        there = False
        table.gate.set()
        assert stays.result(10) == list(range(0, ROWS, 7))


def test_who_comes_while_an_evaluation_is_given_up_gets_one_of_his_own(version):
    """It ended since nobody waited, which is no answer to somebody who does."""
    table = FilteredTable()
    there, closing_table, going_on = True, threading.Event(), threading.Event()

    def close():
        closing_table.set()
        assert going_on.wait(10)

    def leave():
        nonlocal there
        there, table.gate = False, None
        return True

    table.gate = SimpleNamespace(wait=lambda _: leave())
    table.close = close
    with Selections(table.open) as selections, ThreadPoolExecutor(2) as pool:
        gone = pool.submit(find, selections, version, "7", lambda: there)
        assert closing_table.wait(10)
        late = pool.submit(find, selections, version, "7")
        while len(next(iter(selections._searches.values())).wishes) < 2:
            assert not late.done()
        going_on.set()
        with pytest.raises(Unavailable, match="nobody waits"):
            gone.result(10)
        assert late.result(10) == list(range(0, ROWS, 7))


def test_only_two_are_evaluated_at_once(version):
    """The third waits for its turn, and gives up when its caller does."""
    table = FilteredTable()
    table.gate = threading.Event()
    with Selections(table.open) as selections, ThreadPoolExecutor(3) as pool:
        running = [pool.submit(find, selections, version, filter) for filter in ("7", "8")]
        for _ in running:
            assert table.reached.acquire(timeout=10)
        with pytest.raises(Unavailable):
            find(selections, version, "9", lambda: False)
        third = pool.submit(find, selections, version, "9")
        table.gate.set()
        assert third.result(10) == list(range(0, ROWS, 9))
        for future, step in zip(running, (7, 8), strict=True):
            assert future.result(10) == list(range(0, ROWS, step))


def test_closing_ends_what_is_under_way(version):
    """Evaluations, those who wait for them, those who wait for their turn, and all that ask later."""
    table = FilteredTable()
    table.gate = threading.Event()
    with ThreadPoolExecutor(4) as pool, closing(Selections(table.open)) as selections:
        waiting = [pool.submit(find, selections, version, filter) for filter in ("7", "8", "7", "9")]
        for _ in range(2):
            assert table.reached.acquire(timeout=10)
        selections.close()
        table.gate.set()
        for future in waiting:
            with pytest.raises(Unavailable, match="the sidecar stops"):
                future.result(10)
        with pytest.raises(Unavailable):
            find(selections, version, "3")


def test_a_row_beyond_the_end_is_told(version):
    """The count of the table and the filter's answer contradict each other."""
    table = FilteredTable()
    with Selections(table.open) as selections:
        table.matching = lambda _: (np.array([number], np.uint64) for number in (5, ROWS))
        with pytest.raises(Corrupt, match="row 1000"):
            find(selections, version, "7")
