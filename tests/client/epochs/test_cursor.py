"""Going through an epoch: which windows are held when, and what is asked for ahead.

The windows here are lists of row numbers, so that it can be seen what is held; the datasets' tests read real ones.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from alluxio_lance.client.epochs import cursor as cursor_module
from alluxio_lance.client.epochs.chosen import Chosen
from alluxio_lance.client.epochs.cursor import Cursor, resident_cursor, streamed_cursor
from alluxio_lance.client.epochs.plan import EpochPlan
from alluxio_lance.client.epochs.share import Share
from alluxio_lance.client.fixed import FixedColumn
from alluxio_lance.client.views.numbers import RowNumbers
from alluxio_lance.errors import NoSpace, Unavailable

UNIT = 10


class Held:
    """Stands for the table of a window: it knows its rows and whether it is held."""

    columns: ClassVar[dict[str, object]] = {}

    def __init__(self, source: Source, rows: np.ndarray) -> None:
        self.source, self.numbers = source, rows
        source.held.append(self)

    def close(self) -> None:
        """Let go."""
        self.source.held.remove(self)
        self.source.let_go()


class Source:
    """Stands for a streamed version: it counts what is held, and remembers what it was asked for."""

    def __init__(self, rows: int, *, ended: bool = False, spare: bool = False) -> None:
        self.rows, self.ended, self.spare = rows, ended, spare
        self.held: list[Held] = []
        self.most = 0
        self.opened: list[list[int]] = []
        self.hints: list[list[int]] = []
        self.let_go: Callable[[], None] = lambda: None
        self.whole: Any = None
        self.asked = 0

    def ask_whole(self) -> None:
        """Count how often all rows were asked for."""
        self.asked += 1

    def window(self, units: Sequence[int], *, at_once: bool = False) -> Any:
        """Hold units."""
        if at_once and not self.spare:
            raise NoSpace("there is no room at once")
        self.opened.append(list(units))
        numbers = [row for unit in units for row in range(unit * UNIT, min((unit + 1) * UNIT, self.rows))]
        made = Held(self, np.array(numbers))
        self.most = max(self.most, len(self.held))
        return made

    def ahead(self, units: Sequence[int]) -> None:
        """Remember a hint."""
        if self.ended:
            raise Unavailable("the sidecar is gone", what="sidecar")
        self.hints.append(list(units))


def plan(*, shuffle: bool = True) -> EpochPlan:
    """Make a plan of 10 units, of which the last is short, in windows of 3, 2, 3 and 2 units at most."""
    return EpochPlan("ab" * 32, 95, UNIT, 3, shuffle=shuffle, seed=3, epoch=0)


def read_one(cursor: Cursor, positions: np.ndarray) -> list[int]:
    """Read one batch."""
    return [int(row) for table, rows in cursor.pieces(positions) for row in table.numbers[rows]]


def in_order(the_plan: EpochPlan) -> list[int]:
    """Number all rows in the order of a plan."""
    wanted = [the_plan.row_numbers(window, the_plan.order(window)) for window in the_plan.windows]
    found: list[int] = np.concatenate(wanted).tolist()
    return found


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait for what another thread does."""
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def read(cursor: Cursor, batches: Sequence[np.ndarray]) -> list[list[int]]:
    """Read batches as a dataset does."""
    found = []
    for number, positions in enumerate(batches):
        found.append(read_one(cursor, positions))
        cursor.rest(batches[number + 1] if number + 1 < len(batches) else None)
    return found


def batches(size: int, **share: Any) -> list[np.ndarray]:
    """Cut the order into batches."""
    whole = Share(
        **{"rows": 95, "start": 0, "batch_size": size, "rank": 0, "world_size": 1, "drop_last": False, **share}
    )
    return [whole.positions(number) for number in range(whole.batches)]


@pytest.mark.parametrize("size", [1, 7, 30, 64, 95])
@pytest.mark.parametrize("patience", [None, 0, 60])
@pytest.mark.parametrize("shuffle", [True, False])
def test_one_window_is_held_at_a_time(size, patience, shuffle):
    """Whatever the batches, they are the plan's, and the window before is let go before the next one is wanted."""
    the_plan, source = plan(shuffle=shuffle), Source(95)
    cursor = streamed_cursor(the_plan, source, patience=patience)
    wanted = [the_plan.row_numbers(window, the_plan.order(window)) for window in the_plan.windows]
    found = read(cursor, batches(size))
    assert [row for batch in found for row in batch] == np.concatenate(wanted).tolist()
    assert source.most == 1
    assert source.held == []
    units = [window.units.tolist() for window in the_plan.windows]
    assert source.hints == units[1:]
    if patience != 0:
        assert source.opened == units


