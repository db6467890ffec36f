"""The cache of a real sidecar: open, prefetch, evict, statistics, watch."""

import os
import threading
import time
from pathlib import Path

import pyarrow as pa
import pytest

from alluxio_lance.client.channel import Channel
from alluxio_lance.client.door import Activated, Door
from alluxio_lance.client.statistics import CacheStatistics
from alluxio_lance.errors import InvalidArgument, InvalidURI, Leased, NoSpace, NotActive, NotFound, Unavailable

URI = "alluxio://datasets/a"


def attach(door, lease):
    """Take a lease's descriptors and return how many came."""
    descriptors = door.attach(lease)
    for descriptor in descriptors:
        os.close(descriptor)
    return len(descriptors)


def until(cache, what):
    """Read the statistics until they are so; each reading waits for the sidecar."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        statistics = cache.statistics()
        if what(statistics):
            return statistics
    raise AssertionError(statistics)


def roles(statistics):
    """Map semantic versions to roles."""
    return {version.semver: version.role for version in statistics.versions}


def test_an_opened_version_can_be_mapped(manager, channel, rows):
    """The lease's descriptors hold the columns that the layout names."""
    manager.register_resource("datasets", "a", rows(1000).append_column("x", pa.array([1.5] * 1000)))
    lease, layout = channel.open_version(URI, ["x", "id"])
    assert [column.name for column in layout.columns] == ["x", "id"]
    assert (layout.uri, layout.num_rows) == ("alluxio://datasets/a@v1", 1000)
    with Door.connect(channel.address) as door:
        descriptors = door.attach(lease)
        with pa.ipc.open_file(pa.OSFile(f"/proc/self/fd/{descriptors[1]}")) as file:
            assert file.read_all()["id"].to_pylist() == list(range(1000))
        for descriptor in descriptors:
            os.close(descriptor)


@pytest.mark.parametrize(
    ("uri", "columns", "error", "text"),
    [
        ("alluxio://datasets/none", (), NotFound, "datasets/none"),
        ("alluxio://datasets/a@9", (), NotFound, "9"),
        ("alluxio://datasets/a", ("id", "nope"), NotFound, "nope.*id"),
        ("alluxio:///a/file", (), InvalidArgument, "two slashes"),
        ("http://datasets/a", (), InvalidURI, "grammar"),
        ("", (), InvalidURI, "grammar"),
        ("alluxio://datasets/idle", (), NotActive, "idle"),
    ],
)
@pytest.mark.parametrize("verb", ["open", "prefetch"])
def test_what_cannot_be_opened_is_said_in_a_sentence(manager, channel, cache, rows, uri, columns, error, text, verb):
    """No lease and no load is left behind."""
    manager.register_resource("datasets", "a", rows(10))
    manager.register_resource("datasets", "idle", rows(10), activate=False)
    with pytest.raises(error, match=text):
        channel.open_version(uri, columns) if verb == "open" else list(cache.prefetch(uri, columns))
    assert cache.statistics().leases == ()
    manager.delete_resource("datasets", "a")


def test_a_version_larger_than_the_budget_is_refused_with_both_numbers(manager, channel, cache):
    """The sidecar goes on, and a subset of columns that fits opens."""
    big = pa.table({"big": pa.array([b"x" * (1 << 20)] * 80), "id": range(80)})
    manager.register_resource("datasets", "a", big)
    with pytest.raises(NoSpace) as caught:
        channel.open_version(URI)
    assert caught.value.details["budget"] == 64 << 20
    assert caught.value.details["need"] > 64 << 20
    _, layout = channel.open_version(URI, ["id"])
    assert layout.num_rows == 80
    assert cache.statistics().failed_loads >= 1


