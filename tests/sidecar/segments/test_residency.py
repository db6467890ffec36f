"""What is hot: holds, one load for many, eviction and its order, pointers, statistics, the end."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pytest

from alluxio_lance.errors import Conflict, Corrupt, Internal, Leased, NoSpace, NotFound, Unavailable
from alluxio_lance.layout import Pages
from alluxio_lance.sidecar.budget import Budget
from alluxio_lance.sidecar.loader import load
from alluxio_lance.sidecar.loading import Loading
from alluxio_lance.sidecar.plan import make_plan
from alluxio_lance.sidecar.residency import CacheEvent, Residency
from alluxio_lance.sidecar.statistics import Role, Status

ROWS = 5000
WAIT = 20.0
"""Seconds after which a test that waits for an event has failed."""


def _table(rows: int = ROWS, start: int = 0) -> pa.Table:
    schema = pa.schema([pa.field("x", pa.int64(), nullable=False), pa.field("y", pa.float32(), nullable=False)])
    return pa.table([np.arange(start, start + rows), np.arange(rows, dtype=np.float32)], schema=schema)


@dataclass
class Library:
    """Tables by version, and what was opened of them."""

    make_reader: type
    make_version: object
    tables: dict = field(default_factory=dict)
    opened: Counter = field(default_factory=Counter)
    readers: list = field(default_factory=list)
    before_batch: object = lambda: None
    """Replaced by tests that stop a load."""

    def add(self, name: str = "x", version: int = 1, table: pa.Table | None = None):
        table = _table(start=version) if table is None else table
        made = self.make_version(table, name, version)
        self.tables[name, version] = table
        return made

    def _before_batch(self) -> None:
        self.before_batch()

    def check(self, version):
        pass

    def warm(self, version, on_progress, go_on):
        return None

    def share(self, version):
        return None

    def open(self, version):
        self.opened[version.name, version.version] += 1
        reader = self.make_reader(self.tables[version.name, version.version], 1000, self._before_batch)
        self.readers.append(reader)
        return reader


@pytest.fixture
def library(table_double, make_version) -> Library:
    """Tables that residencies of this test can open."""
    return Library(table_double, make_version)


@pytest.fixture
def size(table_double, budget) -> int:
    """Bytes that one version takes."""
    table = _table()
    hot = load(table_double(table), make_plan(table.schema, ROWS, label="l", shard_bytes=1), budget)
    for column in hot:
        column.close()
    return sum(column.bytes for column in hot)


@pytest.fixture
def events() -> list[CacheEvent]:
    """What the residencies of this test told."""
    return []


@pytest.fixture
def open_residency(library, events, memfds):
    """Make residencies that are closed at the end, leaving no memfd and no claim."""
    made = []

    def make(limit: int = 1 << 30, **options) -> Residency:
        budget = Budget(limit, available=lambda: 1 << 40)
        residency = Residency(
            Loading(library), budget, shard_bytes=1, prefer=Pages.SMALL, on_event=events.append, **options
        )
        made.append((residency, budget))
        return residency

    yield make
    for residency, budget in made:
        residency.close()
        assert budget.used == 0
    assert memfds() == []
    assert all(reader.closed == 1 for reader in library.readers)


@pytest.fixture
def residency(open_residency) -> Residency:
    """A residency with room for everything."""
    return open_residency()


def _said(events: list[CacheEvent]) -> list[tuple[str, str, int]]:
    return [(event.event, event.version.name, event.version.version) for event in events]


def _in_threads(count: int, work) -> list[object]:
    """Run the same in many threads and return what each returned or raised."""
    results: list[object] = []

    def run() -> None:
        try:
            results.append(work())
        except Exception as error:  # noqa: BLE001 - handed to the test
            results.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
        assert not thread.is_alive()
    return results


# -- holds -------------------------------------------------------------------------------------------------------------


def test_a_hold_has_layout_and_descriptors(residency, library, map_segment):
    """An open gives the version's description and one descriptor per segment, columns in the order asked for."""
    version = library.add(version=7)
    hold = residency.open(version, ["y", "x"])
    assert hold.layout.uri == "alluxio://datasets/x@v7"
    assert (hold.layout.num_rows, hold.layout.shard_rows, hold.layout.content_hash) == (ROWS, 4096, "ab" * 32)
    assert [column.name for column in hold.layout.columns] == ["y", "x"]
    segments = [segment for column in hold.layout.columns for segment in column.segments]
    assert len(hold.descriptors) == len(segments) == 4
    table = pa.ipc.open_file(map_segment(segments[2], hold.descriptors[2])).read_all()
    assert table.column("x").to_pylist() == list(range(7, 7 + 4096))
    hold.release()
    hold.release()
    assert residency.statistics().versions[0].leases == 0