@pytest.mark.parametrize("size", [1, 7, 30, 64, 95])
@pytest.mark.parametrize("patience", [None, 60])
@pytest.mark.parametrize("shuffle", [True, False])
def test_a_window_is_taken_while_another_is_read_where_there_is_room_at_once(size, patience, shuffle):
    """They are the plan's as well; no more than two are held, and none is left."""
    the_plan, source = plan(shuffle=shuffle), Source(95, spare=True)
    wanted = [the_plan.row_numbers(window, the_plan.order(window)) for window in the_plan.windows]
    found = read(streamed_cursor(the_plan, source, patience=patience), batches(size))
    assert [row for batch in found for row in batch] == np.concatenate(wanted).tolist()
    assert source.most <= 2
    assert source.held == []
    assert source.opened == [window.units.tolist() for window in the_plan.windows]


def test_a_window_is_let_go_by_another_thread_where_the_next_one_has_come():
    """Before that one takes a third: two are held at most, and nobody is asked to look ahead beside it."""
    source, here = Source(95, spare=True), threading.get_ident()
    let_go_by = []
    source.let_go = lambda: let_go_by.append(threading.get_ident())
    the_plan, cursor = plan(), streamed_cursor(plan(), source, patience=None)
    cuts = [np.arange(window.start, window.stop) for window in the_plan.windows]
    for number, positions in enumerate(cuts):
        list(cursor.pieces(positions))
        deadline = time.monotonic() + 60
        while number + 1 < len(cuts) and not cursor._tables._coming.has_come(number + 1):  # type: ignore[attr-defined]
            assert time.monotonic() < deadline
            time.sleep(0.001)
        cursor.rest(cuts[number + 1] if number + 1 < len(cuts) else None)
        assert len(source.held) == (2 if number + 1 < len(cuts) else 0)
    assert source.most == 2
    assert source.hints == []
    # The first window of four by the thread that took the third, and so on; the last two by the reader itself.
    assert len(let_go_by) == len(cuts)
    assert [who == here for who in let_go_by] == [False] * (len(cuts) - 2) + [True] * 2


def test_no_window_is_taken_ahead_where_none_may_be_held():
    """Where windows are small."""
    source = Source(95, spare=True)
    read(streamed_cursor(plan(), source, patience=0), batches(7))
    assert source.most == 1


@pytest.mark.parametrize("patience", [None, 600])
def test_a_window_that_is_not_read_yet_is_let_go_before_the_one_that_is(patience, monkeypatch):
    """Another reader may need its room, and this one may be the one that waits for that reader: as in its own loop."""
    monkeypatch.setattr(cursor_module, "_PATIENCE_AHEAD", 0.001)
    monkeypatch.setattr(cursor_module, "_PATIENCE_ALONE", 600)
    source, gone = Source(95, spare=True), threading.Event()
    cursor = streamed_cursor(plan(), source, patience=patience)
    cuts = batches(5)
    before = read_one(cursor, cuts[0])
    tables: Any = cursor._tables
    wait_until(lambda: tables._coming.has_come(1))
    source.let_go = gone.set
    cursor.rest(cuts[1])
    assert gone.wait(60)
    first = plan().windows[0]
    assert [held.numbers.size for held in source.held] == [first.rows]
    # The thread goes on to watch the one that is held; and what was let go is asked for ahead.
    wait_until(lambda: isinstance(tables._impatient, threading.Timer) and tables._impatient.interval >= 500)
    wait_until(lambda: source.hints == [plan().windows[1].units.tolist()])
    after = read(cursor, cuts[1:])
    assert [*before, *(row for batch in after for row in batch)] == in_order(plan())
    assert source.held == []