def test_active_versions_get_hot_by_themselves_and_the_one_before_stays(manager, cache, rows):
    """For an instant rollback; what was active earlier than that goes."""
    for number in range(3):
        manager.register_resource("datasets", "a", rows(10)) if not number else manager.update_resource(
            "datasets", "a", rows(10)
        )
        until(cache, lambda s: any(v.role == "active" and v.status == "hot" and v.columns for v in s.versions))
    assert roles(until(cache, lambda s: len(s.versions) == 2)) == {"1.2.0": "active", "1.1.0": "previous"}
    manager.rollback_resource("datasets", "a")
    assert roles(until(cache, lambda s: roles(s).get("1.1.0") == "active")) == {"1.1.0": "active", "1.2.0": "previous"}


def test_a_deprecated_version_goes_when_its_last_reader_does(manager, channel, cache, rows):
    """Until then it stays for that reader."""
    manager.register_resource("datasets", "a", rows(10))
    lease, _ = channel.open_version(URI)
    manager.update_resource("datasets", "a", rows(10))
    manager.deprecate_resource("datasets", "a", "1.0.0")
    until(cache, lambda s: roles(s).get("1.1.0") == "active")
    assert "1.0.0" in roles(cache.statistics())
    channel.end_lease(lease)
    until(cache, lambda s: "1.0.0" not in roles(s))


def test_a_deleted_resource_leaves_memory(manager, cache, rows):
    """Its segments go at once, since nobody reads them."""
    manager.register_resource("datasets", "a", rows(10))
    until(cache, lambda s: s.used_bytes > 0)
    manager.delete_resource("datasets", "a")
    assert until(cache, lambda s: s.versions == ()).used_bytes == 0


def test_statistics_name_readers(manager, channel, cache, rows):
    """Who, since when, and through how many connections."""
    manager.register_resource("datasets", "a", rows(10))
    lease, _ = channel.open_version(URI)
    with Door.connect(channel.address) as door:
        attach(door, lease)
        statistics = cache.statistics()
        (reader,) = statistics.leases
        assert (reader.id, reader.pid, reader.connections) == (lease[:8], os.getpid(), 1)
        assert (reader.type, reader.name, reader.semver) == ("datasets", "a", "1.0.0")
        assert reader.command.split()[0] == Path("/proc/self/cmdline").read_text().split("\0")[0]
        (version,) = statistics.versions
        assert (version.leases, version.columns, version.rows) == (1, ("id",), 10)
        assert isinstance(statistics, CacheStatistics)
        assert (statistics.node, statistics.pid, statistics.opens) == ("here", os.getpid(), 1)
        assert statistics.started_at <= reader.since
    assert cache.statistics().leases == ()


def test_a_leased_version_is_neither_evicted_nor_deleted(manager, channel, cache, rows):
    """Both refusals name the holder; afterwards both are done."""
    manager.register_resource("datasets", "a", rows(10))
    lease, _ = channel.open_version(URI)
    with pytest.raises(Leased, match=f"process {os.getpid()}"):
        cache.evict(URI)
    with pytest.raises(Leased, match=f"process {os.getpid()}") as caught:
        manager.delete_resource("datasets", "a")
    assert caught.value.details["holders"][0]["pid"] == os.getpid()
    with Door.connect(channel.address) as door:
        attach(door, lease)
    # The connection has just closed: nobody has to wait for the sidecar to notice.
    assert cache.evict(URI) > 0
    assert cache.evict(URI) == 0
    manager.delete_resource("datasets", "a")


def test_a_lease_can_be_renewed_and_ended(manager, channel, rows):
    """After its end the token is nothing."""
    manager.register_resource("datasets", "a", rows(10))
    lease, _ = channel.open_version(URI)
    channel.renew_lease(lease)
    channel.end_lease(lease)
    for verb in (channel.renew_lease, channel.end_lease):
        with pytest.raises(NotFound, match="open the version again"):
            verb(lease)