@pytest.mark.parametrize("nothing", [None, [], ()])
def test_no_columns_mean_all(residency, library, nothing):
    """An open that names none gets all, in the order of the schema."""
    hold = residency.open(library.add(), nothing)
    assert [column.name for column in hold.layout.columns] == ["x", "y"]
    hold.release()


def test_an_empty_version_is_opened_without_segments(residency, library):
    """A version without rows has columns, no segments, and takes no memory."""
    hold = residency.open(library.add(table=_table(0)))
    assert hold.descriptors == ()
    assert [column.segments for column in hold.layout.columns] == [(), ()]
    hold.release()


def test_only_missing_columns_are_loaded(residency, library):
    """A column that is hot is not read again, and an open that finds all hot reads nothing."""
    version = library.add()
    residency.open(version, ["y"]).release()
    assert residency.is_hot(version, ["y"])
    assert not residency.is_hot(version)
    residency.open(version).release()
    residency.open(version, ["x"]).release()
    assert [reader.asked for reader in library.readers] == [[["y"]], [["x"]]]
    found = residency.statistics()
    assert (found.opens, found.hits) == (3, 1)


def test_an_unknown_column_is_refused_before_any_load(residency, library, events):
    """The error lists the columns; nothing was opened and nothing is resident."""
    version = library.add()
    with pytest.raises(NotFound, match="no column 'z': its columns are x, y"):
        residency.open(version, ["z"])
    assert not library.opened
    assert residency.statistics().versions == ()
    assert events == []
    assert not residency.is_hot(version)


def test_what_is_hot_is_held_without_a_load(residency, library):
    """All columns that are wanted must be hot; then it is an open like any other, and else it is none at all."""
    version = library.add()
    assert residency.open_hot(version) is None
    residency.prefetch(version, ["y"])
    assert residency.open_hot(version) is None
    with pytest.raises(NotFound):
        residency.open_hot(version, ["z"])
    assert residency.statistics().opens == 0
    hold = residency.open_hot(version, ["y"], holder="me")
    assert [column.name for column in hold.layout.columns] == ["y"]
    assert (residency.statistics().opens, residency.statistics().hits) == (1, 1)
    with pytest.raises(Leased, match="me"):
        residency.evict(version)
    hold.release()
    residency.close()
    assert residency.open_hot(version, ["y"]) is None


def test_a_reader_with_its_own_descriptor_keeps_the_memory(residency, library, memfds):
    """Evicted memory is freed by the kernel, except what a reader still holds, and that stays readable."""
    version = library.add()
    hold = residency.open(version)
    own = os.dup(hold.descriptors[0])
    before = os.pread(own, 100, 4096)
    hold.release()
    assert residency.evict(version) > 0
    assert len(memfds()) == 1
    assert os.fstat(own).st_blocks > 0
    assert os.pread(own, 100, 4096) == before
    os.close(own)
    assert memfds() == []


# -- one load for many -------------------------------------------------------------------------------------------------


def test_concurrent_opens_share_one_load(residency, library):
    """Threads that want the same version at once cause one pass over its batches, and all get the same segments."""
    version = library.add()
    gate = threading.Barrier(8)

    def work():
        gate.wait(WAIT)
        return residency.open(version)

    holds = _in_threads(8, work)
    assert library.opened["x", 1] == 1
    assert len({hold.descriptors for hold in holds}) == 1
    assert residency.statistics().versions[0].leases == 8
    for hold in holds:
        hold.release()


