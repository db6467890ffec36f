"""The channel: what goes wrong in gRPC itself becomes an error of ours, with a way on."""

import socket
import threading

import grpc
import pytest

from alluxio_lance.address import Address
from alluxio_lance.client.channel import Channel
from alluxio_lance.errors import Internal, InvalidArgument, Unavailable
from alluxio_lance.v1 import cache_pb2, lifecycle_pb2


def test_a_call_that_takes_longer_than_its_deadline_says_so(sidecar, channel, manager, rows, monkeypatch):
    """It may go on in the sidecar, but its lease is nobody's."""
    manager.register_resource("datasets", "a", rows(1))
    plain, go = sidecar.residency.open, threading.Event()

    def slow(*arguments, **keywords):
        assert go.wait(10)
        return plain(*arguments, **keywords)

    monkeypatch.setattr(sidecar.residency, "open", slow)
    with pytest.raises(Unavailable, match="did not finish in time"):
        channel.open_version("alluxio://datasets/a", timeout=0.1)
    go.set()


def test_a_message_that_is_too_large_is_the_caller_s_to_mend(channel):
    """With the limit."""
    with pytest.raises(InvalidArgument, match="larger than 64 MiB"), channel.speaking() as stubs:
        stubs.lifecycle.Get(lifecycle_pb2.GetRequest(type="datasets", name="x" * (65 << 20)))


def test_a_call_that_the_sidecar_does_not_know_means_another_version_of_it(channel):
    """The sentence says to install the same on both sides."""
    with pytest.raises(Unavailable, match="same version"), channel.speaking() as stubs:
        stubs.channel.unary_unary("/alluxio_lance.v1.Cache/Melt")(b"")


def test_a_failure_in_grpc_itself_is_a_fault_to_report(channel):
    """An answer that is no message, as one example."""

    def refuse(data):
        raise ValueError(data)

    with pytest.raises(Internal, match="please report"), channel.speaking() as stubs:
        stubs.channel.unary_unary("/grpc.health.v1.Health/Check", response_deserializer=refuse)(b"")


def test_a_door_without_grpc_behind_it_is_no_sidecar(sidecar, tmp_path):
    """The wait for it ends; nothing stays open."""
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "door.sock").symlink_to(sidecar.address.door)
    with pytest.raises(Unavailable, match=r"no answer within 0\.5 s.*alluxio-lance up"):
        Channel.connect(Address(tmp_path / "half"), timeout=0.5)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as mute:
        mute.bind(str(tmp_path / "half" / "grpc.sock"))
        with pytest.raises(Unavailable, match="no answer within"):
            Channel.connect(Address(tmp_path / "half"), timeout=0.5)


def test_a_closed_channel_takes_no_calls_and_ends_those_under_way(sidecar):
    """Both are told which channel it was."""
    channel = Channel.connect(sidecar.address)
    with channel.speaking() as stubs:
        watch = stubs.cache.Watch(cache_pb2.CacheWatchRequest())
        watch.initial_metadata()
    channel.close()
    channel.close()
    with pytest.raises(Unavailable, match="was closed"), channel.speaking():
        pass
    with pytest.raises(grpc.RpcError):
        next(watch)
