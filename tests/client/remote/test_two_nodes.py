"""Two sidecars with one catalog: what is done on one node is felt on the other."""

import time

import pytest

from alluxio_lance.client.cache import RemoteCache
from alluxio_lance.client.manager import RemoteManager
from alluxio_lance.client.table import Table
from alluxio_lance.errors import Leased
from alluxio_lance.values import State

URI = "alluxio://datasets/a"
OLD = f"{URI}@1.0.0"
TTL = 2.0


@pytest.fixture
def nodes(start, tmp_path):
    """The nodes A and B: processes of their own, run folders of their own, the same root."""
    return tuple(start("--node", name, "--lease-ttl", TTL, run_dir=tmp_path / name) for name in ("node-a", "node-b"))


@pytest.fixture
def manager(nodes, rows):
    """A manager at node A, with an old version and an active one."""
    with RemoteManager.open(nodes[0].address) as manager:
        manager.register_resource("datasets", "a", rows(5))
        manager.update_resource("datasets", "a", rows(5, 5))
        yield manager


def hot(cache):
    """List what is hot."""
    return {version.semver for version in cache.statistics().versions if version.status == "hot"}


def until(what, seconds=20.0):
    """Ask until it is so; each question waits for a sidecar."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end


@pytest.mark.parametrize("verb", ["deprecate", "archive", "delete"])
def test_a_version_leaves_the_memory_of_every_node(nodes, manager, verb):
    """Whichever node it was said to; the active version stays hot on both."""
    with RemoteCache.connect(nodes[0].address) as one, RemoteCache.connect(nodes[1].address) as other:
        for cache in (one, other):
            list(cache.prefetch(OLD))
            until(lambda cache=cache: hot(cache) == {"1.0.0", "1.1.0"})
        getattr(manager, f"{verb}_resource")("datasets", "a", "1.0.0")
        for cache in (one, other):
            until(lambda cache=cache: hot(cache) == {"1.1.0"})
        if verb == "delete":
            manager.purge_resource("datasets", "a", "1.0.0")
        manager.delete_resource("datasets", "a")
        for cache in (one, other):
            until(lambda cache=cache: hot(cache) == set())


def test_a_version_archived_on_one_node_comes_back_for_a_reader_on_the_other(nodes, manager):
    """And then it is there for both."""
    manager.archive_resource("datasets", "a", "1.0.0")
    with Table.open(OLD, address=str(nodes[1].address.run_folder), wait=True) as table:
        assert table.column("id").array.tolist() == list(range(5))
    assert manager.find_version("datasets", "a", "1.0.0").state is State.REGISTERED


@pytest.mark.parametrize("verb", ["archive", "delete"])
def test_a_reader_on_another_node_is_named_and_its_lease_ends_with_the_node(nodes, manager, reader, verb):
    """Node, process and age; after `kill -9` of the node the verb passes within the time to live of its leases."""
    do = getattr(manager, f"{verb}_resource")
    process = reader(nodes[1].address, OLD)
    with pytest.raises(Leased) as refusal:
        do("datasets", "a", "1.0.0")
    (holder,) = refusal.value.details["holders"]
    assert (holder["node"], holder["pid"], holder["semver"]) == ("node-b", process.pid, "1.0.0")
    assert holder["age"] >= 0
    for part in ("node-b", str(process.pid)):
        assert part in refusal.value.message
    nodes[1].kill()
    killed = time.monotonic()

    def passed():
        try:
            do("datasets", "a", "1.0.0")
        except Leased:
            return False
        return True

    until(passed)
    assert time.monotonic() - killed < TTL + 3
    (version,) = manager.list_versions("datasets", "a", deleted=verb == "delete")[-1:]
    assert (version.semver, version.state) == ("1.0.0", State.DELETED if verb == "delete" else State.ARCHIVED)