def test_between_two_windows_the_next_one_is_not_kept_for_long(monkeypatch):
    """The one before is let go at once, the next one when nobody reads on."""
    monkeypatch.setattr(cursor_module, "_PATIENCE_AHEAD", 0.001)
    source, gone = Source(95, spare=True), threading.Event()
    cursor = streamed_cursor(plan(), source, patience=600)
    first = plan().windows[0]
    cuts = [np.arange(first.stop), np.arange(first.stop, 95)]
    before = read_one(cursor, cuts[0])
    tables: Any = cursor._tables
    wait_until(lambda: tables._coming.has_come(1))
    source.let_go = lambda: None if source.held else gone.set()
    cursor.rest(cuts[1])
    assert gone.wait(60)
    after = read(cursor, cuts[1:])
    assert [*before, *(row for batch in after for row in batch)] == in_order(plan())
    assert source.held == []


def test_a_reader_that_ends_early_lets_go_of_what_is_on_its_way():
    """It does not wait for it: that comes, and goes."""
    source, come, gone = Source(95, spare=True), threading.Event(), threading.Event()
    plain = source.window

    def slow(units: Sequence[int], *, at_once: bool = False) -> Any:
        if at_once:
            assert come.wait(60)
        return plain(units, at_once=at_once)

    source.window = slow  # type: ignore[method-assign]
    cursor = streamed_cursor(plan(), source, patience=None)
    list(cursor.pieces(batches(10)[0]))
    cursor.close()
    assert source.held == []
    source.let_go = gone.set
    come.set()
    assert gone.wait(60)
    assert source.held == []


@pytest.mark.parametrize("lasts", [False, True])
def test_a_window_on_its_way_that_cannot_be_had(lasts):
    """It is asked for again when it is wanted, and only then an error is one."""
    source = Source(95, spare=True)
    plain = source.window

    def broken(units: Sequence[int], *, at_once: bool = False) -> Any:
        if source.opened and (at_once or lasts):
            raise Unavailable("the store is gone", what="store")
        return plain(units, at_once=at_once)

    source.window = broken  # type: ignore[method-assign]
    cursor = streamed_cursor(plan(), source, patience=None)
    if lasts:
        with pytest.raises(Unavailable, match="the store is gone"):
            read(cursor, batches(10))
        cursor.close()
    else:
        the_plan = plan()
        wanted = [the_plan.row_numbers(window, the_plan.order(window)) for window in the_plan.windows]
        assert [row for batch in read(cursor, batches(10)) for row in batch] == np.concatenate(wanted).tolist()
        assert source.most == 1
    assert source.held == []


def test_nothing_is_held_between_batches_that_may_not():
    """Where windows are small the window is let go after each batch, and hints are given once."""
    source = Source(95)
    cursor = streamed_cursor(plan(), source, patience=0)
    cuts = batches(7)
    for number, positions in enumerate(cuts):
        for table, rows in cursor.pieces(positions):
            assert len(table.numbers[rows]) > 0
        cursor.rest(cuts[number + 1] if number + 1 < len(cuts) else None)
        assert source.held == []
    assert len(source.hints) == len(plan().windows) - 1


def test_a_window_is_held_while_it_is_needed():
    """Between two batches of the same window it stays; before the last batch is handed out it is let go."""
    source = Source(95)
    cursor = streamed_cursor(plan(), source, patience=None)
    cuts = batches(10)
    list(cursor.pieces(cuts[0]))
    cursor.rest(cuts[1])
    assert len(source.held) == 1
    first = plan().windows[0].rows
    cursor.rest(np.array([first]))
    assert source.held == []


@pytest.mark.parametrize("patience", [None, 0.001])
def test_a_window_that_nobody_reads_is_let_go(patience, monkeypatch):
    """Out of patience, a window is let go while its reader waits for its turn, and taken again afterwards."""
    monkeypatch.setattr(cursor_module, "_PATIENCE_ALONE", 0.001)
    source = Source(95)
    gone = threading.Event()
    source.let_go = gone.set
    cursor = streamed_cursor(plan(), source, patience=patience)
    cuts = batches(10)
    before = read_one(cursor, cuts[0])
    cursor.rest(cuts[1])
    assert gone.wait(60)
    after = read(cursor, cuts[1:])
    assert [*before, *(row for batch in after for row in batch)] == in_order(plan())
    assert source.held == []


