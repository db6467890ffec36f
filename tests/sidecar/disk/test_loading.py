"""One load from disk and store together: what is undone when the store fails, and what does not fail a load."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from alluxio_lance.errors import NotFound, Restoring, Unavailable
from alluxio_lance.layout import Pages
from alluxio_lance.sidecar.loading import Loading, Wish
from alluxio_lance.sidecar.reading import StoredVersions
from alluxio_lance.values import State
from alluxio_lance.ways import CacheShare, FileWay, Way


@dataclass
class Everything:
    """Catalog and store in one, each call failing as the test says: what fails in real ones is tested where they are."""

    reader: object
    found: object
    failures: dict = field(default_factory=dict)
    calls: list = field(default_factory=list)

    def _call(self, name, result):
        self.calls.append(name)
        if name in self.failures:
            raise self.failures[name]
        return result

    # the catalog

    def location(self, type, name):
        return self._call("location", "datasets/x.lance")

    def known_files(self, type, name):
        return self._call("known_files", {"data/1.lance": "a file"})

    def find(self, name):
        return self._call("find", self.found)

    # the store

    def branch_location(self, location, branch):
        return location

    def has_cache(self):
        return True

    def warm(self, location, version, on_progress, go_on):
        assert go_on()
        return self._call("warm", CacheShare(bytes=100, cached_bytes=75))

    def share(self, location, version):
        return self._call("share", CacheShare(bytes=100, cached_bytes=50))

    def open(self, location, version, known):
        assert (location, known) == ("datasets/x.lance", {"data/1.lance": "a file"})
        return self._call("open", self.reader)


@pytest.fixture
def everything(versions, table, table_double):
    """Catalog and store of the table."""
    return Everything(table_double(table), versions.version(table))


@pytest.fixture
def load(versions, table, everything, open_tier):
    """Load the table when one of its columns lies on the disk; `columns` says which are wanted."""
    tier = open_tier()
    versions.keep(tier, table.select(["x"]))

    def run(columns=("x", "t"), *, warms=lambda _: True, **options):
        loading = Loading(StoredVersions(everything, everything, warms), tier)
        plan = versions.plan(table).only(columns)
        wish = Wish(versions.version(table), "me", plan, versions.budget, Pages.SMALL, **options)
        before = versions.budget.used
        loaded = loading.load(wish)
        versions._hot += loaded.columns
        assert versions.budget.used - before == sum(column.bytes for column in loaded.columns)
        return loaded

    return run


@pytest.mark.parametrize(
    ("warms", "failures", "percent"),
    [
        (True, {}, 75),
        (False, {}, 50),
        (True, {"warm": Unavailable("down")}, 50),
        (True, {"warm": Unavailable("down"), "share": Unavailable("down")}, None),
    ],
)
def test_a_cache_that_fails_is_no_failure(load, everything, table, warms, failures, percent):
    """What it said last is told, and nothing when it said nothing."""
    everything.failures = failures
    loaded = load(warms=lambda _: warms)
    assert [column.column.name for column in loaded.columns] == ["x", "t"]
    on_disk = sum(segment.length for segment in loaded.columns[0].column.segments)
    assert loaded.ways == {Way.LOCAL: table.nbytes, Way.DISK: on_disk}
    assert loaded.cached_percent == percent
    assert everything.reader.closed == everything.calls.count("open")
    assert everything.reader.asked == [["t"]]


@pytest.mark.parametrize(("way", "stays"), [(Way.SHORT_CIRCUIT, True), (Way.JOINED, True), (Way.SHORT_CIRCUIT, False)])
def test_a_cache_whose_worker_on_this_node_has_all_is_not_asked(load, everything, monkeypatch, way, stays):
    """What it has is known then; when a file was read through the endpoint in the end, it is asked as ever."""
    ways = [way]

    def batches(*arguments, **options):
        ways[:] = [way if stays else Way.ENDPOINT]
        return type(everything.reader).batches(everything.reader, *arguments, **options)

    files = property(lambda _: tuple(FileWay(path="a", bytes=8, way=each, why="it is a test") for each in ways))
    monkeypatch.setattr(type(everything.reader), "ways", files)
    monkeypatch.setattr(everything.reader, "batches", batches, raising=False)
    loaded = load()
    assert loaded.cached_percent == (100 if stays else 50)
    asked = [call for call in everything.calls if call in {"warm", "share", "open"}]
    assert asked == (["open"] if stays else ["open", "share"])


def test_what_was_warmed_is_opened_again(load, everything):
    """It may be near now; the first reader is closed."""
    assert load().cached_percent == 75
    assert [call for call in everything.calls if call in {"warm", "share", "open"}] == ["open", "warm", "open"]


@pytest.mark.parametrize(
    ("failures", "found", "error"),
    [
        ({"open": Unavailable("the store is gone")}, {}, Unavailable),
        ({"open": Unavailable("the store is gone"), "find": NotFound("no such version")}, {}, NotFound),
        ({"share": RuntimeError("a fault")}, {}, RuntimeError),
        ({}, {"state": State.ARCHIVED}, Restoring),
        ({}, {"operation": "1" * 32}, NotFound),
    ],
)
def test_a_store_that_fails_undoes_all_of_the_load(load, everything, versions, memfds, failures, found, error):
    """Also what came from the disk, whatever fails: neither a claim nor a descriptor stays."""
    everything.failures = failures
    for key, value in found.items():
        everything.found = replace(everything.found, **{key: value})
    used, open_before = versions.budget.used, len(memfds())
    with pytest.raises(error):
        load(warms=lambda _: False)
    assert (versions.budget.used, len(memfds())) == (used, open_before)


def test_what_lies_on_the_disk_needs_no_store(load, everything):
    """Only the catalog is asked, whether the version is still served."""
    loaded = load(["x"])
    assert list(loaded.ways) == [Way.DISK]
    assert everything.calls == ["find"]


@pytest.mark.parametrize(
    ("found", "error"), [({"state": State.ARCHIVED}, Restoring), ({"operation": "1" * 32}, NotFound)]
)
def test_what_is_not_served_any_more_is_not_loaded_from_the_disk(load, everything, versions, memfds, found, error):
    """As it would not be from the store."""
    everything.found = replace(everything.found, **found)
    used, open_before = versions.budget.used, len(memfds())
    with pytest.raises(error):
        load(["x"])
    assert (versions.budget.used, len(memfds())) == (used, open_before)
