"""Windows: every row once in any order, room and who waits for it, what is asked ahead, faults, statistics, the end."""

from __future__ import annotations

import os
import random
import resource
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from alluxio_lance.client.columns import open_columns
from alluxio_lance.client.counting import ReadCounters
from alluxio_lance.client.descriptors import Descriptors
from alluxio_lance.errors import Conflict, Corrupt, InvalidArgument, Leased, NoSpace, NotFound, Unavailable
from alluxio_lance.layout import ColumnKind, Pages
from alluxio_lance.sidecar import shelf, units, windows
from alluxio_lance.sidecar.budget import Budget
from alluxio_lance.sidecar.loading import Loading
from alluxio_lance.sidecar.residency import Residency
from alluxio_lance.sidecar.statistics import Role, Status
from alluxio_lance.sidecar.windows import Asker

WIDTH = 4096
UNIT_ROWS = 16
UNITS = 10
ROWS = UNIT_ROWS * UNITS - 5
"""The last unit is shorter."""
WAIT = 20.0
"""Seconds after which a test that waits for an event has failed."""


def _fixed(rows: int = ROWS) -> pa.Table:
    image = np.repeat(np.arange(rows, dtype=np.uint8), WIDTH)
    return pa.table({"image": pa.FixedSizeListArray.from_arrays(pa.array(image), WIDTH)})


def _mixed(rows: int = ROWS) -> pa.Table:
    nulls = np.arange(rows) % 3 == 0
    return (
        _fixed(rows)
        .append_column("text", pa.array([f"row {number} " * (number % 4) for number in range(rows)], mask=nulls))
        .append_column("place", pa.array([{"at": number} for number in range(rows)]))
    )


@dataclass
class Library:
    """One table in place of the store, and what was done with it."""

    table: pa.Table
    make_reader: type
    served: bool = True
    before_batch: object = lambda: None
    readers: list = field(default_factory=list)
    read: Counter = field(default_factory=Counter)
    """How often each row was read."""

    def now(self):
        self.before_batch()

    def check(self, version):
        if not self.served:
            raise NotFound(f"{version.uri} was deleted before it could be loaded")

    def warm(self, version, on_progress, go_on):
        return None

    def share(self, version):
        return None

    def open(self, version):
        library = self
        made = self.make_reader(self.table, 7, library.now)
        whole = made.batches

        def batches(columns, *, rows=None, batch_bytes=0, into=None):
            library.read.update(range(*(rows or (0, 0))))
            yield from whole(columns, rows=rows)

        made.batches = batches
        self.readers.append(made)
        return made


@pytest.fixture(autouse=True)
def _small_units(monkeypatch):
    """Units of 64 KiB instead of 8 MiB."""
    monkeypatch.setattr(units, "UNIT_BYTES", UNIT_ROWS * WIDTH)


@pytest.fixture
def make(table_double, make_version, memfds):
    """Make residencies of one table, which leave no memfd and no claim."""
    made = []

    def make(table=None, limit=1 << 30, **options):
        library = Library(_fixed() if table is None else table, table_double)
        budget = Budget(limit, available=lambda: 1 << 40)
        residency = Residency(Loading(library), budget, shard_bytes=1, prefer=Pages.SMALL, **options)
        made.append((residency, budget, library))
        return residency, library, make_version(library.table)

    yield make
    for residency, budget, library in made:
        residency.close()
        assert budget.used == 0
        assert all(reader.closed == 1 for reader in library.readers)
    assert memfds() == []


def asker(owner: str = "me", go_on=lambda: True) -> Asker:
    """Make somebody who asks."""
    return Asker(owner, f"process {owner}", go_on)


def unit_bytes(residency, version) -> int:
    """What one whole unit takes in memory."""
    with_one = residency.windows.open(version, None, asker())
    hold = residency.windows.hold(with_one, [0], asker())
    size = residency.statistics().versions[0].bytes
    hold.release()
    with_one.release()
    residency.evict(version)
    return size


def columns_of(hold):
    """Read a window as clients do."""
    return open_columns(hold.layout, Descriptors([os.dup(fd) for fd in hold.descriptors]), ReadCounters())


def open_until_the_end(residency, version):
    """Open a version again and again."""
    while True:
        residency.windows.open(version, None, asker()).release()


def first_rows(hold) -> list[int]:
    """Return the first byte of each row: its number."""
    return columns_of(hold)["image"].array[:, 0].tolist()


# -- every row, once ---------------------------------------------------------------------------------------------------


def test_every_row_comes_exactly_once_in_random_windows(make):
    """In any order of units, with all kinds of columns, in a budget of a quarter of them; the seed is printed."""
    seed = random.randrange(1 << 32)
    print("seed", seed)  # noqa: T201 - shown when it fails
    chance = random.Random(seed)
    table = _mixed()
    residency, _, version = make(table, limit=6 << 20)
    limit = 3 * unit_bytes(residency, version) + (64 << 10)
    residency, _, version = make(table, limit=limit)
    stream = residency.windows.open(version, None, asker())
    assert (stream.units.rows, stream.units.count) == (UNIT_ROWS, UNITS)
    for _ in range(3):
        order = chance.sample(range(UNITS), UNITS)
        seen = []
        while order:
            count = chance.randrange(1, 4)
            window, order = order[:count], order[count:]
            if UNITS - 1 in window:
                window.remove(UNITS - 1)
                window.append(UNITS - 1)
            hold = residency.windows.hold(stream, window, asker())
            assert residency.statistics().used_bytes <= limit
            numbers = first_rows(hold)
            columns = columns_of(hold)
            taken = np.array(chance.sample(range(len(numbers)), len(numbers)))
            rows = table.take([numbers[place] for place in taken])
            assert columns["text"].take(taken).rows() == rows["text"].to_pylist()
            assert columns["place"].take(taken) == rows["place"].to_pylist()
            seen += numbers
            del columns
            hold.release()
        assert sorted(seen) == list(range(ROWS))
    stream.release()