@pytest.mark.parametrize("patience", [None, 600])
def test_one_timer_sees_all_batches(patience):
    """No thread is begun for each of them, and none is left when the iteration ends."""
    cursor = streamed_cursor(plan(), Source(95), patience=patience)
    before, seen = set(threading.enumerate()), set()
    cuts = batches(1)
    for number in range(10):
        list(cursor.pieces(cuts[number]))
        cursor.rest(cuts[number + 1])
        # Windows are taken ahead by other threads, for a moment each.
        seen |= {one for one in threading.enumerate() if isinstance(one, threading.Timer)} - before
    assert len(seen) == 1
    cursor.close()
    seen.pop().join(60)
    assert set(threading.enumerate()) <= before


def test_patience_is_counted_from_the_last_batch():
    """A timer that ends after another batch has come looks again later."""
    source = Source(95)
    gone, again = threading.Event(), threading.Event()
    source.let_go = gone.set
    cursor = streamed_cursor(plan(), source, patience=600)
    list(cursor.pieces(batches(1)[0]))
    cursor.rest(batches(1)[1])
    tables: Any = cursor._tables
    first = tables._impatient
    first.cancel()
    first.join(60)
    # As if its time had come, though not that of the batch.
    tables._impatient = threading.Thread(target=lambda: (tables._lose_patience(), again.set()))
    tables._impatient.start()
    assert again.wait(60)
    assert not gone.is_set()
    assert isinstance(tables._impatient, threading.Timer)
    tables._impatient.cancel()
    # And now that of the batch, too.
    tables._rested -= 601
    tables._impatient = threading.Thread(target=tables._lose_patience)
    tables._impatient.start()
    assert gone.wait(60)
    assert source.held == []


class Room:
    """Stands for the budget of a node: so many windows are held at once, and whoever waits comes first."""

    def __init__(self, windows: int) -> None:
        self.left, self.waiting = windows, 0
        self.changed = threading.Condition()

    def take(self, *, at_once: bool) -> None:
        """Have room for a window; nobody waits for long in vain."""
        with self.changed:
            if at_once and (self.waiting or not self.left):
                raise NoSpace("there is no room at once")
            self.waiting += 1
            found = self.changed.wait_for(lambda: self.left, 20)
            self.waiting -= 1
            if not found:
                raise NoSpace("others held the room")
            self.left -= 1

    def give(self) -> None:
        """Have it no more."""
        with self.changed:
            self.left += 1
            self.changed.notify_all()


class Sharing(Source):
    """One of several sources on a node."""

    def __init__(self, room: Room) -> None:
        super().__init__(95, spare=True)
        self.room, self.let_go = room, room.give

    def window(self, units: Sequence[int], *, at_once: bool = False) -> Any:
        """Hold units, once there is room."""
        self.room.take(at_once=at_once)
        return super().window(units, at_once=at_once)


@pytest.mark.parametrize("patience", [None, 600])
@pytest.mark.parametrize("readers", [2, 3, 4])
def test_more_datasets_than_windows_are_read_in_turn(patience, readers):
    """Each lets go of its window for the others, and reads the same rows in the same order all the same."""
    sources = [Sharing(Room(2))]
    sources += [Sharing(sources[0].room) for _ in range(readers - 1)]
    cursors = [streamed_cursor(plan(), source, patience=patience) for source in sources]
    cuts, found = batches(7), [[] for _ in cursors]
    for number, positions in enumerate(cuts):
        for cursor, rows in zip(cursors, found, strict=True):
            rows.extend(read_one(cursor, positions))
            cursor.rest(cuts[number + 1] if number + 1 < len(cuts) else None)
    assert found == [in_order(plan())] * readers
    wait_until(lambda: not any(source.held for source in sources))


def read_two_in_turn(one: Cursor, two: Cursor) -> None:
    """Read a batch of one, and then one of the other."""
    cuts = batches(5)
    for cursor in (one, two):
        read_one(cursor, cuts[0])
        cursor.rest(cuts[1])


@pytest.mark.parametrize("room", [True, False])
def test_a_process_lets_go_of_what_it_does_not_read_before_it_waits(room):
    """Where there is room for both at once, both are held."""
    one, two = Source(95), Source(95, spare=room)
    first, second = (streamed_cursor(plan(), source, patience=None) for source in (one, two))
    read_two_in_turn(first, second)
    assert len(one.held) == room
    assert two.held
    for cursor in (first, second):
        cursor.close()


