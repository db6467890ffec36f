"""Units in the disk tier: they come back, share it with whole columns, and are checked like these."""

from __future__ import annotations

import fcntl
import os
import random
import resource
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from alluxio_lance.errors import NoSpace, Unavailable
from alluxio_lance.sidecar import mapped_all, units
from alluxio_lance.sidecar.budget import Budget
from alluxio_lance.sidecar.claim import Asker
from alluxio_lance.sidecar.disk import mapping, reading
from alluxio_lance.sidecar.loading import Loading
from alluxio_lance.sidecar.residency import Residency

UNIT_ROWS = 512
ROWS = 10 * UNIT_ROWS - 100
ME = Asker("me", "process me", lambda: True)


class Store:
    """One table in place of the store, which may be down."""

    def __init__(self, table, make_reader):
        self._table, self._make_reader = table, make_reader
        self.down = False
        self.opened = 0

    def check(self, version):
        """Serve everything."""

    def warm(self, version, on_progress, go_on):
        """Have no cache."""

    def share(self, version):
        """Have no cache."""

    def open(self, version):
        """Open the table."""
        if self.down:
            raise Unavailable("the store is down", what="store")
        self.opened += 1
        return self._make_reader(self._table, 100)


@pytest.fixture
def table() -> pa.Table:
    """Ten units of a fixed column, a ragged one, and one whose lists have null items."""
    return pa.table(
        {
            "x": np.arange(ROWS),
            "t": [f"row {number}" * (number % 3) for number in range(ROWS)],
            "l": pa.array([[number, None] for number in range(ROWS)], pa.list_(pa.int64())),
        }
    )


@pytest.fixture
def node(monkeypatch, table, table_double, open_tier, make_version):
    """Make residencies over the same store and the same folder."""
    monkeypatch.setattr(units, "UNIT_BYTES", UNIT_ROWS * 8)
    store = Store(table, table_double)
    made = []

    def make(**options):
        tier = open_tier(**options)
        residency = Residency(Loading(store, tier), Budget(1 << 30, available=lambda: 1 << 40))
        made.append(residency)
        # All bytes are those of the first column: the others are cut where that is.
        return residency, tier, store, replace(make_version(table), num_bytes=table.num_rows * 8)

    yield make
    for residency in made:
        residency.close()


def _window(residency, version, numbers, columns=None):
    """Hold a window for a moment and return its layout without ids, and its bytes."""
    stream = residency.windows.open(version, columns, ME)
    hold = residency.windows.hold(stream, numbers, ME)
    layout = [
        replace(column, segments=tuple(replace(segment, id=0) for segment in column.segments))
        for column in hold.layout.columns
    ]
    content = [_content(fd) for fd in hold.descriptors]
    hold.release()
    stream.release()
    return layout, content


