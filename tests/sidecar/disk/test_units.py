"""Units in the disk tier: they come back, share it with whole columns, and are checked like these."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from alluxio_lance.errors import Unavailable
from alluxio_lance.sidecar import units
from alluxio_lance.sidecar.budget import Budget
from alluxio_lance.sidecar.claim import Asker
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

    def make():
        tier = open_tier()
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


def _content(fd: int) -> bytes:
    return Path(f"/proc/self/fd/{fd}").read_bytes()


def test_units_come_back_without_the_store(node, open_tier):
    """After a restart, in other windows, with the same bytes and sealed anew; the seed is printed."""
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
    assert (statistics.hits, statistics.misses) == (2 * 10, 0)
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
    # What rows of ``t`` take was measured with the first unit, too.
    assert tier.statistics().hits == 5


def test_a_corrupt_unit_goes(node, folder):
    """And is read from the store."""
    residency, tier, store, version = node()
    before = _window(residency, version, [0, 1], ["x"])
    assert tier.settle()
    residency.evict(version)
    (first, *_) = sorted(folder.glob("*/0.arrow"))
    content = bytearray(first.read_bytes())
    content[5000] ^= 1
    first.write_bytes(content)
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