class _Stopped:
    """A load that is stopped in its first batch until the test lets it go."""

    def __init__(self, library: Library, residency: Residency, version, **options) -> None:
        self.arrived, self.go = threading.Event(), threading.Event()
        library.before_batch = self._stop
        self.result: list[object] = []
        self.thread = threading.Thread(target=self._open, args=(residency, version), kwargs=options)
        self.thread.start()
        assert self.arrived.wait(WAIT)

    def _stop(self) -> None:
        self.arrived.set()
        assert self.go.wait(WAIT)

    def _open(self, residency: Residency, version, **options) -> None:
        try:
            self.result.append(residency.open(version, **options))
        except Exception as error:  # noqa: BLE001 - handed to the test
            self.result.append(error)

    def finish(self):
        self.go.set()
        self.thread.join(WAIT)
        assert not self.thread.is_alive()
        return self.result[0]


def _wait_for_listeners(residency: Residency, version, count: int) -> None:
    """Wait until so many callers wait for the load that is under way; there is no event to wait for."""
    load = residency._shelf.find(version).load
    for _ in range(10_000):
        if len(load._listeners) >= count:
            return
        threading.Event().wait(0.001)
    pytest.fail("the waiters never came")


def test_waiters_see_progress_and_then_get_their_columns(residency, library):
    """Who comes during a load is told how far it is, waits, and loads what is still missing for it."""
    version = library.add()
    first = _Stopped(library, residency, version, columns=["x"])
    told: list[int] = []
    results: list[object] = []
    second = threading.Thread(
        target=lambda: results.append(residency.open(version, ["y"], on_progress=lambda p: told.append(p.rows)))
    )
    second.start()
    _wait_for_listeners(residency, version, 1)
    assert residency.statistics().versions[0].status is Status.LOADING
    first.finish().release()
    second.join(WAIT)
    results[0].release()
    assert [reader.asked for reader in library.readers] == [[["x"]], [["y"]]]
    assert told[-1] == ROWS
    assert residency.statistics().versions[0].status is Status.HOT


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        (Unavailable("the store is gone", what="store"), Unavailable, "the store is gone"),
        (OSError("broken pipe"), Internal, "OSError: broken pipe"),
    ],
)
def test_waiters_get_the_error_of_the_load(residency, library, events, fault, kind, words):
    """A failed load fails for all who waited for it, each with an error of its own; the next open tries again."""
    version = library.add()
    first = _Stopped(library, residency, version)
    failed = _Stopped._stop.__get__(first)

    def fail() -> None:
        failed()
        raise fault

    library.before_batch = fail
    results: list[object] = []

    def wait() -> None:
        try:
            residency.open(version, on_progress=print)
        except Exception as error:  # noqa: BLE001 - handed to the test
            results.append(error)

    second = threading.Thread(target=wait)
    second.start()
    _wait_for_listeners(residency, version, 1)
    assert first.finish() is fault
    second.join(WAIT)
    assert isinstance(results[0], kind)
    assert words in str(results[0])
    assert results[0] is not fault
    library.before_batch = lambda: None
    assert _said(events) == [("loading", "x", 1), ("failed", "x", 1)]
    assert events[1].message == str(fault)
    found = residency.statistics()
    assert (found.failed_loads, found.used_bytes, found.versions) == (1, 0, ())
    residency.open(version).release()


@pytest.mark.parametrize(
    ("columns", "fault"),
    [
        (["x"], Corrupt("bad page", expected=1, found=2)),
        (["x", "y"], Corrupt("bad page", expected=1, found=2)),
        (["x", "y"], NoSpace("too much", need=2, budget=1)),
    ],
)
def test_a_waiter_for_other_columns_survives_the_failure(residency, library, columns, fault):
    """When a load fails for what it was to load, a caller that wanted others, or fewer, loads these."""
    version = library.add()
    first = _Stopped(library, residency, version, columns=columns)
    stop = first._stop

    def fail() -> None:
        library.before_batch = lambda: None
        stop()
        raise fault

    library.before_batch = fail
    results: list[object] = []
    second = threading.Thread(target=lambda: results.append(residency.open(version, ["y"], on_progress=print)))
    second.start()
    _wait_for_listeners(residency, version, 1)
    assert first.finish() is fault
    second.join(WAIT)
    assert [column.name for column in results[0].layout.columns] == ["y"]
    results[0].release()


