"""The interceptor: how errors travel, and that long calls leave a way in for short ones."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest

from alluxio_lance import errors
from alluxio_lance.errors import AlluxioLanceError, NotFound, from_wire
from alluxio_lance.sidecar.peers import Peers
from alluxio_lance.sidecar.services.guard import ERROR_KEY, Guard
from alluxio_lance.v1 import lifecycle_pb2 as pb
from alluxio_lance.v1.lifecycle_pb2_grpc import LifecycleServicer, LifecycleStub, add_LifecycleServicer_to_server

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, AlluxioLanceError)]


class Failing(LifecycleServicer):
    """Raises what it is told to; a watch lasts until it is let go."""

    def __init__(self):
        self.error = None
        self.begun = threading.Semaphore(0)
        self.go = threading.Event()

    def History(self, request, context):  # noqa: N802 - gRPC names it
        """Fail, or answer."""
        if self.error:
            raise self.error
        return pb.HistoryResponse()

    def Watch(self, request, context):  # noqa: N802 - gRPC names it
        """Fail after one message, or wait."""
        yield pb.WatchResponse()
        if self.error:
            raise self.error
        self.begun.release()
        self.go.wait(10)


@contextmanager
def served(tmp_path, most_long=2):
    """Serve it on a Unix socket."""
    peers, servicer = Peers(), Failing()
    with ThreadPoolExecutor(8) as threads:
        server = grpc.server(threads, interceptors=[Guard(peers, most_long)])
        add_LifecycleServicer_to_server(servicer, server)
        address = f"unix:{tmp_path}/grpc.sock"
        server.add_insecure_port(address)
        server.start()
        metadata = (("alluxio-lance-session", peers.enter(1, 0).session),)
        try:
            with grpc.insecure_channel(address, options=[("grpc.max_metadata_size", 256 << 10)]) as channel:
                yield servicer, LifecycleStub(channel), metadata
        finally:
            servicer.go.set()
            server.stop(0).wait()


def received(caught):
    """Read the error that came."""
    return from_wire(dict(caught.value.trailing_metadata())[ERROR_KEY])


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_arrives_in_its_class_with_its_details(tmp_path, kind):
    """From calls with one answer and from streams; foreign clients read status and sentence."""
    with served(tmp_path) as (servicer, stub, metadata):
        servicer.error = kind("Ümläut - what to do", number=1, deep={"list": ["x"]})
        for call in (
            lambda: stub.History(pb.HistoryRequest(), metadata=metadata),
            lambda: list(stub.Watch(pb.WatchRequest(), metadata=metadata)),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                call()
            assert caught.value.code().name == kind.grpc
            assert caught.value.details() == "Ümläut - what to do"
            error = received(caught)
            assert type(error) is (errors.Internal if kind is AlluxioLanceError else kind)
            assert error.details == {"number": 1, "deep": {"list": ["x"]}}


def test_a_fault_arrives_as_internal(tmp_path):
    """With the exception's own words; the log has the trace."""
    with served(tmp_path) as (servicer, stub, metadata):
        servicer.error = ZeroDivisionError("boom")
        with pytest.raises(grpc.RpcError) as caught:
            stub.History(pb.HistoryRequest(), metadata=metadata)
        assert caught.value.code() is grpc.StatusCode.INTERNAL
        assert "boom" in received(caught).message


def test_details_that_are_too_long_stay_behind(tmp_path):
    """The sentence and the class arrive."""
    with served(tmp_path) as (servicer, stub, metadata):
        servicer.error = NotFound("n" * 5000, long=["x" * 1000] * 1000)
        with pytest.raises(grpc.RpcError) as caught:
            stub.History(pb.HistoryRequest(), metadata=metadata)
        error = received(caught)
        assert isinstance(error, NotFound)
        assert (error.message, error.details) == ("n" * 1024, {})


def test_long_calls_leave_a_way_in_for_short_ones(tmp_path):
    """One too many is refused at once, and served when another has ended."""
    with served(tmp_path) as (servicer, stub, metadata):
        watches = [stub.Watch(pb.WatchRequest(), metadata=metadata) for _ in range(2)]
        for watch in watches:
            next(watch)
        with pytest.raises(grpc.RpcError) as caught:
            list(stub.Watch(pb.WatchRequest(), metadata=metadata))
        assert "2 long calls" in received(caught).message
        stub.History(pb.HistoryRequest(), metadata=metadata)
        servicer.go.set()
        for watch in watches:
            list(watch)
        assert len(list(stub.Watch(pb.WatchRequest(), metadata=metadata))) == 1
