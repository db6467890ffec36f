"""Opening versions that are in the cold tier, through a real sidecar: restore, join, wait, fail; and what leaves memory."""

import os
import threading
import time
from dataclasses import replace

import pytest

from alluxio_lance.client.door import Door
from alluxio_lance.client.opening import open_lease
from alluxio_lance.client.table import Table
from alluxio_lance.errors import Corrupt, Internal, Leased, NotFound, Restoring, Unavailable
from alluxio_lance.lifecycle.ports import OperationState
from alluxio_lance.sidecar.services import returning
from alluxio_lance.values import Progress, State

URI = "alluxio://datasets/a"
OLD = f"{URI}@1.0.0"


@pytest.fixture
def two(manager, rows):
    """An old version of 5 rows, and the active one of 10."""
    old = manager.register_resource("datasets", "a", rows(5))
    manager.update_resource("datasets", "a", rows(5, 5))
    return old


@pytest.fixture
def cold(manager, two):
    """The old version in the cold tier."""
    return manager.archive_resource("datasets", "a", "1.0.0")


def hot(cache):
    """List what is hot."""
    return {version.semver for version in cache.statistics().versions if version.status == "hot"}


def until(cache, what):
    """Look at what is hot until it is so; each look waits for the sidecar."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = hot(cache)
        if what(found):
            return found
    raise AssertionError(found)


def test_opening_an_archived_version_starts_its_restore(channel, manager, cold):
    """Who does not wait is told how far it is, and which operation brings it back."""
    with pytest.raises(Restoring, match=r"1\.0\.0 comes back") as refusal:
        channel.open_version(OLD)
    assert 0 <= refusal.value.details["progress"] <= 1
    assert len(refusal.value.details["operation"]) == 32
    assert manager.restore_resource("datasets", "a", "1.0.0").state is State.REGISTERED
    _, layout = channel.open_version(OLD)
    assert (layout.num_rows, layout.content_hash) == (5, cold.content_hash)


def test_who_waits_reads_it_as_if_it_had_never_been_away(sidecar, cold):
    """With progress meanwhile; many wait for one restore."""
    told, results = [], []

    def read():
        with Table.open(OLD, address=str(sidecar.address.run_folder), wait=True, on_progress=told.append) as table:
            results.append(table.column("id").array.tolist())

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert results == [list(range(5))] * 4
    assert all(isinstance(progress, Progress) for progress in told)
    verbs = [event.verb for event in sidecar.manager.history("datasets", "a")]
    assert verbs.count("restore") == 1


def test_prefetch_of_an_archived_version_waits_only_when_told(cache, cold):
    """Then its progress is that of the restore, and afterwards that of the load."""
    with pytest.raises(Restoring):
        list(cache.prefetch(OLD))
    assert list(cache.prefetch(OLD, wait=True))[-1] == Progress(step="hot", rows=5, total_rows=5)
    assert "1.0.0" in hot(cache)


def broken(sidecar):
    """Flip one byte of every file in the cold tier."""
    for path in (sidecar.settings.root / "cold").rglob("*"):
        if path.is_file():
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(data)


def test_a_handle_whose_version_was_archived_since_sends_for_it(manager, two):
    """Plain Lance would only say that a file is missing."""
    handle = manager.get_resource("datasets", "a", "1.0.0")
    patient = manager.get_resource("datasets", "a", "1.0.0", wait=True)
    manager.archive_resource("datasets", "a", "1.0.0")
    with pytest.raises(Restoring):
        handle.to_lance()
    assert patient.to_lance().to_table()["id"].to_pylist() == list(range(5))
    assert handle.to_lance().count_rows() == 5
    manager.delete_resource("datasets", "a")
    manager.purge_resource("datasets", "a")
    with pytest.raises(NotFound):
        handle.to_lance()


def test_a_table_that_this_process_cannot_reach_is_said_so(manager, two, tmp_path):
    """The sidecar may see a store that others do not."""
    handle = manager.get_resource("datasets", "a")
    (tmp_path / "root").rename(tmp_path / "elsewhere")
    try:
        with pytest.raises(Unavailable, match="through the sidecar"):
            handle.to_lance()
    finally:
        (tmp_path / "elsewhere").rename(tmp_path / "root")


def test_getting_a_version_counts_as_reading_it(manager, two):
    """Policies go by when a version was read last."""
    assert manager.find_version("datasets", "a", "1.0.0").read_at is None
    manager.get_resource("datasets", "a", "1.0.0")
    assert manager.find_version("datasets", "a", "1.0.0").read_at is not None


def test_who_waits_for_a_restore_that_fails_is_told_why(sidecar, manager, cold):
    """Not for ever that it comes back."""
    broken(sidecar)
    with pytest.raises(Corrupt):
        open_lease(OLD, address=sidecar.address, wait=True)
    with pytest.raises(Corrupt):
        manager.get_resource("datasets", "a", "1.0.0", wait=True)
    with pytest.raises(Corrupt):
        manager.restore_resource("datasets", "a", "1.0.0")
    assert manager.find_version("datasets", "a", "1.0.0").state is State.ARCHIVED


def test_what_was_waited_for_and_is_no_failure_is_asked_for_anew(channel, manager, cold, sidecar):
    """An operation that nobody knows, one that went well, one whose process died."""
    with pytest.raises(Restoring):
        channel.open_version(OLD, waited_for="0" * 32)
    manager.restore_resource("datasets", "a", "1.0.0")
    done = manager.history("datasets", "a")[-1].operation
    assert channel.open_version(OLD, waited_for=done)[1].num_rows == 5
    undone = replace(sidecar.manager.catalog.operation(done), state=OperationState.UNDONE)
    for text in (None, "", "the process that did it is gone", "KeyError: x"):
        assert returning._failure(replace(undone, error=text)) is None
    assert isinstance(returning._failure(replace(undone, error="Internal: a fault")), Internal)


@pytest.mark.parametrize("verb", ["deprecate", "archive", "delete"])
def test_a_version_that_is_not_served_any_more_leaves_memory(manager, cache, two, verb):
    """Also one that was active before and is kept hot for a rollback."""
    until(cache, lambda found: "1.1.0" in found)
    list(cache.prefetch(OLD))
    assert hot(cache) == {"1.0.0", "1.1.0"}
    getattr(manager, f"{verb}_resource")("datasets", "a", "1.0.0")
    assert until(cache, lambda found: "1.0.0" not in found) == {"1.1.0"}


def test_a_version_that_is_read_is_neither_archived_nor_deleted(manager, channel, two):
    """The refusal names the reader; afterwards it goes."""
    lease, _ = channel.open_version(OLD)
    with Door.connect(channel.address) as door:
        for descriptor in door.attach(lease):
            os.close(descriptor)
        for verb in (manager.archive_resource, manager.delete_resource):
            with pytest.raises(Leased) as refusal:
                verb("datasets", "a", "1.0.0")
            (holder,) = refusal.value.details["holders"]
            assert (holder["node"], holder["semver"]) == ("here", "1.0.0")
            assert holder["age"] >= 0
    assert manager.archive_resource("datasets", "a", "1.0.0").state is State.ARCHIVED


def test_readers_of_what_is_deleted_by_force_keep_what_they_mapped(sidecar, manager, cache, two):
    """No new one begins, and the memory is free when the last one has gone."""
    address = str(sidecar.address.run_folder)
    with Table.open(OLD, address=address) as table:
        with pytest.raises(Leased):
            manager.delete_resource("datasets", "a")
        manager.delete_resource("datasets", "a", force=True)
        assert table.column("id").array.tolist() == list(range(5))
        with pytest.raises(NotFound):
            Table.open(OLD, address=address)
        until(cache, lambda found: found == {"1.0.0"})
    until(cache, lambda found: not found)
    manager.purge_resource("datasets", "a")
    assert manager.list_resources(deleted=True) == []


def test_versions_of_a_branch_can_be_opened(sidecar, manager, channel, two, rows):
    """By the branch's name and by number; its numbers are not taken for those of the main line."""
    manager.branch_resource("datasets", "a", "exp", version="1.0.0")
    manager.update_resource("datasets", "a", rows(1, 100), branch="exp")
    address = str(sidecar.address.run_folder)
    for selector, expected in (
        ("exp", [0, 1, 2, 3, 4, 100]),
        ("1.0.0-exp.2", [0, 1, 2, 3, 4, 100]),
        ("1.0.0-exp.1", [0, 1, 2, 3, 4]),
        ("1.1.0", list(range(10))),
    ):
        with Table.open(f"{URI}@{selector}", address=address) as table:
            assert table.column("id").array.tolist() == expected
    _, layout = channel.open_version(f"{URI}@exp")
    assert (layout.branch, layout.uri) == ("exp", "alluxio://datasets/a@1.0.0-exp.2")
