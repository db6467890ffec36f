"""From a URI to a lease, against a real sidecar: at the door what is hot, in gRPC everything else, and nobody can tell."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pyarrow as pa
import pytest

from alluxio_lance.client import door
from alluxio_lance.client.channel import Channel
from alluxio_lance.client.door import Door
from alluxio_lance.client.opening import open_lease
from alluxio_lance.errors import AlluxioLanceError

DATA = pa.table({"x": range(10_000), "s": ["é"] * 10_000, "l": [[1, None]] * 10_000})


@pytest.fixture
def ways(monkeypatch):
    """Note which way each open goes: ``door`` when a lease came from it, ``grpc``."""
    noted = []
    connect_and_open, open_version = Door.connect_and_open, Channel.open_version

    def at_the_door(*arguments):
        opened = connect_and_open(*arguments)
        noted.extend(["door"] if opened else [])
        return opened

    def in_grpc(*arguments, **keywords):
        noted.append("grpc")
        return open_version(*arguments, **keywords)

    monkeypatch.setattr(Door, "connect_and_open", at_the_door)
    monkeypatch.setattr(Channel, "open_version", in_grpc)
    return noted


def inodes(lease):
    """Say which memory a lease is on."""
    return [os.fstat(number).st_ino for number in lease.descriptors.numbers]


def test_the_first_open_loads_in_grpc_and_the_second_is_at_the_door(make_node, ways):
    """Both have the same layout and the same memory, each its own lease; some columns alike."""
    node = make_node("--prefetch", "none")
    node.register("a", DATA)
    uri = "alluxio://datasets/a"
    with (
        open_lease(uri, ["s"], node.address) as first,
        open_lease(uri, ["s"], node.address) as second,
    ):
        assert ways == ["grpc", "door"]
        assert first.layout == second.layout
        assert inodes(first) == inodes(second)
        assert first.token != second.token
        assert second.attached
    with open_lease(uri, None, node.address) as first, open_lease(uri, None, node.address) as second:
        assert ways == ["grpc", "door"] * 2
        assert first.layout == second.layout
        assert inodes(first) == inodes(second)
    with open_lease(f"{uri}@1.0.0", ["l", "x"], node.address, wait=True, on_progress=print) as third:
        assert ways[4:] == ["door"]
        assert [column.name for column in third.layout.columns] == ["l", "x"]


def test_versions_of_many_shards_and_of_none(node, ways):
    """Descriptors in several packets, or none at all."""
    node.register("opening/none", DATA.slice(0, 0))
    node.register("opening/wide", pa.table({f"c{number}": [number] for number in range(300)}))
    for name, count in (("none", 0), ("wide", 300)):
        uri = f"alluxio://datasets/opening/{name}"
        with open_lease(uri, address=node.address) as first, open_lease(uri, address=node.address) as second:
            assert ways[-1] == "door"
            assert first.layout == second.layout
            assert inodes(first) == inodes(second)
            assert len(inodes(second)) == count


@pytest.mark.parametrize(
    ("uri", "columns"),
    [
        ("alluxio://datasets/opening/refused@9.9.9", None),
        ("alluxio://datasets/opening/missing", None),
        ("alluxio://datasets/opening/inactive", None),
        ("alluxio://datasets/opening/refused", ["z"]),
        ("alluxio:///file", None),
        ("nothing", None),
    ],
)
def test_a_refusal_is_the_same_on_both_ways(node, monkeypatch, uri, columns):
    """In class, message and details."""
    names = {each.name for each in node.call(lambda manager: manager.list_resources())}
    if "opening/refused" not in names:
        node.register("opening/refused", DATA)
        node.register("opening/inactive", DATA, activate=False)
    open_lease("alluxio://datasets/opening/refused", address=node.address).close()
    refusals = []
    for _ in range(2):
        with pytest.raises(AlluxioLanceError) as caught:
            open_lease(uri, columns, node.address)
        refusals.append((caught.type, caught.value.message, caught.value.details))
        monkeypatch.setattr(Door, "connect_and_open", lambda *_: None)
    assert refusals[0] == refusals[1]


def test_a_token_goes_through_grpc(node, ways, monkeypatch):
    """The door knows users only: the roles of the token count, and the refusal is its bearer's."""
    node.register("opening/token", DATA)
    uri = "alluxio://datasets/opening/token"
    open_lease(uri, address=node.address).close()
    _, secret = node.call(lambda manager: manager.issue_token("opener", ["viewer"]))
    monkeypatch.setenv("ALLUXIO_LANCE_TOKEN", secret)
    ways.clear()
    open_lease(uri, address=node.address).close()
    assert ways == ["grpc"]
    monkeypatch.setenv("ALLUXIO_LANCE_TOKEN", "no token")
    with pytest.raises(AlluxioLanceError, match="holds no token"):
        open_lease(uri, address=node.address)


def test_a_sidecar_that_is_too_old_is_asked_in_grpc(node, ways, monkeypatch):
    """Its hello does not name the request."""
    node.register("opening/old", DATA)
    uri = "alluxio://datasets/opening/old"
    open_lease(uri, address=node.address).close()
    greet = door._greet

    def old(*arguments):
        hello, is_asked = greet(*arguments)
        del hello["ops"]
        return hello, is_asked

    monkeypatch.setattr(door, "_greet", old)
    ways.clear()
    open_lease(uri, address=node.address).close()
    assert ways == ["grpc"]


def test_a_pointer_that_moved_is_followed_at_once(node, ways):
    """What was rolled back is not handed out as active, though it is hot."""
    node.register("opening/moves", DATA)
    uri = "alluxio://datasets/opening/moves"
    node.update("opening/moves", DATA)
    open_lease(f"{uri}@1.0.0", address=node.address).close()
    open_lease(f"{uri}@1.1.0", address=node.address).close()
    ways.clear()
    for semver in ("1.0.0", "1.1.0", "1.0.0"):
        node.call(lambda manager, semver=semver: manager.activate_resource("datasets", "opening/moves", semver))
        with open_lease(uri, address=node.address) as lease:
            assert lease.layout.semver == semver
    assert len(ways) == 3


def test_a_process_that_opens_what_is_hot_loads_no_grpc(node):
    """Neither gRPC nor protobuf, and its lease is known to the catalog for as long as it lives."""
    node.register("opening/light", DATA)
    open_lease("alluxio://datasets/opening/light", address=node.address).close()
    code = """
import json, sys
from alluxio_lance.client.table import Table
with Table.open("alluxio://datasets/opening/light", address=sys.argv[1]) as table:
    heavy = [name for name in sys.modules if name.split(".")[0] in ("grpc", "google")]
    print(json.dumps([heavy, table.lease.token]), flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-P", "-c", code, node.at], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as reader:
        heavy, token = json.loads(reader.stdout.readline())
        assert heavy == []
        assert token
        with pytest.raises(AlluxioLanceError, match=f"process {reader.pid} of"):
            node.call(lambda manager: manager.delete_resource("datasets", "opening/light"))
        reader.kill()
    node.call(lambda manager: manager.delete_resource("datasets", "opening/light"))