def test_prefetch_tells_how_far_it_is(manager, cache, rows):
    """The last message has all rows; a second prefetch has nothing to do."""
    manager.register_resource("datasets", "a", rows(10_000))
    manager.update_resource("datasets", "a", rows(10))
    cache.evict(f"{URI}@1.0.0")
    last = list(cache.prefetch(f"{URI}@1.0.0"))[-1]
    assert (last.step, last.rows, last.total_rows) == ("hot", 10_000, 10_000)
    assert len(list(cache.prefetch(f"{URI}@1.0.0", ["id"]))) == 1


def test_a_watch_shows_first_what_is_hot_then_what_happens(manager, cache, rows):
    """Loading, hot, evicted, failed."""
    manager.register_resource("datasets", "a", rows(10))
    list(cache.prefetch(URI))
    events = cache.watch()
    assert next(events).event == "hot"
    assert cache.evict(URI) > 0
    first = next(events)
    assert (first.event, first.type, first.name, first.semver, first.version) == (
        "evicted",
        "datasets",
        "a",
        "1.0.0",
        1,
    )
    list(cache.prefetch(URI))
    assert [next(events).event for _ in range(2)] == ["loading", "hot"]
    manager.register_resource("datasets", "big", pa.table({"x": pa.array([b"x" * (1 << 20)] * 80)}))
    seen = [next(events), next(events)]
    assert [event.event for event in seen] == ["loading", "failed"]
    assert "budget" in seen[1].message
    events.close()


def test_subscribers_hear_of_a_version_when_it_is_hot(manager, cache, sidecar, rows):
    """Of every move of the pointer, and of its end."""
    manager.register_resource("datasets", "a", rows(10))
    with Door.connect(sidecar.address) as door:
        assert door.subscribe("datasets", "a") == Activated("1.0.0", 1)
        if door.poll(0.0) is None:
            until(cache, lambda s: roles(s).get("1.0.0") == "active")
        manager.update_resource("datasets", "a", rows(10))
        event = door.poll(10)
        while event.version == 1:
            event = door.poll(10)
        assert event == Activated("1.1.0", 2)
        assert any(v.semver == "1.1.0" and v.status == "hot" for v in cache.statistics().versions)
        manager.rollback_resource("datasets", "a")
        assert door.poll(10) == Activated("1.0.0", 1)
        manager.delete_resource("datasets", "a")
        assert door.poll(10) == Activated(None, None)


def test_a_version_that_does_not_fit_is_announced_all_the_same(manager, sidecar, rows):
    """It is not hot, and can be read in windows; one that fits later is announced like any other."""
    manager.register_resource("datasets", "a", rows(10))
    with Door.connect(sidecar.address) as door, Channel.connect(sidecar.address) as channel:
        channel.open_version(URI)
        door.subscribe("datasets", "a")
        large = pa.table({"id": range(80), "x": [b"x" * (1 << 20)] * 80})
        for version, data in ((2, large), (3, rows(5))):
            manager.update_resource("datasets", "a", data, mode="overwrite")
            while door.poll(10).version != version:
                pass
            if version == 2:
                with pytest.raises(NoSpace):
                    channel.open_version(URI)


def test_sixteen_threads_open_one_version_at_once(manager, sidecar, cache, rows):
    """One load serves all; each has a lease of its own."""
    manager.register_resource("datasets", "a", rows(100_000), activate=False)
    manager.activate_resource("datasets", "a", "1.0.0")
    leases, failures = [], []

    def read():
        try:
            with Channel.connect(sidecar.address) as channel, Door.connect(sidecar.address) as door:
                lease, _ = channel.open_version(URI)
                leases.append((lease, attach(door, lease)))
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=read) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len({lease for lease, _ in leases}) == 16
    statistics = cache.statistics()
    assert (statistics.leases, statistics.opens) == ((), 16)


def test_a_watch_ends_with_the_cache(sidecar, manager, cache):
    """Closing this side ends it for this side."""
    events = cache.watch()
    cache.close()
    cache.close()
    with pytest.raises(Unavailable, match="closed"):
        next(events)