def _spoil(path: Path) -> None:
    """Change a byte, and set back the time of the change."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)
    path.chmod(0o400)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _files(folder: Path) -> set[int]:
    return {path.stat().st_ino for path in folder.glob("*/0.arrow")}


def _content(fd: int) -> bytes:
    return Path(f"/proc/self/fd/{fd}").read_bytes()


def test_units_come_back_without_the_store(node, open_tier):
    """After a restart, in other windows, with the same bytes and nothing written into them; the seed is printed."""
    seed = random.randrange(1 << 32)
    print("seed", seed)  # noqa: T201 - shown when it fails
    residency, tier, store, version = node()
    order = random.Random(seed).sample(range(9), 9)
    before = _window(residency, version, [*order, 9])
    assert tier.settle()
    residency.close()
    tier.close()
    residency, tier, store, version = node()
    store.down = True
    assert tier.statistics().columns == 3 * 10
    columns = ["x", "t"]
    after = _window(residency, version, [*order, 9], columns)
    assert after[0] == before[0][:2]
    assert after[1] == before[1][: 2 * 10]
    statistics = tier.statistics()
    # The unit from which the width of ``t`` was learned was opened once before.
    assert (statistics.hits, statistics.misses) == (2 * 10 + 2, 0)
    with pytest.raises(Unavailable, match="the store is down"):
        # That lists have null items is learned from the store, once after each start.
        _window(residency, version, [0], ["l"])


def test_units_and_whole_columns_lie_side_by_side(node):
    """Neither is taken for the other."""
    residency, tier, store, version = node()
    _window(residency, version, [0, 1], ["x"])
    assert tier.settle()
    residency.prefetch(version, ["x"])
    assert tier.settle()
    assert tier.statistics().columns == 3
    residency.evict(version)
    store.down = True
    _window(residency, version, [1, 0], ["x"])
    residency.prefetch(version, ["x"])


def test_what_is_missing_comes_from_the_store(node):
    """Of some units nothing is there, of others one column."""
    residency, tier, store, version = node()
    _window(residency, version, [0, 1], ["x"])
    _window(residency, version, [1, 2], ["t"])
    assert tier.settle()
    residency.evict(version)
    opened = store.opened
    layout, _ = _window(residency, version, [0, 1, 2, 3], ["x", "t"])
    assert [len(column.segments) for column in layout] == [4, 4]
    assert store.opened == opened + 1
    # What rows of ``t`` take was measured with the first unit, too, and then both its columns were opened again.
    assert tier.statistics().hits == 7


def test_a_corrupt_unit_goes(node, folder):
    """And is read from the store."""
    residency, tier, store, version = node()
    before = _window(residency, version, [0, 1], ["x"])
    assert tier.settle()
    residency.evict(version)
    (first, *_) = sorted(folder.glob("*/0.arrow"))
    _spoil(first)
    assert _window(residency, version, [0, 1], ["x"]) == before
    assert (tier.statistics().corrupt, store.opened) == (1, 2)


def test_a_unit_that_leaves_memory_is_not_waited_for(node):
    """What is not written then is counted, and comes from the store again."""
    residency, tier, _, version = node()
    for number in range(10):
        _window(residency, version, [number], ["x"])
        residency.evict(version)
    assert tier.settle()
    statistics = tier.statistics()
    assert statistics.columns + statistics.dropped_writes == 10


def test_files_are_handed_out_in_place_of_memory(node, folder):
    """Read only, at no cost of the budget, and readable after the tier has given them up."""
    residency, tier, _, version = node()
    before = _window(residency, version, [0, 1, 2], ["x"])
    assert tier.settle()
    residency.evict(version)
    stream = residency.windows.open(version, ["x"], ME)
    hold = residency.windows.hold(stream, [0, 1, 2], ME)
    assert {os.fstat(fd).st_ino for fd in hold.descriptors} == _files(folder)
    assert {fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE for fd in hold.descriptors} == {os.O_RDONLY}
    assert {os.fstat(fd).st_mode & 0o777 for fd in hold.descriptors} == {0o400}
    statistics = residency.statistics()
    assert statistics.used_bytes == 0
    assert statistics.disk.mapped_bytes == sum(os.fstat(fd).st_size for fd in hold.descriptors)
    tier.keep_only((version.type, version.name), [])
    assert not _files(folder)
    assert [_content(fd) for fd in hold.descriptors] == before[1]
    hold.release()
    assert residency.statistics().disk.mapped_bytes == 0
    stream.release()


def test_a_file_is_checked_once_in_each_run(node, open_tier, monkeypatch):
    """One that this run has written not at all, since what was written was hashed."""
    read = mapping.read_checked
    checked = []
    monkeypatch.setattr(mapping, "read_checked", lambda file, *rest: checked.append(file) or read(file, *rest))
    residency, tier, _, version = node()
    _window(residency, version, [0, 1], ["x"])
    assert tier.settle()
    residency.evict(version)
    _window(residency, version, [0, 1], ["x"])
    assert not checked
    residency.close()
    tier.close()
    residency, tier, store, version = node()
    store.down = True
    _window(residency, version, [0, 1], ["x"])
    assert len(checked) == 2
    _window(residency, version, [1, 0], ["x"])
    assert len(checked) == 2


def test_a_file_that_was_written_to_later_is_checked_again(node, folder):
    """Whoever did that has not the say about its time of change; the unit comes from the store."""
    residency, tier, store, version = node()
    before = _window(residency, version, [0, 1], ["x"])
    assert tier.settle()
    residency.evict(version)
    assert _window(residency, version, [0, 1], ["x"]) == before
    _spoil(min(folder.glob("*/0.arrow")))
    assert _window(residency, version, [0, 1], ["x"]) == before
    assert (tier.statistics().corrupt, store.opened) == (1, 2)


def test_units_are_copied_into_memory_where_that_is_wanted(node, folder):
    """Sealed, and counted in the budget."""
    residency, tier, _, version = node(maps_units=False)
    before = _window(residency, version, [0, 1], ["x"])
    assert tier.settle()
    residency.evict(version)
    stream = residency.windows.open(version, ["x"], ME)
    hold = residency.windows.hold(stream, [0, 1], ME)
    assert all(fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_WRITE for fd in hold.descriptors)
    assert not {os.fstat(fd).st_ino for fd in hold.descriptors} & _files(folder)
    assert [_content(fd) for fd in hold.descriptors] == before[1]
    statistics = residency.statistics()
    assert (statistics.used_bytes > 0, statistics.disk.mapped_bytes, tier.statistics().hits) == (True, 0, 2)
    hold.release()
    stream.release()


def test_files_that_were_asked_for_ahead_stay_open_until_nobody_wants_them(node):
    """Otherwise one that the tier gives up would take its room on."""
    residency, tier, _, version = node()
    _window(residency, version, [0, 1], ["x"])
    assert tier.settle()
    residency.evict(version)
    stream = residency.windows.open(version, ["x"], ME)
    residency.windows.ahead(stream, [0, 1], ME)
    assert residency.statistics().disk.mapped_bytes > 0
    residency.windows.forget(ME.owner)
    assert residency.statistics().disk.mapped_bytes == 0
    stream.release()


def test_a_load_that_nobody_wants_any_more_closes_the_files(node, monkeypatch):
    """While they are checked."""
    residency, tier, _, version = node()
    _window(residency, version, [0, 1], ["x"])
    assert tier.settle()
    residency.close()
    tier.close()
    residency, tier, _, version = node()
    there = len(list(Path("/proc/self/fd").iterdir()))
    here = [True]
    asker = Asker("you", "process you", lambda: here[0])
    stream = residency.windows.open(version, ["x"], ME)

    def leave(file, *rest):
        here[0] = False
        return 1

    monkeypatch.setattr(reading, "_read", leave)
    with pytest.raises(Unavailable, match="was cancelled"):
        residency.windows.hold(stream, [0, 1], asker)
    assert len(list(Path("/proc/self/fd").iterdir())) == there
    stream.release()


# -- all units together ---------------------------------------------------------------------------------------------


def _written(node, **options):
    """Have all units of two columns written to the disk, and nothing in memory."""
    residency, tier, store, version = node(**options)
    _window(residency, version, range(10), ["x", "t"])
    assert tier.settle()
    residency.evict(version)
    return residency, tier, store, version


def test_all_units_are_mapped_together(node, folder):
    """In the order of their numbers, at no cost of the budget, without the store; they stay until they are released."""
    residency, _, store, version = _written(node)
    before = _window(residency, version, range(10), ["x", "t"])
    store.down = True
    stream = residency.windows.open(version, ["x", "t"], ME)
    hold = residency.windows.hold_mapped(stream, ME)
    assert [_content(fd) for fd in hold.descriptors] == before[1]
    assert hold.layout.num_rows == ROWS
    assert {os.fstat(fd).st_ino for fd in hold.descriptors} == _files(folder)
    statistics = residency.statistics()
    assert (statistics.used_bytes, statistics.disk.mapped_bytes > 0) == (0, True)
    assert len(residency.windows.hold(stream, [3, 2], ME).descriptors) == 4
    hold.release()
    stream.release()


def test_units_that_nobody_reads_make_way_for_their_files(node):
    """Those that somebody reads in memory do not, and then it is not had."""
    residency, tier, _, version = node()
    stream = residency.windows.open(version, ["x"], ME)
    with pytest.raises(NoSpace, match=r"unit 0 .* was not read from the disk yet"):
        residency.windows.hold_mapped(stream, ME)
    residency.windows.hold(stream, range(9), ME).release()
    last = residency.windows.hold(stream, [9], ME)
    assert tier.settle()
    used = residency.statistics().used_bytes
    with pytest.raises(NoSpace, match=r"unit 9 .* is in memory, and in use"):
        residency.windows.hold_mapped(stream, ME)
    assert residency.statistics().used_bytes == used
    last.release()
    hold = residency.windows.hold_mapped(stream, ME)
    assert residency.statistics().used_bytes == 0
    hold.release()
    assert residency.statistics().disk.mapped_bytes == 0
    stream.release()


def test_what_was_not_hashed_in_this_run_is_not_mapped_as_a_whole(node):
    """To read all of it for that is what windows do one by one."""
    residency, tier, _, version = _written(node)
    residency.close()
    tier.close()
    residency, _, _, version = node()
    stream = residency.windows.open(version, ["x"], ME)
    with pytest.raises(NoSpace, match="not read from the disk yet"):
        residency.windows.hold_mapped(stream, ME)
    for number in range(10):
        residency.windows.hold(stream, [number], ME).release()
    residency.windows.hold_mapped(stream, ME).release()
    stream.release()


def test_what_cannot_be_mapped_together(node, monkeypatch):
    """What the page cache would not keep, what is too many files, and units that are copied into memory."""
    residency, tier, store, version = _written(node)
    stream = residency.windows.open(version, ["x", "t"], ME)
    tight = Residency(Loading(store, tier), Budget(1 << 30, available=lambda: ROWS * 8))
    narrow = tight.windows.open(version, ["x"], ME)
    with pytest.raises(NoSpace, match="more than the page cache is likely to keep"):
        tight.windows.hold_mapped(narrow, ME)
    tight.close()
    with monkeypatch.context() as patch:
        patch.setattr(mapped_all, "_MOST_DESCRIPTORS", 19)
        with pytest.raises(NoSpace, match="would be 20 files, of which 19"):
            residency.windows.hold_mapped(stream, ME)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with monkeypatch.context() as patch:
        patch.setattr(resource, "getrlimit", lambda _: (100, limits[1]))
        with pytest.raises(NoSpace, match="too many of the sidecar's descriptors"):
            residency.windows.hold_mapped(stream, ME)
    residency.windows.hold_mapped(stream, ME).release()
    stream.release()


def test_a_file_that_vanishes_before_it_is_mapped(node, folder):
    """It is not read into memory in its place: that is for windows, which have room for it. Nothing stays held."""
    residency, _, store, version = _written(node)
    before = _window(residency, version, [0, 1], ["x"])
    shutil.rmtree(min(folder.glob("*/0.arrow")).parent)
    opened = store.opened
    stream = residency.windows.open(version, ["x", "t"], ME)
    with pytest.raises(NoSpace, match="has left the disk in part"):
        residency.windows.hold_mapped(stream, ME)
    assert (residency.statistics().used_bytes, residency.statistics().disk.mapped_bytes) == (0, 0)
    with pytest.raises(NoSpace, match="was not read from the disk yet"):
        residency.windows.hold_mapped(stream, ME)
    assert _window(residency, version, [0, 1], ["x"]) == before
    assert store.opened > opened
    stream.release()