def test_a_failed_load_of_more_columns_leaves_those_that_are_hot(residency, library):
    """What was hot before stays hot, and is there for the next open."""
    version = library.add()
    residency.open(version, ["x"]).release()

    def fail() -> None:
        raise Unavailable("the store is gone", what="store")

    library.before_batch = fail
    with pytest.raises(Unavailable, match="the store is gone"):
        residency.open(version)
    assert residency.statistics().versions[0].columns == ("x",)
    residency.open(version, ["x"]).release()


def test_a_load_that_nobody_wants_any_more_ends(residency, library, events):
    """It is no failure of the version, and the next one who wants it gets it."""
    version = library.add()
    wanted = iter([True, True])
    with pytest.raises(Unavailable, match="cancelled"):
        residency.prefetch(version, go_on=lambda: next(wanted, False))
    assert residency.statistics().failed_loads == 0
    assert _said(events)[-1] == ("failed", "x", 1)
    assert not residency.is_hot(version)
    residency.open(version).release()
    assert residency.is_hot(version)


def test_a_load_goes_on_for_whoever_waits_for_it(residency, library):
    """A reader that came while it ran, for one who wants it no longer."""
    version = library.add()
    began, came = threading.Event(), threading.Event()
    unwanted = threading.Event()

    def wait() -> None:
        began.set()
        assert came.wait(WAIT)

    library.before_batch = wait
    errors: list[object] = []

    def prefetch() -> None:
        errors.extend(_in_threads(1, lambda: residency.prefetch(version, go_on=lambda: not unwanted.is_set())))

    prefetching = threading.Thread(target=prefetch)
    prefetching.start()
    assert began.wait(WAIT)
    opening = threading.Thread(target=lambda: errors.extend(_in_threads(1, lambda: residency.open(version).release())))
    opening.start()
    load = residency._shelf.find(version).load
    deadline, pause = time.monotonic() + WAIT, threading.Event()
    while len(load._wishes) < 2:
        assert time.monotonic() < deadline
        pause.wait(0.01)
    unwanted.set()
    came.set()
    for thread in (prefetching, opening):
        thread.join(WAIT)
        assert not thread.is_alive()
    assert errors == [None, None]
    assert library.opened["x", 1] == 1


def test_nobody_needs_to_listen(library, budget):
    """Without a listener for events everything else works."""
    with Residency(Loading(library), budget, shard_bytes=1, prefer=Pages.SMALL) as residency:
        residency.open(library.add()).release()
        assert residency.statistics().versions[0].status is Status.HOT


# -- room --------------------------------------------------------------------------------------------------------------


def test_the_least_wanted_goes_first(open_residency, library, size, events):
    """Cached versions go before previous ones, these before active ones of others, each by least recent use."""
    residency = open_residency(limit=5 * size)
    a1, a2, b1, c1, c2 = (library.add(n, v) for n, v in [("a", 1), ("a", 2), ("b", 1), ("c", 1), ("c", 2)])
    residency.set_active("datasets", "b", "1.1.0")
    residency.set_active("datasets", "a", "1.1.0")
    residency.set_active("datasets", "a", "1.2.0")
    for version in (b1, a1, a2, c1, c2):
        residency.open(version).release()
    residency.open(c1).release()  # now c2 was used least recently
    roles = {(v.name, v.version): v.role for v in residency.statistics().versions}
    assert roles == {
        ("a", 1): Role.PREVIOUS,
        ("a", 2): Role.ACTIVE,
        ("b", 1): Role.ACTIVE,
        ("c", 1): Role.CACHED,
        ("c", 2): Role.CACHED,
    }
    events.clear()
    for number in range(1, 6):  # held, so that each newcomer needs room of its own
        residency.open(library.add("d", number))
    gone = [said for said in _said(events) if said[0] == "evicted"]
    assert [name[1:] for name in gone] == [("c", 2), ("c", 1), ("a", 1), ("b", 1), ("a", 2)]


