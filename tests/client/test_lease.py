"""Leases: opened at a real sidecar, pickled to other processes, and outliving the sidecar."""

from __future__ import annotations

import os
import pickle
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from alluxio_lance.client import descriptors
from alluxio_lance.client.descriptors import Descriptors, make_room
from alluxio_lance.client.lease import Lease
from alluxio_lance.client.table import Table
from alluxio_lance.errors import Internal, InvalidURI, NotActive, NotFound, Unavailable

DATA = pa.table({"a": np.arange(9000), "s": [f"s{number}" for number in range(9000)]})

READ = """
import pickle, sys
table = pickle.loads(sys.stdin.buffer.read())
assert table.column("a").array.sum() == sum(range(9000))
assert table.column("s").row(-1) == "s8999"
print(table.lease.attached, sorted({"grpc", "google.protobuf", "lance"} & set(sys.modules)))
"""


def read_elsewhere(state: bytes) -> str:
    """Unpickle a table in a process of its own, read it there, and return what it says about itself."""
    done = subprocess.run([sys.executable, "-P", "-c", READ], input=state, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


def connections(node, name: str) -> int:
    """Count the connections that hold a lease on a resource."""
    from alluxio_lance.client.channel import Channel
    from alluxio_lance.v1 import cache_pb2

    with Channel.connect(node.address) as channel, channel.speaking() as stubs:
        leases = stubs.cache.Statistics(cache_pb2.StatisticsRequest()).leases
    return sum(lease.connections for lease in leases if lease.name == name)


def test_a_lease_is_held_until_it_is_closed(node):
    """The sidecar counts a reader from open to close, and not after."""
    node.register("leases/held", DATA)
    with Table.open("alluxio://datasets/leases/held", ["a"], node.at) as table:
        assert list(table.columns) == ["a"]
        assert table.lease.attached
        assert connections(node, "leases/held") == 1
    table.close()
    assert connections(node, "leases/held") == 0
    with pytest.raises(Unavailable, match="was closed"):
        pickle.dumps(table)


def test_a_pickled_table_attaches_through_the_door(node):
    """Another process reads the same memory on a lease of its own, and loads neither gRPC, protobuf nor Lance."""
    node.register("leases/door", DATA)
    with Table.open("alluxio://datasets/leases/door", None, node.at) as table:
        assert read_elsewhere(pickle.dumps(table)) == "True []"
        with pickle.loads(pickle.dumps(table)) as copy:
            assert copy.column("s").row(3) == "s3"
            assert connections(node, "leases/door") == 2


def test_a_pickled_table_outlives_the_sidecar(own_node):
    """Without a sidecar, and under another one, a copy takes the descriptors from the process that pickled it."""
    own_node.register("x", DATA)
    with Table.open("alluxio://datasets/x", None, own_node.at) as table:
        own_node.kill()
        assert not table.lease.attached
        assert read_elsewhere(pickle.dumps(table)) == "False []"
        own_node.start()
        assert read_elsewhere(pickle.dumps(table)) == "False []"


def test_a_copy_that_finds_nobody(own_node):
    """When sidecar and origin are both gone, or the numbers mean other files now, the error says what was tried."""
    own_node.register("x", DATA)
    with Table.open("alluxio://datasets/x", None, own_node.at) as table:
        state = pickle.dumps(table)
    own_node.kill()
    with pytest.raises(Unavailable, match=r"no sidecar answers.*not through the process that opened it"):
        pickle.loads(state)
    # The same numbers, open again, and other files.
    others = [os.open("/dev/null", os.O_RDONLY) for _ in range(64)]
    before = set(Path("/proc/self/fd").iterdir())
    with pytest.raises(Unavailable, match="no longer holds these files"):
        pickle.loads(state)
    assert set(Path("/proc/self/fd").iterdir()) <= before
    for number in others:
        os.close(number)


@pytest.mark.parametrize(
    ("uri", "columns", "error"),
    [
        ("alluxio://datasets/none", None, NotFound),
        ("alluxio://datasets/leases/errors@9.9.9", None, NotFound),
        ("alluxio://datasets/leases/errors", ["nope"], NotFound),
        ("alluxio://datasets/leases/asleep", None, NotActive),
        ("datasets", None, InvalidURI),
    ],
)
def test_what_cannot_be_opened(node, uri, columns, error):
    """What the sidecar says to a URI or a column arrives as the right error, and leaves nothing open."""
    if uri.endswith("errors"):
        node.register("leases/errors", DATA)
    if uri.endswith("asleep"):
        node.register("leases/asleep", DATA, activate=False)
    with pytest.raises(error):
        Table.open(uri, columns, node.at)


def test_no_sidecar(tmp_path):
    """Without a sidecar opening is Unavailable at once."""
    with pytest.raises(Unavailable, match="alluxio-lance up"):
        Table.open("alluxio://datasets/x", None, str(tmp_path))


SCRIPT = """
import sys
import alluxio_lance as al
from alluxio.torch import Dataset
ds = Dataset("alluxio://datasets/leases/ending", address=sys.argv[1])
table = al.ResourceManager.connect(sys.argv[1]).get_resource("datasets", "leases/ending")
print(len(ds), table.to_lance().count_rows())
"""


@pytest.mark.torch
def test_a_script_that_ends_with_everything_open_ends_quietly(node):
    """Modules are gone when the last objects go: the kernel closes what they held, and nobody is told."""
    node.register("leases/ending", DATA)
    command = [sys.executable, "-P", "-c", SCRIPT, node.at]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "9000 9000\n", "")


def test_a_forgotten_lease_is_a_warning(make_table):
    """A lease that nobody closes warns when it is collected, and its descriptors are closed."""
    table = make_table(DATA)
    lease = Lease(
        table.lease.address, "t", table.layout, Descriptors(map(os.dup, table.lease.descriptors.numbers)), None
    )
    numbers = lease.descriptors.numbers
    with pytest.warns(ResourceWarning, match="was not closed"):
        del lease  # the last reference
    for number in numbers:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(number)


def test_a_layout_without_its_descriptors(make_table):
    """Fewer descriptors than segments are refused before anything is read."""
    table = make_table(DATA)
    with pytest.raises(Internal, match="segments and 0 descriptors"):
        Lease(table.lease.address, "t", table.layout, Descriptors([]), None)


def test_descriptors_stay_open_for_those_who_may_still_map(make_table):
    """A column that a thread still uses when the version is closed maps the right memory, not what took its number."""
    table = make_table(DATA)
    column = table.column("a")
    table.close()
    assert column.view(5, 8).tolist() == [5, 6, 7]


def test_open_files_are_not_counted_for_each_window(monkeypatch):
    """Once they were, there is room for as many as were left; with another limit, or when these are spent, they are again."""
    counted = []
    monkeypatch.setattr(descriptors, "_open_files", lambda: counted.append(1) or 100)
    monkeypatch.setattr(descriptors, "_counted", descriptors._Counted())
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, before[1]))
        for _ in range(4):
            make_room(167)
        assert len(counted) == 1
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 1024
        make_room(1)
        assert len(counted) == 2
        resource.setrlimit(resource.RLIMIT_NOFILE, (1000, before[1]))
        make_room(1)
        assert len(counted) == 3
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_room_for_descriptors():
    """The soft limit on open files is raised as far as needed; beyond the hard one the error says what to raise."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (300, before[1]))
        make_room(100)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 300
        raised = resource.getrlimit(resource.RLIMIT_NOFILE)
        make_room(1)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == raised
        with pytest.raises(Unavailable, match="ulimit -Hn"):
            make_room(before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
