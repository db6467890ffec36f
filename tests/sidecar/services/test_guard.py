"""The interceptor: who calls, how errors travel, and that long calls leave a way in for short ones."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import grpc
import pytest

from alluxio_lance import errors
from alluxio_lance.errors import AlluxioLanceError, InvalidArgument, NotFound, PermissionDenied, from_wire
from alluxio_lance.governance import Identity
from alluxio_lance.sidecar.peers import Peers
from alluxio_lance.sidecar.services import guard
from alluxio_lance.sidecar.services.guard import ERROR_KEY, Guard, identity, local_peer
from alluxio_lance.v1 import cache_pb2
from alluxio_lance.v1 import lifecycle_pb2 as pb
from alluxio_lance.v1.cache_pb2_grpc import CacheServicer, CacheStub, add_CacheServicer_to_server
from alluxio_lance.v1.lifecycle_pb2_grpc import LifecycleServicer, LifecycleStub, add_LifecycleServicer_to_server

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, AlluxioLanceError)]


class Names:
    """Tells who calls from the header alone; what really tells is tested in tests/lifecycle/access."""

    def __init__(self):
        self.revoked = set()

    def user(self, user, uid, pid):
        """Name a process."""
        return Identity(actor=f"{user}@here", roles=(), method="peer", origin=f"unix:pid={pid}")

    def bearer(self, header, origin):
        """Name a bearer."""
        if header in self.revoked:
            raise PermissionDenied("revoked")
        return Identity(actor=header, roles=(), method="token", origin=origin)


class Failing(LifecycleServicer):
    """Raises what it is told to; a watch lasts until it is let go. Notes who called."""

    def __init__(self):
        self.error = None
        self.callers = []
        self.begun = threading.Semaphore(0)
        self.go = threading.Event()

    def Storage(self, request, context):  # noqa: N802 - gRPC names it
        """Fail, or answer."""
        self.callers.append((identity(context), local_peer(context)))
        if self.error:
            raise self.error
        return pb.StorageResponse()

    def Watch(self, request, context):  # noqa: N802 - gRPC names it
        """Fail after one message, or wait and tell once more."""
        yield pb.WatchResponse()
        if self.error:
            raise self.error
        self.begun.release()
        self.go.wait(10)
        self.callers.append((identity(context), local_peer(context)))
        yield pb.WatchResponse()


class Reading(CacheServicer):
    """Needs the door."""

    def Evict(self, request, context):  # noqa: N802 - gRPC names it
        """Answer."""
        return cache_pb2.EvictResponse()


@dataclass
class Served:
    """A guarded server on a Unix socket and a TCP port."""

    servicer: Failing
    names: Names
    peers: Peers
    local: grpc.Channel
    remote: grpc.Channel
    session: str


@contextmanager
def serving(tmp_path, most_long=2):
    """Serve on both."""
    peers, servicer, names = Peers(), Failing(), Names()
    with ThreadPoolExecutor(8) as threads:
        server = grpc.server(threads, interceptors=[Guard(peers, most_long, names)])
        add_LifecycleServicer_to_server(servicer, server)
        add_CacheServicer_to_server(Reading(), server)
        address = f"unix:{tmp_path}/grpc.sock"
        server.add_insecure_port(address)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        options = [("grpc.max_metadata_size", 256 << 10)]
        try:
            with (
                grpc.insecure_channel(address, options=options) as local,
                grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as remote,
            ):
                yield Served(servicer, names, peers, local, remote, peers.enter(1, 0).session)
        finally:
            servicer.go.set()
            server.stop(0).wait()


@contextmanager
def served(tmp_path, most_long=2):
    """Serve, and call from a process that is known."""
    with serving(tmp_path, most_long) as all_of_it:
        yield all_of_it.servicer, LifecycleStub(all_of_it.local), (("alluxio-lance-session", all_of_it.session),)


def called(served, channel, *metadata):
    """Call, and return who that was."""
    LifecycleStub(channel).Storage(pb.StorageRequest(), metadata=metadata)
    return served.servicer.callers.pop()


def received(caught):
    """Read the error that came."""
    return from_wire(dict(caught.value.trailing_metadata())[ERROR_KEY])


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_arrives_in_its_class_with_its_details(tmp_path, kind):
    """From calls with one answer and from streams; foreign clients read status and sentence."""
    with served(tmp_path) as (servicer, stub, metadata):
        servicer.error = kind("Ümläut - what to do", number=1, deep={"list": ["x"]})
        for call in (
            lambda: stub.Storage(pb.StorageRequest(), metadata=metadata),
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
            stub.Storage(pb.StorageRequest(), metadata=metadata)
        assert caught.value.code() is grpc.StatusCode.INTERNAL
        assert "boom" in received(caught).message


def test_details_that_are_too_long_stay_behind(tmp_path):
    """The sentence and the class arrive."""
    with served(tmp_path) as (servicer, stub, metadata):
        servicer.error = NotFound("n" * 5000, long=["x" * 1000] * 1000)
        with pytest.raises(grpc.RpcError) as caught:
            stub.Storage(pb.StorageRequest(), metadata=metadata)
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
        stub.Storage(pb.StorageRequest(), metadata=metadata)
        servicer.go.set()
        for watch in watches:
            list(watch)
        assert len(list(stub.Watch(pb.WatchRequest(), metadata=metadata))) == 2


def test_a_process_of_the_node_is_known_by_its_session(tmp_path):
    """By the door's word, with its number as the origin."""
    with serving(tmp_path) as all_of_it:
        who, peer = called(all_of_it, all_of_it.local, ("alluxio-lance-session", all_of_it.session))
        assert (who.actor, who.method, who.origin) == ("root@here", "peer", "unix:pid=1")
        assert peer.session == all_of_it.session