def test_nothing_goes_in_vain(open_residency, library, size):
    """What cannot fit even with all idle versions gone is refused with budget and need, and evicts nothing."""
    residency = open_residency(limit=3 * size)
    held, idle = library.add("a"), library.add("b")
    hold = residency.open(held)
    residency.open(idle).release()
    with pytest.raises(NoSpace, match="raise ALLUXIO_LANCE_MEMORY_BUDGET") as refusal:
        residency.open(library.add("big", table=_table(6 * ROWS)))
    assert refusal.value.details["budget"] == 3 * size
    assert refusal.value.details["need"] > 2 * size
    assert residency.is_hot(held)
    assert residency.is_hot(idle)
    assert residency.statistics().evictions == 0
    hold.release()


def _alike(names: str) -> pa.Table:
    """Columns that are equally large."""
    schema = pa.schema([pa.field(name, pa.int64(), nullable=False) for name in names])
    return pa.table([np.arange(ROWS)] * len(names), schema=schema)


@pytest.fixture
def column_bytes(open_residency, library) -> int:
    """What one of these takes."""
    residency = open_residency()
    residency.open(library.add("one", table=_alike("x"))).release()
    return residency.statistics().used_bytes


def test_idle_columns_go_for_others_of_the_same_version(open_residency, library, column_bytes, events):
    """What fits by itself is had; the columns of the version that it was opened with stay, as far as they are hot."""
    residency = open_residency(limit=2 * column_bytes)
    version = library.add(table=_alike("xyz"))
    residency.open(version, ["x", "y"]).release()
    events.clear()
    residency.open(version, ["y", "z"]).release()
    assert [reader.asked for reader in library.readers[1:]] == [[["x", "y"]], [["z"]]]
    (line,) = residency.statistics().versions
    assert (line.columns, line.bytes) == (("y", "z"), 2 * column_bytes)
    # Something of the version was in memory all the time.
    assert _said(events) == [("loading", "x", 1), ("hot", "x", 1)]
    assert residency.statistics().evictions == 0


def test_a_version_of_which_all_columns_go_for_others_was_evicted(open_residency, library, column_bytes, events):
    """The books say so; when the load fails then, nothing of it is left."""
    residency = open_residency(limit=column_bytes)
    version = library.add(table=_alike("xy"))
    residency.open(version, ["x"]).release()
    events.clear()
    residency.open(version, ["y"]).release()
    assert _said(events) == [("loading", "x", 1), ("evicted", "x", 1), ("hot", "x", 1)]
    found = residency.statistics()
    assert (found.evictions, found.used_bytes, found.versions[0].columns) == (1, column_bytes, ("y",))

    def fail() -> None:
        raise Unavailable("the store is gone", what="store")

    library.before_batch = fail
    with pytest.raises(Unavailable, match="the store is gone"):
        residency.open(version, ["x"])
    assert (residency.statistics().versions, residency.statistics().used_bytes) == ((), 0)


def test_columns_that_are_held_do_not_go_for_others_of_the_same_version(open_residency, library, column_bytes):
    """Whoever wants these is refused, and those who came while they were loaded keep what they have."""
    residency = open_residency(limit=column_bytes)
    version = library.add(table=_alike("xy"))
    hold = residency.open(version, ["x"])
    with pytest.raises(NoSpace, match="make room with"):
        residency.open(version, ["y"])
    assert residency.is_hot(version, ["x"])
    hold.release()
    came: list[object] = []
    before = residency.make_room

    def somebody_comes(*args) -> None:
        came.append(residency.open_hot(version, ["x"]))
        before(*args)

    residency.make_room = somebody_comes
    with pytest.raises(NoSpace, match="make room with"):
        residency.open(version, ["y"])
    assert [os.fstat(fd).st_size > 0 for fd in came[0].descriptors] == [True] * len(came[0].descriptors)
    came[0].release()