def test_units_are_shared_by_all_readers(make):
    """Also by those who read other columns of the same version: what is hot is not read again."""
    residency, library, version = make(_mixed())
    one = residency.windows.open(version, ["image"], asker("a"))
    two = residency.windows.open(version, ["image", "text"], asker("b"))
    library.read.clear()
    first = residency.windows.hold(one, [3, 4], asker("a"))
    again = residency.windows.hold(one, [4, 3], asker("c"))
    assert set(library.read.values()) == {1}
    assert [segment.id for segment in again.layout.columns[0].segments] == [
        segment.id for segment in reversed(first.layout.columns[0].segments)
    ]
    other = residency.windows.hold(two, [4], asker("b"))
    assert other.layout.columns[0].segments == first.layout.columns[0].segments[1:]
    for hold in (first, again, other, one, two):
        hold.release()


def test_one_load_for_many(make):
    """Whoever wants a unit that somebody loads waits for that."""
    residency, library, version = make()
    stream = residency.windows.open(version, None, asker())
    with ThreadPoolExecutor(8) as threads:
        holds = list(threads.map(lambda n: residency.windows.hold(stream, [2, 3], asker(str(n))), range(8)))
    assert set(library.read.values()) == {1}
    for hold in (*holds, stream):
        hold.release()


def test_consecutive_units_are_read_in_one_pass(make):
    """And the store's version is opened once for all windows."""
    residency, library, version = make()
    stream = residency.windows.open(version, None, asker())
    residency.windows.hold(stream, [5, 3, 4, 8], asker()).release()
    residency.windows.hold(stream, [0], asker()).release()
    assert len(library.readers) == 1
    assert len(library.readers[0].asked) == 3
    stream.release()
    assert library.readers[0].closed == 1


@pytest.mark.parametrize("column", ["lists", "fixed lists"])
def test_lists_that_turn_out_to_have_null_items(make, column):
    """From then on the column is ARROW in all windows, also for the units that had none."""
    rows = UNIT_ROWS * 4
    values = [[number] * 31 + [None if number == rows - 1 else 1] for number in range(rows)]
    kind = pa.list_(pa.int64()) if column == "lists" else pa.list_(pa.int64(), 32)
    residency, _, version = make(_fixed(rows).append_column("l", pa.array(values, kind)))
    stream = residency.windows.open(version, None, asker())
    before = residency.windows.hold(stream, [0], asker())
    if column == "lists":
        # Slices of lists of fixed length show the items of their neighbours, too.
        assert before.layout.columns[1].kind is ColumnKind.VARIABLE
    for window in ([3], [0, 1], [0, 3], [2]):
        hold = residency.windows.hold(stream, window, asker())
        assert hold.layout.columns[1].kind is ColumnKind.ARROW
        places = np.arange(hold.layout.num_rows)
        assert columns_of(hold)["l"].take(places) == [values[number] for number in first_rows(hold)]
        hold.release()
    assert columns_of(before)["image"].rows == UNIT_ROWS
    before.release()
    stream.release()


def test_a_version_without_rows(make):
    """Has no units, and so no windows."""
    residency, _, version = make(_mixed(0))
    stream = residency.windows.open(version, None, asker())
    assert (stream.units.count, stream.window_units) == (0, 1)
    with pytest.raises(InvalidArgument, match="no unit 0"):
        residency.windows.hold(stream, [0], asker())
    stream.release()


# -- room --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def size(make):
    """What one unit takes."""
    residency, _, version = make()
    return unit_bytes(residency, version)