def test_what_comes_for_another_reader_is_let_go_as_well():
    """It would be held just as long; and it is not asked for ahead, which may take the room again."""
    one, two = Source(95, spare=True), Source(95)
    first, second = (streamed_cursor(plan(), source, patience=None) for source in (one, two))
    cuts = batches(5)
    read_one(first, cuts[0])
    tables: Any = first._tables
    wait_until(lambda: tables._coming.has_come(1))
    first.rest(cuts[1])
    assert len(one.held) == 2
    read_one(second, cuts[0])
    assert (one.held, one.hints) == ([], [])
    assert [row for batch in read(first, cuts[1:]) for row in batch] == in_order(plan())[5:]
    second.close()


def test_a_window_that_another_thread_reads_is_not_let_go():
    """Nor one that a forked child has from its parent."""
    one, two = Source(95), Source(95)
    first, second = (streamed_cursor(plan(), source, patience=None) for source in (one, two))
    cuts = batches(5)
    read_one(first, cuts[0])
    read_one(second, cuts[0])
    assert one.held
    first.rest(cuts[1])
    second.close()
    tables: Any = first._tables
    tables.process -= 1
    read_one(second, cuts[0])
    assert one.held
    second.close()
    tables.process += 1
    read_one(second, cuts[0])
    assert not one.held


@pytest.mark.timeout(60)
def test_an_iteration_that_is_found_forgotten_while_its_window_is_let_go():
    """Python may close it in any thread, in the one that lets go of its window, too."""
    one, two = Source(95), Source(95)
    first, second = (streamed_cursor(plan(), source, patience=None) for source in (one, two))
    one.let_go = first.close
    read_two_in_turn(first, second)
    assert not one.held
    second.close()


def test_rows_that_come_twice_are_in_the_window_that_is_held():
    """What makes ranks even is taken from the end of the order, and costs no window again."""
    source = Source(95)
    cuts = batches(7, rank=2, world_size=3)
    found = read(streamed_cursor(plan(), source, patience=None), cuts)
    assert len(found[-1]) == len(cuts[-1]) == 4
    assert cuts[-1].tolist() == [92, 93, 94, 94]
    assert source.opened == [window.units.tolist() for window in plan().windows]


def test_a_broken_iteration_holds_nothing():
    """Closed in the middle, a cursor lets its window go."""
    source = Source(95)
    cursor = streamed_cursor(plan(), source, patience=None)
    next(cursor.pieces(np.arange(5)))
    cursor.close()
    assert source.held == []


def test_a_hint_that_nobody_hears():
    """A sidecar that ended is told by the next window, not by the hint: what is held is read to its end."""
    source = Source(95, ended=True)
    found = read(streamed_cursor(plan(), source, patience=None), batches(95))
    assert len(found[0]) == 95


@pytest.mark.parametrize("shuffle", [True, False])
def test_in_memory_any_plan_can_be_followed(shuffle):
    """A rank that has everything reads the order of one that reads in windows."""

    class Whole:
        numbers = np.arange(95)

    the_plan = plan(shuffle=shuffle)
    found = read(resident_cursor(the_plan, Whole()), batches(7))  # type: ignore[arg-type]
    wanted = [the_plan.row_numbers(window, the_plan.order(window)) for window in the_plan.windows]
    assert [row for batch in found for row in batch] == np.concatenate(wanted).tolist()


CHOSEN = [3, *range(20, 30), 41, 47, 90, 93, 94]
"""Of the units 0, 2, 4 and the short last one."""


@pytest.mark.parametrize("size", [1, 3, 16])
@pytest.mark.parametrize("patience", [None, 0, 60])
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("spare", [True, False])
def test_chosen_rows_are_read_and_their_units_alone(size, patience, shuffle, spare):
    """In windows that have nothing but units with some of them, whoever takes them; in memory the same rows."""

    class Whole:
        numbers = np.arange(95)

    the_plan = replace(plan(shuffle=shuffle), chosen=Chosen("a filter", RowNumbers(np.array(CHOSEN))))
    source, cuts = Source(95, spare=spare), batches(size, rows=len(CHOSEN))
    found = [row for batch in read(streamed_cursor(the_plan, source, patience=patience), cuts) for row in batch]
    assert found == in_order(the_plan)
    assert sorted(found) == CHOSEN
    assert {unit for units in source.opened + source.hints for unit in units} == {0, 2, 4, 9}
    assert source.held == []
    whole = read(resident_cursor(the_plan, Whole()), cuts)  # type: ignore[arg-type]
    assert [row for batch in whole for row in batch] == found


