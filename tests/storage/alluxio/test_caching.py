"""The cache of a real Alluxio, seen through the store: warmed, shared, pinned, cooled, and too small."""

import time

import numpy as np
import pyarrow as pa
import pytest

from alluxio_lance.errors import NotFound
from alluxio_lance.lifecycle.ports import Source, Write
from alluxio_lance.storage import LanceStore
from alluxio_lance.storage.alluxio.cluster import Cluster, ClusterPlan, Ports

LOCATION = "datasets/a.lance"
OTHER = "datasets/b.lance"
WRITE = Write(operation="1" * 32, actor="ada@node", message="")
TIER, BLOCK = 64 << 20, 4 << 20
MIB = 131_072
"""Rows of one mebibyte."""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory, jars):
    """An Alluxio whose cache is soon full."""
    folder = tmp_path_factory.mktemp("tiny")
    plan = ClusterPlan(
        folder=folder, ports=Ports.free(), tier_bytes=TIER, block_bytes=BLOCK, heap_bytes=256 << 20, small=True
    )
    found = Cluster.start(plan)
    yield found
    found.stop()


@pytest.fixture
def store(tiny, tmp_path, request):
    """An empty store in it, with the whole cache for this test alone."""
    made = LanceStore.at(tiny.uri.replace("/?", f"/{request.node.name.replace('_', '-')}/tables?"), tmp_path / "data")
    yield made
    for location in (LOCATION, OTHER):
        made.pin(location, [])
        made.drop(location)


def source(count, seed):
    """Rows that nothing can compress."""
    table = pa.table({"x": np.random.default_rng(seed).integers(0, 1 << 60, count)})
    return Source(reader=table.to_reader(), description="rows")


def fill(store, location, versions, count):
    """Write versions, each of which adds one data file; return the number of the last one."""
    number = store.create(location, source(count, 0), WRITE)
    for seed in range(1, versions):
        number = store.append(location, source(count, seed), WRITE)
    return number