def test_a_token_counts_for_more_than_the_process(tmp_path):
    """Whose door it came through stays known: leases are the process'."""
    with serving(tmp_path) as all_of_it:
        session = ("alluxio-lance-session", all_of_it.session)
        who, peer = called(all_of_it, all_of_it.local, session, ("authorization", "Bearer a"))
        assert (who.actor, who.origin, peer.pid) == ("Bearer a", "unix:pid=1", 1)
        who, peer = called(all_of_it, all_of_it.local, ("authorization", "Bearer a"))
        assert (who.actor, who.origin, peer) == ("Bearer a", "unix", None)


def test_over_the_network_a_token_is_all_that_counts(tmp_path):
    """A session is none there: it was given to a process of the node."""
    with serving(tmp_path) as all_of_it:
        session = ("alluxio-lance-session", all_of_it.session)
        who, peer = called(all_of_it, all_of_it.remote, ("authorization", "Bearer a"), session)
        assert (who.actor, peer) == ("Bearer a", None)
        assert who.origin.startswith("ipv4:127.0.0.1:")
        for metadata in ((), (session,)):
            with pytest.raises(grpc.RpcError) as caught:
                called(all_of_it, all_of_it.remote, *metadata)
            assert isinstance(received(caught), PermissionDenied)
            assert "carries no token" in received(caught).message


@pytest.mark.parametrize(
    ("metadata", "what"),
    [
        ((), "carries no session"),
        ((("alluxio-lance-session", "0" * 32),), "unknown or has ended"),
        ((("alluxio-lance-session", "0" * 32), ("authorization", "Bearer a")), "unknown or has ended"),
        ((("authorization", "Bearer a"), ("authorization", "Bearer b")), "2 times"),
        ((("alluxio-lance-session", "a"), ("alluxio-lance-session", "b")), "2 times"),
    ],
)
def test_who_is_not_known_is_refused(tmp_path, metadata, what):
    """Nobody is asked which of two he means."""
    with serving(tmp_path) as all_of_it:
        with pytest.raises(grpc.RpcError) as caught:
            called(all_of_it, all_of_it.local, *metadata)
        assert isinstance(received(caught), PermissionDenied)
        assert what in received(caught).message
        assert all_of_it.servicer.callers == []


def test_what_needs_the_door_does_not_work_over_the_network(tmp_path):
    """The sentence says where it does."""
    with serving(tmp_path) as all_of_it:
        metadata = (("authorization", "Bearer a"),)
        with pytest.raises(grpc.RpcError) as caught:
            CacheStub(all_of_it.remote).Evict(cache_pb2.EvictRequest(), metadata=metadata)
        assert isinstance(received(caught), InvalidArgument)
        assert "Cache/Evict works only on the node itself" in received(caught).message
        CacheStub(all_of_it.local).Evict(cache_pb2.EvictRequest(), metadata=metadata)


def test_a_lasting_call_ends_with_its_token(tmp_path, monkeypatch):
    """What happens after the token was revoked is not told."""
    monkeypatch.setattr(guard, "_RENEWED", 0.0)
    with serving(tmp_path) as all_of_it:
        watch = LifecycleStub(all_of_it.remote).Watch(pb.WatchRequest(), metadata=(("authorization", "Bearer a"),))
        next(watch)
        assert all_of_it.servicer.begun.acquire(timeout=10)
        all_of_it.names.revoked.add("Bearer a")
        all_of_it.servicer.go.set()
        with pytest.raises(grpc.RpcError) as caught:
            next(watch)
        assert received(caught).message == "revoked"


def test_a_lasting_call_knows_the_roles_of_the_moment(tmp_path, monkeypatch):
    """Whose roles were taken while nothing happened is told nothing of what happens next by them."""
    monkeypatch.setattr(guard, "_RENEWED", 0.0)
    with serving(tmp_path) as all_of_it:
        watch = LifecycleStub(all_of_it.remote).Watch(pb.WatchRequest(), metadata=(("authorization", "Bearer a"),))
        next(watch)
        assert all_of_it.servicer.begun.acquire(timeout=10)
        monkeypatch.setattr(
            all_of_it.names,
            "bearer",
            lambda header, origin: Identity(actor=header, roles=("less",), method="token", origin=origin),
        )
        all_of_it.servicer.go.set()
        next(watch)
        assert [who.roles for who, _ in all_of_it.servicer.callers] == [("less",)]


def test_a_context_that_the_guard_has_not_seen_is_nobody_s():
    """A service that is not guarded must not serve."""

    class Context:
        """As little as a context can be."""

    with pytest.raises(PermissionDenied, match="guard"):
        identity(Context())
    assert local_peer(Context()) is None