def test_nothing_chosen_is_nothing_to_read():
    """No window is asked for."""
    the_plan = replace(plan(), chosen=Chosen("a filter", RowNumbers(range(0))))
    source = Source(95)
    cursor = streamed_cursor(the_plan, source, patience=None)
    assert the_plan.windows == ()
    cursor.close()
    assert (source.opened, source.hints, source.held) == ([], [], [])


def test_a_disk_that_fails_is_told_and_not_met_by_touching_its_pages():
    """The window is let go with the cursor."""

    class Failing(FixedColumn):
        def __init__(self):
            self.layout = SimpleNamespace(name="image")

        def populate(self):
            raise OSError(errno.EFAULT, "cannot read 4096 bytes in")

    source = Source(4 * UNIT)
    plan = EpochPlan("ab" * 32, 4 * UNIT, UNIT, 2, True, 0, 0)
    cursor = streamed_cursor(plan, source, patience=None)
    window = source.window

    def failing(units, *, at_once=False):
        held = window(units, at_once=at_once)
        held.columns = {"image": Failing()}
        held.layout = SimpleNamespace(uri="alluxio://datasets/x@v1")
        return held

    source.window = failing
    with pytest.raises(Unavailable, match=r"column image of alluxio://datasets/x@v1 cannot be read.*disk_dir"):
        next(cursor.pieces(np.arange(3)))
    cursor.close()
    assert not source.held


@pytest.mark.parametrize("spare", [False, True])
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("faults", [0, 1])
def test_all_rows_take_the_place_of_windows_once_they_are_there(monkeypatch, spare, shuffle, faults):
    """In the middle of a window, in the same order; what was held and what was to come is let go.

    Where pages had to be read from the disk, those of the next window are read in before it is read.
    """
    monkeypatch.setattr(cursor_module, "_major_faults", count(100, faults).__next__)
    source, the_plan = Source(95, spare=spare), plan(shuffle=shuffle)
    cursor = streamed_cursor(the_plan, source, patience=None)
    every = batches(7)
    found = read(cursor, every[:5])
    asked, opened = source.asked, len(source.opened)
    assert asked == len({int(number) for number in the_plan.windows_of(np.concatenate(every[:5]))})
    read_in: list[tuple[int, int]] = []

    class Column(FixedColumn):
        def __init__(self):
            """Take nothing."""

        def read_in(self, start, stop):
            read_in.append((start, stop))

    source.whole = SimpleNamespace(numbers=np.arange(95), columns={"x": Column()})
    found += read(cursor, every[5:])
    assert [row for batch in found for row in batch] == in_order(the_plan)
    wait_until(lambda: not source.held)
    assert source.asked == asked
    assert len(source.opened) <= opened + spare
    # The first one is only where the faults are counted from.
    later = the_plan.windows[int(the_plan.windows_of(every[5])[0]) + 2 :]
    wanted = [(unit * UNIT, min(unit * UNIT + UNIT, 95)) for window in later for unit in window.units.tolist()]
    assert read_in == (wanted if shuffle and faults else [])


def test_a_page_that_cannot_be_read_in_again_is_told_before_it_is_touched(monkeypatch):
    """With the first row of its window."""
    monkeypatch.setattr(cursor_module, "_major_faults", count(100).__next__)

    class Column(FixedColumn):
        def __init__(self):
            self.layout = SimpleNamespace(name="image")

        def read_in(self, start, stop):
            raise OSError(errno.EFAULT, "cannot read 4096 bytes in")

    source, the_plan = Source(95), plan()
    layout = SimpleNamespace(uri="alluxio://datasets/x@v1")
    source.whole = SimpleNamespace(numbers=np.arange(95), columns={"image": Column()}, layout=layout)
    cursor = streamed_cursor(the_plan, source, patience=None)
    first = the_plan.windows[1].stop
    assert read_one(cursor, np.arange(first)) == in_order(the_plan)[:first]
    with pytest.raises(Unavailable, match="column image of alluxio://datasets/x@v1 cannot be read"):
        read_one(cursor, np.arange(first, first + 2))
    cursor.close()