def until(look, wanted, patience=30.0):
    """Wait until something is so, since workers tell the master a moment later; return what it is in the end."""
    deadline = time.monotonic() + patience
    while not wanted(found := look()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def cold(store, location, version):
    """Have all data of a version leave the cache."""
    store.cool(location, version, [])
    found = until(lambda: data(store, location), lambda files: not any(file.percent for file in files.values()))
    assert {file.percent for file in found.values()} == {0}


def data(store, location):
    """How the data files of a table stand."""
    return {path: file for path, file in store._place.cache().look(location).items() if path.startswith("data/")}


def test_a_version_is_warmed_from_nothing_to_all(store):
    """With progress that counts its bytes; a second time there is nothing to do; the usage tells the same."""
    last = fill(store, LOCATION, 3, MIB)
    cold(store, LOCATION, last)
    before = store.share(LOCATION, last)
    assert before.percent == 0
    told = []
    after = store.warm(LOCATION, last, told.append)
    assert (after.percent, after.cached_bytes, after.bytes) == (100, before.bytes, before.bytes)
    assert {(each.step, each.total_bytes) for each in told} == {("cache", after.bytes)}
    assert (told[0].bytes, told[-1].bytes) == (before.cached_bytes, after.bytes)
    told.clear()
    assert store.warm(LOCATION, last, told.append) == after
    assert [each.bytes for each in told] == [after.bytes]
    usage = store.usage(LOCATION, [1, last])
    assert usage.cached == usage.total


def test_only_the_blocks_that_are_missing_are_brought_in(store):
    """A file of three blocks, such as a writer leaves that does not know how large they are; the first one is there."""
    place, path = store._place, "data/x"
    cache = place.cache()
    place.put(LOCATION, path, [bytes(10 << 20)])
    cache.drop(LOCATION, [path])
    until(lambda: cache.look(LOCATION)[path].percent, lambda percent: percent == 0)
    list(place._bucket.stream(LOCATION, path, 0, 1))
    first = until(lambda: cache.statuses(LOCATION)[path], lambda found: found.cached_percent)
    assert (first.absent, first.cached_percent) == ((BLOCK, 2 * BLOCK), 40)
    told = []
    cache.warm(LOCATION, [path], told.append, lambda: True)
    assert (told[0], told[-1]) == (BLOCK, 10 << 20)
    assert cache.statuses(LOCATION)[path].absent == ()


def test_what_does_not_come_with_a_byte_is_read_in_full(store):
    """Without any patience all of it is."""
    last = fill(store, LOCATION, 2, 2 * MIB)
    cold(store, LOCATION, last)
    store._place.cache().patience = 0.0
    assert store.warm(LOCATION, last).percent == 100


def test_warming_ends_when_it_is_told_to(store):
    """Before it asks for anything more."""
    last = fill(store, LOCATION, 3, MIB)
    cold(store, LOCATION, last)
    asked = []
    share = store.warm(LOCATION, last, go_on=lambda: bool(asked.append(None)))
    assert (share.percent, asked) == (0, [None])


def test_a_version_that_is_not_there_is_not_found(store):
    """Neither the table nor the number."""
    with pytest.raises(NotFound):
        store.warm(LOCATION, 1)
    fill(store, LOCATION, 1, 10)
    for look in (store.warm, store.share):
        with pytest.raises(NotFound, match="no version 7"):
            look(LOCATION, 7)


def test_files_that_others_need_stay_when_a_version_cools(store):
    """Also those of branches; its own ones go, pinned or not."""
    fill(store, LOCATION, 3, MIB)
    store.branch(LOCATION, "exp", 2, WRITE)
    mine = set(data(store, LOCATION))
    store.pin(LOCATION, [3])
    freed = store.cool(LOCATION, 3, [1])
    found = until(lambda: data(store, LOCATION), lambda files: any(file.percent == 0 for file in files.values()))
    gone = {path for path, file in found.items() if file.percent == 0}
    assert len(gone) == 1
    assert freed == sum(found[path].bytes for path in gone)
    assert {path for path in mine if not found[path].pinned} == gone
    assert store.share(LOCATION, 2).percent == 100
    assert store.dataset(LOCATION, 3).count_rows() == 3 * MIB


def test_pins_are_those_of_the_versions_and_no_others(store):
    """As often as it is said; a version that shares files is only pinned as a whole when all of them are."""
    fill(store, LOCATION, 3, 100)

    def pinned():
        return [store.share(LOCATION, version).pinned for version in (1, 2, 3)]

    assert pinned() == [False] * 3
    for versions, expected in [
        ([2], [False, True, False]),
        ([2], [False, True, False]),
        ([1, 3], [True, False, True]),
        ([1], [True, False, False]),
        ([9], [False] * 3),
        ([3], [False, False, True]),
        ([], [False] * 3),
    ]:
        store.pin(LOCATION, versions)
        assert pinned() == expected
    assert not any(file.pinned for file in store._place.cache().look(LOCATION).values())


def test_a_version_larger_than_the_cache_is_not_forced_in(store):
    """It gets what there is room for, and the share says how much; it is read all the same."""
    last = fill(store, LOCATION, 12, 8 * MIB)
    whole = store.share(LOCATION, last).bytes
    assert whole > TIER
    cold(store, LOCATION, last)
    told = []
    share = store.warm(LOCATION, last, told.append)
    assert TIER // 2 < share.cached_bytes < TIER
    assert max(each.bytes for each in told) < TIER < told[0].total_bytes
    assert share.percent == 100 * share.cached_bytes // whole
    assert store.dataset(LOCATION, last).count_rows() == 12 * 8 * MIB


def test_what_is_pinned_survives_pressure_and_what_it_leaves_is_warmed(store):
    """Files that pass through evict others only; a version that fits beside the pins is all there afterwards."""
    fill(store, LOCATION, 10, 4 * MIB)
    store.pin(LOCATION, [10])
    assert store.share(LOCATION, 10).percent == 100
    last = fill(store, OTHER, 10, 4 * MIB)
    kept = store.share(LOCATION, 10)
    assert (kept.percent, kept.pinned) == (100, True)
    assert store.share(OTHER, last).percent < 80
    small = store.warm(OTHER, 4)
    assert small.percent == 100
    # Nothing is far away here, so that what has not come soon does not come at all.
    store._place.cache().patience = 1.0
    beside = store.warm(OTHER, last)
    assert beside.cached_bytes < beside.bytes
    assert store.share(LOCATION, 10).percent == 100


def test_nothing_of_a_removed_version_stays_with_the_worker(store, tiny):
    """Its files are gone, and with them their blocks, pinned or not."""
    fill(store, LOCATION, 2, MIB)
    store.overwrite(LOCATION, source(10, 9), WRITE)
    before = store._place.cache().statuses(LOCATION)
    store.pin(LOCATION, [2])
    assert store.remove(LOCATION, [1, 2], WRITE) > 2 * MIB
    after = store._place.cache().statuses(LOCATION)
    blocks = {str(block) for path in before.keys() - after.keys() for block in before[path].blocks}
    assert len(blocks) > 2
    folder = tiny.plan.tier / "alluxioworker"
    left = until(lambda: blocks & {path.name for path in folder.iterdir()}, lambda found: not found)
    assert left == set()


def test_a_folder_has_no_cache(tmp_path):
    """All is there, nothing is told of a cache, nothing is to be done."""
    store = LanceStore.local(tmp_path / "root")
    fill(store, LOCATION, 2, 100)
    assert not store.has_cache()
    told = []
    share = store.warm(LOCATION, 2, told.append)
    assert (share.percent, share.bytes, share.pinned, told) == (100, store.usage(LOCATION, [2]).total[2], False, [])
    assert store.share(LOCATION, 2) is None
    assert store.usage(LOCATION, [2]).cached is None
    store.pin(LOCATION, [2])
    assert store.cool(LOCATION, 2, []) == 0