def test_the_active_version_does_not_go_for_another_of_its_resource(open_residency, library, size):
    """Opening an old version by name is refused rather than pushing out what everybody reads."""
    residency = open_residency(limit=size)
    old, active = library.add(version=1), library.add(version=2)
    residency.set_active("datasets", "x", "1.2.0")
    residency.open(active).release()
    with pytest.raises(NoSpace):
        residency.open(old)
    assert residency.is_hot(active)


def test_a_version_that_is_loading_does_not_go(open_residency, library, size):
    """A load under way is never the one that makes room."""
    residency = open_residency(limit=size)
    loading = _Stopped(library, residency, library.add("a"))
    library.before_batch = lambda: None
    with pytest.raises(NoSpace):
        residency.open(library.add("b"))
    loading.finish().release()
    assert residency.is_hot(library.add("a"))


# -- eviction by command -----------------------------------------------------------------------------------------------


def test_evict_refuses_while_leased_and_frees_afterwards(residency, library, size, events):
    """A leased version stays, and the refusal names its holders; then it goes and its bytes are told."""
    version = library.add()
    holds = [residency.open(version, holder=name) for name in ("pid 1", "pid 2")]
    with pytest.raises(Leased, match="is read by 2: pid 1, pid 2") as refusal:
        residency.evict(version)
    assert refusal.value.details["holders"] == ["pid 1", "pid 2"]
    for hold in holds:
        hold.release()
    assert residency.evict(version) == size
    assert residency.evict(version) == 0
    assert _said(events) == [("loading", "x", 1), ("hot", "x", 1), ("evicted", "x", 1)]
    assert residency.statistics().used_bytes == 0


def test_evict_refuses_while_loading(residency, library):
    """A version on its way cannot be evicted."""
    version = library.add()
    loading = _Stopped(library, residency, version)
    with pytest.raises(Conflict, match="being loaded"):
        residency.evict(version)
    loading.finish().release()


# -- pointers ----------------------------------------------------------------------------------------------------------


def test_the_previous_version_stays_and_the_one_before_goes(residency, library):
    """After an update the old version stays for a rollback; after two the oldest goes, held ones with their last hold."""
    versions = [library.add(version=number) for number in (1, 2, 3, 4)]
    holds = []
    for version in versions:
        residency.set_active("datasets", "x", version.semver)
        residency.set_active("datasets", "x", version.semver)
        residency.prefetch(version)
        if version.version == 2:
            holds.append(residency.open(version))
    assert {(v.version, v.role) for v in residency.statistics().versions} == {
        (4, Role.ACTIVE),
        (3, Role.PREVIOUS),
        (2, Role.LEASED),
    }
    holds[0].release()
    assert {v.version for v in residency.statistics().versions} == {3, 4}


def test_a_rollback_finds_the_previous_version_hot(residency, library):
    """Moving the pointer back swaps the roles and loads nothing."""
    first, second = library.add(version=1), library.add(version=2)
    for version in (first, second):
        residency.set_active("datasets", "x", version.semver)
        residency.prefetch(version)
    residency.set_active("datasets", "x", "1.1.0")
    residency.open(first).release()
    assert library.opened == {("x", 1): 1, ("x", 2): 1}
    assert {(v.version, v.role) for v in residency.statistics().versions} == {(1, Role.ACTIVE), (2, Role.PREVIOUS)}


def test_a_retired_version_that_becomes_active_again_stays(residency, library):
    """What was to go with its last hold stays when the pointer comes back before."""
    versions = [library.add(version=number) for number in (1, 2, 3)]
    hold = residency.open(versions[0])
    for version in versions:
        residency.set_active("datasets", "x", version.semver)
    residency.set_active("datasets", "x", "1.1.0")
    hold.release()
    assert residency.is_hot(versions[0])


@pytest.mark.parametrize(("keep", "before", "after"), [(0, {2}, set()), (1, {1, 2}, {1})])
def test_a_deprecated_version_goes(open_residency, library, keep, before, after):
    """Without an active version nothing is kept for the resource but older previous ones."""
    residency = open_residency(keep_previous=keep)
    for number in (1, 2):
        residency.set_active("datasets", "x", f"1.{number}.0")
        residency.prefetch(library.add(version=number))
    assert {v.version for v in residency.statistics().versions} == before
    residency.set_active("datasets", "x", None)
    residency.set_active("datasets", "x", None)
    assert {v.version for v in residency.statistics().versions} == after