@pytest.mark.parametrize(("budget", "window"), [(1, 1), (2, 1), (3, 1), (5, 2), (8, 4), (100, UNITS)])
def test_two_windows_fit(make, size, budget, window):
    """A window has as many units as half of the budget holds, at least one, at most all."""
    residency, _, version = make(limit=budget * size + size // 2)
    with_it = residency.windows.open(version, None, asker())
    assert with_it.window_units == window
    with_it.release()


def test_rows_of_no_fixed_width_are_measured(make):
    """Where the store's bytes say too little, since they are compressed, windows are smaller and fit all the same."""
    table = pa.table({"text": ["x" * 40_000 for _ in range(256)]})
    residency, _, version = make(table, limit=8 << 20)
    stream = residency.windows.open(replace(version, num_bytes=256 * 2000), None, asker())
    hold = residency.windows.hold(stream, list(range(stream.window_units)), asker())
    assert stream.units.need() * 20 < residency.statistics().used_bytes <= 4 << 20
    hold.release()
    stream.release()


def test_what_one_column_takes_says_nothing_of_others(make):
    """Where texts were guessed far too small, windows of images alone are as large as ever."""
    rows = UNIT_ROWS * UNITS
    table = _fixed(rows).append_column("text", pa.array(["x" * 30_000] * rows))
    window_units = []
    for columns in (["image"], ["text"]):
        residency, _, version = make(table, limit=1 << 20)
        version = replace(version, num_bytes=rows * (WIDTH + 100))
        # What is known of a version is known for as long as somebody reads it.
        first = residency.windows.open(version, columns, asker())
        images = residency.windows.open(version, ["image"], asker())
        window_units.append(images.window_units)
        residency.windows.hold(images, list(range(images.window_units)), asker()).release()
        for stream in (first, images):
            stream.release()
    assert window_units[0] == window_units[1] > 1


def _twins() -> pa.Table:
    """Two columns that are equally large."""
    return _fixed().append_column("other", _fixed()["image"])


def test_other_columns_of_the_same_units_make_room(make, size, monkeypatch):
    """As other units do: a window that fits by itself is had, whatever is hot of columns that nobody holds."""
    residency, library, version = make(_twins(), limit=8 * size)
    others, images = (residency.windows.open(version, [name], asker()) for name in ("other", "image"))
    residency.windows.hold(others, list(range(7)), asker("a")).release()
    forgotten = []
    monkeypatch.setattr(residency._loading, "forget", forgotten.append)
    hold = residency.windows.hold(images, list(range(7)), asker("b"))
    assert first_rows(hold) == list(range(7 * UNIT_ROWS))
    # As many went as had to, and the writer to the disk was told.
    assert residency.statistics().used_bytes == 8 * size
    assert sorted(key.unit for key in forgotten) == list(range(6))
    library.read.clear()
    residency.windows.hold(others, [6], asker("a")).release()
    assert not library.read
    hold.release()
    residency.windows.hold(images, list(range(8)), asker("b")).release()
    assert residency.statistics().used_bytes == 8 * size
    with pytest.raises(NoSpace, match="ask for at most 8 units at once"):
        residency.windows.hold(images, list(range(9)), asker("b"))
    for stream in (others, images):
        stream.release()


def test_other_columns_that_somebody_holds_are_waited_for(make, size):
    """They stay as they are until then; nobody is refused for good."""
    residency, _, version = make(_twins(), limit=3 * size)
    others, images = (residency.windows.open(version, [name], asker()) for name in ("other", "image"))
    held = residency.windows.hold(others, [0, 1], asker("a"))
    with ThreadPoolExecutor(1) as threads:
        waiting = comes(threads, residency, images, [0, 1], "b")
        assert columns_of(held)["other"].array[:, 0].tolist() == list(range(2 * UNIT_ROWS))
        with pytest.raises(NoSpace, match="others wait for room"):
            residency.windows.hold(images, [0], asker("a"), at_once=True)
        held.release()
        hold = waiting.result(WAIT)
    assert first_rows(hold) == list(range(2 * UNIT_ROWS))
    for each in (hold, others, images):
        each.release()


def test_what_was_asked_ahead_is_kept_from_what_is_asked_ahead_of_other_columns(make, size):
    """A window that is read has the room all the same."""
    residency, library, version = make(_twins(), limit=2 * size)
    others, images = (residency.windows.open(version, [name], asker()) for name in ("other", "image"))
    residency.windows.ahead(others, [0, 1], asker("a"))
    library.read.clear()
    residency.windows.ahead(images, [0, 1], asker("b"))
    assert not library.read
    residency.windows.hold(images, [0, 1], asker("b")).release()
    residency.windows.hold(others, [0, 1], asker("a")).release()
    assert residency.statistics().used_bytes == 2 * size
    for stream in (others, images):
        stream.release()


def test_other_columns_make_room_for_rows_that_take_more_than_was_guessed(make, size):
    """Also for what is known only while it is loaded."""
    rows = UNIT_ROWS * UNITS
    table = _fixed(rows).append_column("text", pa.array(["x"] * UNIT_ROWS + ["x" * 2000] * (rows - UNIT_ROWS)))
    residency, _, version = make(table, limit=4 * size)
    version = replace(version, num_bytes=rows * (WIDTH + 2))
    images, texts = (residency.windows.open(version, [name], asker()) for name in ("image", "text"))
    numbers = [1, 2, 3]
    residency.windows.hold(images, numbers, asker("a")).release()
    hold = residency.windows.hold(texts, numbers, asker("b"))
    assert columns_of(hold)["text"].take(np.arange(2)).rows() == ["x" * 2000] * 2
    assert residency.statistics().used_bytes <= 4 * size
    for each in (hold, images, texts):
        each.release()


def test_windows_of_large_budgets_fit_into_a_packet(make, monkeypatch):
    """And do not take all descriptors of their readers."""
    monkeypatch.setattr(windows, "_MOST_UNITS", 3)
    residency, _, version = make()
    stream = residency.windows.open(version, None, asker())
    assert stream.window_units == 3
    stream.release()


def test_no_unit_fits(make, size):
    """The stream is refused with both numbers."""
    residency, _, version = make(limit=size // 2)
    with pytest.raises(NoSpace, match=r"1 unit of datasets/x@v1 take .* KiB .* whole budget is .* leave out") as error:
        residency.windows.open(version, None, asker())
    assert error.value.details["need"] > error.value.details["budget"] == size // 2


def test_a_window_that_can_never_fit(make, size):
    """It is refused at once, and nothing goes for it."""
    residency, _, version = make(limit=3 * size)
    stream = residency.windows.open(version, None, asker())
    residency.windows.hold(stream, [0, 1], asker()).release()
    with pytest.raises(NoSpace, match=r"4 units of datasets/x@v1 .* ask for at most 3 units at once"):
        residency.windows.hold(stream, [2, 3, 4, 5], asker())
    assert residency.statistics().versions[0].bytes == 2 * size
    stream.release()


def test_held_units_never_go_and_idle_ones_go_first(make, size):
    """The longest unused of those that nobody holds."""
    residency, library, version = make(limit=4 * size)
    stream = residency.windows.open(version, None, asker())
    held = residency.windows.hold(stream, [0, 1], asker())
    content = first_rows(held)
    for unit in (2, 3, 4, 5, 3):
        residency.windows.hold(stream, [unit], asker()).release()
    library.read.clear()
    again = residency.windows.hold(stream, [1, 0], asker())
    residency.windows.hold(stream, [3], asker()).release()
    assert not library.read
    assert first_rows(held) == content
    for hold in (held, again, stream):
        hold.release()


def test_units_go_before_whole_versions(make, size, make_version):
    """Even active ones of other resources stay hot while others are streamed; without room they go in the end."""
    residency, library, version = make(_fixed(), limit=12 * size)
    other = make_version(library.table, "other")
    residency.set_active("datasets", "other", other.semver)
    residency.open(other).release()
    stream = residency.windows.open(version, None, asker())
    for unit in range(UNITS - 1):
        residency.windows.hold(stream, [unit], asker()).release()
    assert residency.is_hot(other)
    residency.windows.hold(stream, list(range(8)), asker()).release()
    assert not residency.is_hot(other)
    stream.release()


def test_descriptors_are_given_back_before_they_are_all_taken(make):
    """A budget with room for more units than this process may have files does not end in a refusal."""
    # Other tests in this process may have left it many: what segments leave to others must hold these.
    others = len(list(Path("/proc/self/fd").iterdir())) + 16
    limit = int(others / (1 - shelf._SEGMENTS)) + 1
    count = limit
    residency, _, version = make(_fixed(UNIT_ROWS * count))
    stream = residency.windows.open(version, None, asker())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        for unit in range(count):
            residency.windows.hold(stream, [unit], asker()).release()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert 0 < residency.statistics().versions[0].segments < count
    stream.release()


def test_a_window_waits_for_room_that_others_hold(make, size):
    """It gets it as soon as they let go."""
    residency, _, version = make(limit=2 * size)
    stream = residency.windows.open(version, None, asker())
    held = residency.windows.hold(stream, [0, 1], asker("a"))
    started = threading.Event()

    def asks():
        started.set()
        return True

    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(residency.windows.hold, stream, [2, 3], asker("b", asks))
        assert started.wait(WAIT)
        held.release()
        waiting.result(WAIT).release()
    stream.release()


def test_a_window_does_not_wait_for_ever(make, size):
    """When nobody lets go it is refused, and the sentence says who has the room."""
    residency, _, version = make(limit=2 * size, patience=0.0)
    stream = residency.windows.open(version, None, asker())
    held = residency.windows.hold(stream, [0, 1], asker("a"))
    with pytest.raises(NoSpace, match=r"found no room in 0 s: .* are held by readers - close windows"):
        residency.windows.hold(stream, [2], asker("b"))
    held.release()
    residency.windows.hold(stream, [2], asker("b")).release()
    stream.release()


def test_who_hangs_up_waits_no_longer(make, size):
    """Neither for room nor for a load."""
    residency, library, version = make(limit=2 * size)
    stream = residency.windows.open(version, None, asker())
    held = residency.windows.hold(stream, [0, 1], asker("a"))
    with pytest.raises(Unavailable, match="is gone"):
        residency.windows.hold(stream, [2], asker("b", lambda: False))
    held.release()
    there = True

    def gone():
        nonlocal there
        there = False

    library.before_batch = gone
    with pytest.raises(Unavailable, match="cancelled"):
        residency.windows.hold(stream, [4], asker("b", lambda: there))
    library.before_batch = lambda: None
    residency.windows.hold(stream, [4], asker("c")).release()
    stream.release()


def test_many_readers_in_a_small_budget(make, size):
    """Readers that hold one window at a time all come through, whatever they ask for; the seed is printed."""
    seed = random.randrange(1 << 32)
    print("seed", seed)  # noqa: T201 - shown when it fails
    residency, _, version = make(limit=4 * size)
    stream = residency.windows.open(version, None, asker())

    def read(number: int) -> list[int]:
        chance = random.Random(seed + number)
        seen = []
        order = chance.sample(range(UNITS - 1), UNITS - 1)
        for start in range(0, len(order), 2):
            hold = residency.windows.hold(stream, order[start : start + 2], asker(str(number)))
            if order[start + 2 :]:
                residency.windows.ahead(stream, order[start + 2 : start + 4], asker(str(number)))
            seen += first_rows(hold)
            hold.release()
        residency.windows.forget(str(number))
        return seen

    with ThreadPoolExecutor(6) as threads:
        for seen in threads.map(read, range(6)):
            assert sorted(seen) == list(range(UNIT_ROWS * (UNITS - 1)))
    assert residency.statistics().used_bytes <= 4 * size
    stream.release()


def test_many_readers_of_different_columns_in_a_small_budget(make, size):
    """All come through with their own rows, though they push each other's columns out; the seed is printed."""
    seed = random.randrange(1 << 32)
    print("seed", seed)  # noqa: T201 - shown when it fails
    residency, _, version = make(_twins(), limit=4 * size)

    def read(number: int) -> None:
        chance = random.Random(seed + number)
        names = (["image"], ["other"], ["image", "other"])[number % 3]
        stream = residency.windows.open(version, names, asker(str(number)))
        for _ in range(6):
            wanted, ahead = chance.sample(range(UNITS - 1), 2), chance.sample(range(UNITS - 1), 2)
            hold = residency.windows.hold(stream, wanted, asker(str(number)))
            residency.windows.ahead(stream, ahead, asker(str(number)))
            rows = [unit * UNIT_ROWS + row for unit in wanted for row in range(UNIT_ROWS)]
            columns = columns_of(hold)
            assert [columns[name].array[:, 0].tolist() for name in names] == [rows] * len(names)
            del columns
            hold.release()
        residency.windows.forget(str(number))
        stream.release()

    with ThreadPoolExecutor(6) as threads:
        for done in [threads.submit(read, number) for number in range(6)]:
            done.result(3 * WAIT)
    assert residency.statistics().used_bytes <= 4 * size


def test_a_window_at_once_waits_for_nobody(make, size):
    """Where others hold the room, or wait for some, it is refused; where there is room it is held beside the one before."""
    residency, _, version = make(limit=3 * size)
    stream = residency.windows.open(version, None, asker())
    held = residency.windows.hold(stream, [0], asker("a"))
    beside = residency.windows.hold(stream, [1], asker("a"), at_once=True)
    assert first_rows(held) + first_rows(beside) == list(range(2 * UNIT_ROWS))
    with pytest.raises(NoSpace):
        residency.windows.hold(stream, [2, 3], asker("a"), at_once=True)
    with ThreadPoolExecutor(1) as thread:
        started = threading.Event()

        def asks():
            started.set()
            return True

        waiting = thread.submit(residency.windows.hold, stream, [4, 5], asker("b", asks))
        assert started.wait(WAIT)
        while not residency.windows._waiting:
            assert not waiting.done()
        with pytest.raises(NoSpace, match="others wait for room"):
            residency.windows.hold(stream, [2], asker("a"), at_once=True)
        beside.release()
        waiting.result(WAIT).release()
    residency.windows.hold(stream, [2], asker("a"), at_once=True).release()
    held.release()
    assert residency.statistics().used_bytes <= 3 * size
    stream.release()


def test_many_readers_that_take_a_second_window_at_once(make, size):
    """However they meet, nobody waits for one who waits: all come through. The seed is printed."""
    seed = random.randrange(1 << 32)
    print("seed", seed)  # noqa: T201 - shown when it fails
    residency, _, version = make(limit=4 * size)
    stream = residency.windows.open(version, None, asker())

    def read(number: int) -> list[int]:
        order = random.Random(seed + number).sample(range(UNITS - 1), UNITS - 1)
        windows = [order[start : start + 2] for start in range(0, len(order), 2)]
        seen, coming = [], None
        for place, wanted in enumerate(windows):
            hold = coming or residency.windows.hold(stream, wanted, asker(str(number)))
            coming = None
            if windows[place + 1 :]:
                with suppress(NoSpace):
                    coming = residency.windows.hold(stream, windows[place + 1], asker(str(number)), at_once=True)
            seen += first_rows(hold)
            hold.release()
        return seen

    with ThreadPoolExecutor(6) as threads:
        for seen in threads.map(read, range(6)):
            assert sorted(seen) == list(range(UNIT_ROWS * (UNITS - 1)))
    assert residency.statistics().used_bytes <= 4 * size
    stream.release()


# -- ahead -------------------------------------------------------------------------------------------------------------


def test_what_was_asked_ahead_is_hot(make):
    """The window reads nothing more."""
    residency, library, version = make()
    stream = residency.windows.open(version, None, asker())
    residency.windows.ahead(stream, [UNITS - 1, 4], asker())
    library.read.clear()
    residency.windows.hold(stream, [4, UNITS - 1], asker()).release()
    assert not library.read
    stream.release()


def test_ahead_does_nothing_without_room(make, size):
    """Neither what is held nor what others asked for ahead goes for it; a window may have the latter."""
    residency, library, version = make(limit=3 * size)
    stream = residency.windows.open(version, None, asker())
    held = residency.windows.hold(stream, [0], asker("a"))
    residency.windows.ahead(stream, [1, 2], asker("a"))
    library.read.clear()
    residency.windows.ahead(stream, [3], asker("b"))
    assert not library.read
    residency.windows.hold(stream, [4], asker("b")).release()
    library.read.clear()
    residency.windows.hold(stream, [2], asker("a")).release()
    assert not library.read
    for hold in (held, stream):
        hold.release()


def test_what_was_read_may_go_for_what_is_asked_ahead(make, size):
    """By the same reader and by others."""
    residency, library, version = make(limit=2 * size)
    stream = residency.windows.open(version, None, asker())
    residency.windows.ahead(stream, [0, 1], asker("a"))
    residency.windows.hold(stream, [0], asker("a")).release()
    residency.windows.ahead(stream, [2], asker("b"))
    library.read.clear()
    residency.windows.hold(stream, [1, 2], asker("a")).release()
    assert not library.read
    stream.release()


def test_forgotten_promises_keep_nothing(make, size):
    """What a reader asked for that has ended may go for others."""
    residency, library, version = make(limit=2 * size)
    stream = residency.windows.open(version, None, asker())
    residency.windows.ahead(stream, [0, 1], asker("a"))
    residency.windows.forget("a")
    residency.windows.ahead(stream, [2, 3], asker("b"))
    library.read.clear()
    residency.windows.hold(stream, [2, 3], asker("b")).release()
    assert not library.read
    stream.release()


def test_who_asks_for_more_and_more_gives_up_the_oldest(make, size):
    """Two windows at most are kept for one reader."""
    residency, library, version = make(limit=4 * size)
    stream = residency.windows.open(version, None, asker())
    assert stream.window_units == 2
    residency.windows.ahead(stream, [0, 1, 2, 3], asker("a"))
    residency.windows.ahead(stream, [0, 1, 2, 3], asker("a"))
    residency.evict(version)
    residency.windows.ahead(stream, [4, 5, 6, 7], asker("a"))
    residency.windows.ahead(stream, [0], asker("b"))
    library.read.clear()
    residency.windows.hold(stream, [4, 5, 6, 7], asker("a")).release()
    assert not library.read
    stream.release()


def test_ahead_ends_with_its_reader(make):
    """Between two steps, and within one; what came before stays."""
    residency, library, version = make()
    stream = residency.windows.open(version, None, asker())
    there = True

    def gone():
        nonlocal there
        there = False

    library.before_batch = gone
    residency.windows.ahead(stream, [0, 1], asker("a", lambda: there))
    library.read.clear()
    residency.windows.ahead(stream, [2], asker("a", lambda: False))
    assert not library.read
    assert residency.statistics().used_bytes == 0
    stream.release()


def test_ahead_tells_nobody_of_faults(make):
    """The window that asks in earnest does."""
    residency, library, version = make()
    stream = residency.windows.open(version, None, asker())
    library.served = False
    residency.windows.ahead(stream, [0], asker())
    with pytest.raises(NotFound, match="was deleted"):
        residency.windows.hold(stream, [0], asker())
    stream.release()


# -- faults ------------------------------------------------------------------------------------------------------------


def test_a_load_that_fails_leaves_nothing(make):
    """All who wait are told; a later window tries again, with the version opened anew."""
    residency, library, version = make()
    stream = residency.windows.open(version, None, asker())
    together = threading.Barrier(2)

    def fail():
        together.wait(WAIT)
        raise Unavailable("the store is down", what="store")

    library.before_batch = fail
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(residency.windows.hold, stream, [1, 2], asker("a"))
        together.wait(WAIT)
        with pytest.raises(Unavailable, match="the store is down"):
            first.result(WAIT)
    assert residency.statistics().versions == ()
    library.before_batch = lambda: None
    residency.windows.hold(stream, [1, 2], asker("a")).release()
    assert len(library.readers) == 2
    stream.release()


def test_a_fault_of_another_column_is_not_that_of_a_window_without_it(make):
    """Who waits for a load of more columns loads its own when that fails for what is corrupt."""
    residency, library, version = make(_mixed())
    every, one = (residency.windows.open(version, names, asker(str(names))) for names in (None, ["text"]))
    reached, going_on = threading.Event(), threading.Event()

    def fail():
        library.before_batch = lambda: None
        reached.set()
        assert going_on.wait(WAIT)
        raise Corrupt("bad page", expected=1, found=2)

    library.before_batch = fail
    with ThreadPoolExecutor(2) as threads:
        failing = threads.submit(residency.windows.hold, every, [2], asker("a"))
        assert reached.wait(WAIT)
        waiting = threads.submit(residency.windows.hold, one, [2], asker("b"))
        while len(residency._shelf.units(version)[-1].holders) < 2:
            assert not waiting.done()
            time.sleep(0.01)
        going_on.set()
        with pytest.raises(Corrupt, match="bad page"):
            failing.result(WAIT)
        hold = waiting.result(WAIT)
    assert [column.name for column in hold.layout.columns] == ["text"]
    for held in (hold, one, every):
        held.release()


@dataclass
class _Stop:
    """Stops the load of a unit in its first batch, until the test lets it go, and then ends it with a fault, if any."""

    library: Library
    unit: int
    fault: Exception | None = None
    reached: threading.Event = field(default_factory=threading.Event)
    going_on: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self):
        self.library.read.clear()
        self.library.before_batch = self._batch

    def _batch(self):
        if not self.library.read[UNIT_ROWS * self.unit]:
            return
        self.library.before_batch = lambda: None
        self.reached.set()
        assert self.going_on.wait(WAIT)
        if self.fault is not None:
            raise self.fault


def comes(threads, residency, stream, numbers, owner):
    """Let somebody ask for a window, and return when he has joined the loads of others."""
    asked = threading.Event()

    def asks():
        asked.set()
        return True

    coming = threads.submit(residency.windows.hold, stream, numbers, asker(owner, asks))
    assert asked.wait(WAIT)
    # He is asked under the lock, and keeps it until he waits.
    residency.statistics()
    return coming


def test_a_fault_of_another_unit_is_not_that_of_a_window_without_it(make):
    """Who wants but one of the units that failed together loads that; who wants all of them shares the fault."""
    residency, library, version = make()
    stream = residency.windows.open(version, None, asker())
    stop = _Stop(library, 1, Corrupt("bad page", expected=1, found=2))
    with ThreadPoolExecutor(3) as threads:
        failing = threads.submit(residency.windows.hold, stream, [1, 3], asker("a"))
        assert stop.reached.wait(WAIT)
        same, other = (comes(threads, residency, stream, numbers, "b") for numbers in ([3, 1, 5], [3]))
        stop.going_on.set()
        for each in (failing, same):
            with pytest.raises(Corrupt, match="bad page"):
                each.result(WAIT)
        hold = other.result(WAIT)
    assert library.read[UNIT_ROWS] == 1
    assert first_rows(hold) == list(range(3 * UNIT_ROWS, 4 * UNIT_ROWS))
    for held in (hold, stream):
        held.release()


def test_one_who_hangs_up_spoils_no_window_of_others(make):
    """What his claim had not begun to read is read by those who wait for it."""
    residency, library, version = make(_mixed())
    every, one = (residency.windows.open(version, names, asker()) for names in (["image", "text"], ["text"]))
    images = residency.windows.open(version, ["image"], asker())
    # Now two units lack different columns, and are read one after the other.
    residency.windows.hold(images, [3], asker()).release()
    there = True
    stop = _Stop(library, 1)
    with ThreadPoolExecutor(2) as threads:
        leaving = threads.submit(residency.windows.hold, every, [1, 3], asker("a", lambda: there))
        assert stop.reached.wait(WAIT)
        waiting = comes(threads, residency, one, [3], "b")
        there = False
        stop.going_on.set()
        with pytest.raises(Unavailable, match="cancelled"):
            leaving.result(WAIT)
        hold = waiting.result(WAIT)
    assert hold.layout.num_rows == UNIT_ROWS
    for held in (hold, every, one, images):
        held.release()


def test_the_end_of_a_stream_spoils_no_window_of_others(make):
    """What it was asked ahead for is read by those who wait for it, from streams of their own."""
    residency, library, version = make()
    ending = residency.windows.open(version, None, asker("a"))
    stop = _Stop(library, 1)
    with ThreadPoolExecutor(2) as threads:
        ahead = threads.submit(residency.windows.ahead, ending, [1, 3], asker("a"))
        assert stop.reached.wait(WAIT)
        ending.release()
        stream = residency.windows.open(version, None, asker("b"))
        waiting = comes(threads, residency, stream, [1, 3], "b")
        stop.going_on.set()
        ahead.result(WAIT)
        hold = waiting.result(WAIT)
    assert (library.read[UNIT_ROWS], library.read[3 * UNIT_ROWS]) == (1, 1)
    for held in (hold, stream):
        held.release()


def test_what_left_the_disk_while_it_was_claimed_takes_no_memory(make, monkeypatch):
    """Units that were on the disk a moment ago are refused as those that never were, before anything is taken."""
    residency, library, version = make()
    stream = residency.windows.open(version, None, asker())
    monkeypatch.setattr(residency._loading, "maps_at_once", lambda *_: True)
    with pytest.raises(NoSpace, match="has left the disk in part"):
        residency.windows.hold_mapped(stream, asker())
    statistics = residency.statistics()
    assert (statistics.used_bytes, statistics.versions, library.read.total()) == (0, (), 0)
    stream.release()


def test_loads_end_whatever_goes_wrong(make, monkeypatch):
    """Also when their room cannot be given back: nobody waits for them for ever."""
    residency, library, version = make()
    stream = residency.windows.open(version, None, asker())
    give = residency.windows.give_room

    def fail(size):
        give(size)
        raise RuntimeError("the books are wrong")

    monkeypatch.setattr(residency.windows, "give_room", fail)
    library.served = False
    with pytest.raises(RuntimeError, match="the books are wrong"):
        residency.windows.hold(stream, [0], asker())
    assert residency.statistics().versions == ()
    stream.release()


def test_what_was_loaded_before_a_fault_stays(make):
    """Passes that came to their end count."""
    residency, library, version = make()
    stream = residency.windows.open(version, None, asker())
    before = library.open

    def broken():
        if library.read[UNIT_ROWS * 6]:
            raise Unavailable("the store is down", what="store")

    library.before_batch = broken
    with pytest.raises(Unavailable, match="the store is down"):
        residency.windows.hold(stream, [2, 6], asker())
    library.open = before
    library.before_batch = lambda: None
    library.read.clear()
    residency.windows.hold(stream, [2], asker()).release()
    assert not library.read
    stream.release()


def test_the_end_of_a_stream_does_not_wait_for_the_store(make):
    """The door's thread ends streams, also while the store lets one wait that opens the version."""
    residency, library, version = make()
    stream = residency.windows.open(version, None, asker())
    reached, going_on = threading.Event(), threading.Event()
    opened = library.open

    def slowly(version):
        reached.set()
        assert going_on.wait(2 * WAIT)
        return opened(version)

    library.open = slowly
    with ThreadPoolExecutor(2) as threads:
        running = threads.submit(residency.windows.hold, stream, [0], asker())
        assert reached.wait(WAIT)
        try:
            threads.submit(stream.release).result(WAIT)
        finally:
            going_on.set()
        with pytest.raises(Unavailable, match="was closed before it was read"):
            running.result(WAIT)


# -- statistics, eviction, the end -------------------------------------------------------------------------------------


def test_units_are_one_line_in_the_statistics(make, size):
    """With what they take together; the role is that of the version."""
    residency, _, version = make()
    residency.set_active("datasets", "x", version.semver)
    stream = residency.windows.open(version, None, asker())
    held = residency.windows.hold(stream, [0, 4, 9], asker("a"))
    other = residency.windows.hold(stream, [0], asker("b"))
    (line,) = residency.statistics().versions
    assert (line.role, line.status, line.leases, line.segments) == (Role.ACTIVE, Status.HOT, 2, 3)
    assert (line.rows, line.columns) == (2 * UNIT_ROWS + UNIT_ROWS - 5, ("image",))
    assert 2 * size < line.bytes <= 3 * size
    assert line.last_opened_at is not None
    assert residency.resident("datasets", "x") == [version]
    assert not residency.is_hot(version)
    assert residency.statistics().evictions == 0
    for hold in (held, other, stream):
        hold.release()


def test_evict_drops_idle_units(make, size):
    """Held ones stay; when nothing else is there the holders are named."""
    residency, _, version = make()
    stream = residency.windows.open(version, None, asker())
    held = residency.windows.hold(stream, [0], asker("a"))
    residency.windows.hold(stream, [1, 2], asker("b")).release()
    assert residency.evict(version) == 2 * size
    with pytest.raises(Leased, match="is read by 1: process a"):
        residency.evict(version)
    held.release()
    assert residency.evict(version) == size
    assert residency.evict(version) == 0
    stream.release()


def test_evict_during_a_load(make):
    """Is refused."""
    residency, library, version = make()
    stream = residency.windows.open(version, None, asker())
    refused = []

    def evict():
        try:
            residency.evict(version)
        except Conflict as error:
            refused.append(str(error))

    library.before_batch = evict
    residency.windows.ahead(stream, [0], asker())
    assert refused
    assert "is being loaded" in refused[0]
    stream.release()


def test_retired_units_go_with_their_last_window(make):
    """Those that nobody holds at once."""
    residency, _, version = make()
    stream = residency.windows.open(version, None, asker())
    held = residency.windows.hold(stream, [0], asker())
    residency.windows.hold(stream, [1], asker()).release()
    residency.retire(version)
    assert residency.statistics().versions[0].segments == 1
    held.release()
    assert residency.statistics().versions == ()
    stream.release()


def test_units_of_a_deleted_resource_go_when_its_name_is_taken_again(make):
    """They are not those of the new one."""
    residency, _, version = make()
    later = replace(version, operation="1" * 32)
    stream, other = (residency.windows.open(one, None, asker()) for one in (version, later))
    residency.windows.hold(stream, [0, 1], asker()).release()
    residency.windows.hold(other, [0], asker()).release()
    assert residency.statistics().versions[0].segments == 1
    stream.release()
    other.release()


def test_a_version_that_does_not_fit_evicts_nothing(make, size):
    """Whoever wants it as a whole is refused before anything goes."""
    residency, _, version = make(limit=5 * size)
    stream = residency.windows.open(version, None, asker())
    residency.windows.hold(stream, [0, 1, 2], asker()).release()
    assert residency.windows.could_stream(version)
    with pytest.raises(NoSpace):
        residency.prefetch(version)
    assert residency.statistics().versions[0].segments == 3
    stream.release()


def test_the_end_cuts_windows_off(make):
    """A load that is under way ends, and nobody gets another window."""
    residency, library, version = make()
    stream = residency.windows.open(version, None, asker())
    reached, closing = threading.Event(), threading.Event()

    def stop():
        reached.set()
        assert closing.wait(WAIT)

    library.before_batch = stop
    with ThreadPoolExecutor(2) as threads:
        running = threads.submit(residency.windows.hold, stream, [0, 1], asker())
        assert reached.wait(WAIT)
        ending = threads.submit(residency.close)
        # The end has begun when nothing new is begun any more.
        with pytest.raises(Unavailable, match="shutting down"):
            open_until_the_end(residency, version)
        closing.set()
        with pytest.raises(Unavailable):
            running.result(WAIT)
        ending.result(WAIT)
    with pytest.raises(Unavailable, match="shutting down"):
        residency.windows.hold(stream, [0], asker())
    stream.release()