def test_a_version_that_is_let_go_goes_with_its_last_reader_and_is_no_previous_one(residency, library):
    """Deprecated or archived: nothing is rolled back to it any more; one that is not there changes nothing."""
    first, second = library.add(version=1), library.add(version=2)
    for version in (first, second):
        residency.set_active("datasets", "x", version.semver)
        residency.prefetch(version)
    hold = residency.open(first)
    assert residency.resident("datasets", "x") == [first, second]
    residency.retire(first)
    residency.retire(library.add("y"))
    assert {(v.version, v.role) for v in residency.statistics().versions} == {(1, Role.LEASED), (2, Role.ACTIVE)}
    hold.release()
    assert residency.resident("datasets", "x") == [second]
    residency.prefetch(first)
    assert {(v.version, v.role) for v in residency.statistics().versions} == {(1, Role.CACHED), (2, Role.ACTIVE)}


def test_a_branch_has_numbers_of_its_own(residency, library):
    """Version 2 of a branch is neither the active version 2 of the main line, nor does it go or stay with it."""
    main = library.add(version=2)
    branch = replace(library.add(version=2), branch="exp", semver="1.1.0-exp.2", operation="1" * 32)
    residency.set_active("datasets", "x", main.semver)
    for version in (main, branch):
        residency.prefetch(version)
    assert {(v.semver, v.role) for v in residency.statistics().versions} == {
        ("1.2.0", Role.ACTIVE),
        ("1.1.0-exp.2", Role.CACHED),
    }
    residency.retire(branch)
    assert residency.resident("datasets", "x") == [main]


def test_a_deleted_resource_is_forgotten(residency, library):
    """All versions of a deleted resource go, held ones with their last hold; others stay."""
    held, idle, other = library.add(version=1), library.add(version=2), library.add("y")
    residency.set_active("datasets", "x", "1.2.0")
    hold = residency.open(held)
    residency.prefetch(idle)
    residency.prefetch(other)
    residency.forget("datasets", "x")
    assert {(v.name, v.version, v.role) for v in residency.statistics().versions} == {
        ("x", 1, Role.LEASED),
        ("y", 1, Role.CACHED),
    }
    hold.release()
    assert {v.name for v in residency.statistics().versions} == {"y"}


def test_a_resource_deleted_during_its_load_does_not_stay(residency, library):
    """The load ends well for who waits for it, and the version goes with that hold."""
    version = library.add()
    loading = _Stopped(library, residency, version)
    residency.forget("datasets", "x")
    loading.finish().release()
    assert residency.statistics().versions == ()


# -- looking and the end -----------------------------------------------------------------------------------------------


def test_statistics_describe_what_is_hot(residency, library, size):
    """Bytes, segments, columns, leases and times of each version, and the counts since the start."""
    version = library.add(version=4)
    residency.prefetch(version)
    assert residency.statistics().versions[0].last_opened_at is None
    hold = residency.open(version)
    found = residency.statistics()
    (resident,) = found.versions
    assert (resident.type, resident.name, resident.semver, resident.version) == ("datasets", "x", "1.4.0", 4)
    assert (resident.role, resident.status, resident.pages) == (Role.LEASED, Status.HOT, Pages.SMALL)
    assert (resident.bytes, resident.segments, resident.columns) == (size, 4, ("x", "y"))
    assert (resident.rows, resident.leases) == (ROWS, 1)
    assert resident.last_opened_at is not None
    assert resident.load_seconds > 0
    assert (found.budget_bytes, found.used_bytes) == (1 << 30, size)
    assert (found.opens, found.hits, found.evictions, found.failed_loads) == (1, 1, 0, 0)
    hold.release()


def test_closing_frees_everything_and_late_releases_are_harmless(open_residency, library, memfds):
    """Close drops held versions too; releasing afterwards does nothing, opening is refused."""
    residency = open_residency()
    version = library.add()
    hold = residency.open(version)
    residency.forget("datasets", "x")
    with residency:
        pass
    assert memfds() == []
    hold.release()
    residency.close()
    with pytest.raises(Unavailable, match="shutting down"):
        residency.open(version)


def test_closing_cuts_off_a_load(open_residency, library):
    """A load under way ends with `Unavailable` at its next batch, and close returns when it has ended."""
    residency = open_residency()
    loading = _Stopped(library, residency, library.add())
    closer = threading.Thread(target=residency.close)
    closer.start()
    for _ in range(10_000):
        if residency._closed:
            break
        threading.Event().wait(0.001)
    loading.finish()
    closer.join(WAIT)
    assert isinstance(loading.result[0], Unavailable)


def test_a_load_that_ends_while_closing_is_dropped(open_residency, library, memfds, budget):
    """When the last batch was already there the segments are complete, and closed all the same."""
    residency = open_residency()
    version = library.add()
    hot = {}

    def close_after_the_last(progress) -> None:
        if progress.rows == ROWS:
            residency._closed = True
            hot["seen"] = len(memfds())

    with pytest.raises(Unavailable, match="cut off by the shutdown"):
        residency.open(version, on_progress=close_after_the_last)
    assert hot["seen"] == 4
    assert memfds() == []


def test_many_threads_at_once_keep_the_books(open_residency, library, size):
    """Opens, releases, evictions and pointer moves from many threads: no wrong rows, no claim lost, no memfd leaked."""
    residency = open_residency(limit=3 * size)
    versions = [library.add("a", 1), library.add("a", 2), library.add("b", 1), library.add("c", 1)]
    numbers = iter(range(100))
    lock = threading.Lock()

    def work() -> int:
        with lock:
            seed = next(numbers)
        random = np.random.default_rng(seed)
        done = 0
        for _ in range(30):
            version = versions[int(random.integers(4))]
            try:
                hold = residency.open(version, ["x"] if random.integers(2) else None)
            except NoSpace:
                continue
            assert int.from_bytes(os.pread(hold.descriptors[0], 8, 4096), "little") == version.version
            done += 1
            residency.set_active("datasets", "a", f"1.{random.integers(1, 3)}.0")
            hold.release()
        return done

    results = _in_threads(6, work)
    assert all(isinstance(result, int) for result in results), results
    assert sum(results) > 0
    assert all(v.leases == 0 and v.status is Status.HOT for v in residency.statistics().versions)
    assert residency.statistics().used_bytes == sum(v.bytes for v in residency.statistics().versions)


def _first_number(hold) -> int:
    """Read the first row of the first column."""
    return int.from_bytes(os.pread(hold.descriptors[0], 8, hold.layout.columns[0].segments[0].data.offset), "little")


def test_a_name_that_was_deleted_and_taken_again_is_another_version(residency, library):
    """Name and number are the same again: nobody gets the old rows, and those go with their last reader."""
    old = library.add(table=_table(start=1000))
    reader = residency.open(old)
    residency.set_active("datasets", "x", "1.1.0")
    new = replace(library.add(table=_table(start=2000)), operation="1" * 32)
    assert residency.is_hot(old)
    assert not residency.is_hot(new)
    with_new = residency.open(new)
    assert _first_number(reader) == 1000
    assert _first_number(with_new) == 2000
    roles = {(version.leases, version.role) for version in residency.statistics().versions}
    assert roles == {(1, Role.LEASED), (1, Role.ACTIVE)}
    both = residency.statistics().used_bytes
    reader.release()
    assert residency.statistics().used_bytes == both // 2
    with_new.release()
    assert residency.is_hot(new)
    assert not residency.is_hot(old)


def test_the_idle_rows_of_a_deleted_name_go_when_the_name_is_taken_again(residency, library):
    """Also before anybody has told that the resource is gone."""
    residency.prefetch(library.add(table=_table(start=1000)))
    before = residency.statistics().used_bytes
    residency.prefetch(replace(library.add(table=_table(start=2000)), operation="1" * 32))
    assert residency.statistics().used_bytes == before
    assert len(residency.statistics().versions) == 1
