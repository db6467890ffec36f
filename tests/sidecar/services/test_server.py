"""The sidecar as an object, and its process' main function: starts, failures, signals."""

import json
import logging
import os
import signal
import socket
import threading
import time
from contextlib import suppress

import grpc
import pyarrow as pa
import pytest
import structlog

from alluxio_lance.errors import AlreadyExists, NotFound, Restoring, Unavailable
from alluxio_lance.sidecar import command
from alluxio_lance.sidecar.peers import Peers
from alluxio_lance.sidecar.residency import CacheEvent
from alluxio_lance.sidecar.server import Sidecar
from alluxio_lance.sidecar.services.happenings import Happenings
from alluxio_lance.sidecar.settings import Settings, Share
from alluxio_lance.v1 import cache_pb2, lifecycle_pb2
from alluxio_lance.v1.cache_pb2_grpc import CacheStub
from alluxio_lance.v1.lifecycle_pb2_grpc import LifecycleStub


@pytest.fixture
def quiet():
    """Take back what a process' main function says about logs."""
    handlers = list(logging.getLogger().handlers)
    yield
    structlog.reset_defaults()
    for handler in [h for h in logging.getLogger().handlers if h not in handlers]:
        logging.getLogger().removeHandler(handler)


@pytest.fixture
def settings(tmp_path):
    """Settings of a small node."""
    return lambda **changes: Settings(
        **{"root": tmp_path / "root", "run_dir": tmp_path / "run", "memory_budget": "64MiB", **changes}
    )


@pytest.fixture
def call(settings):
    """Start a sidecar and give it with a call's way in, without the client's side."""
    with Sidecar(settings()) as sidecar, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
        door.connect(str(sidecar.address.door))
        door.send(b'{"op":"hello","protocol":1}')
        session = json.loads(door.recv(1 << 16))["session"]
        with grpc.insecure_channel(sidecar.address.grpc) as channel:
            yield sidecar, channel, (("alluxio-lance-session", session),)


def threads():
    """Name the threads of this process."""
    return {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("budget", [None, Share(0.01), 1 << 20])
def test_it_starts_stops_and_leaves_nothing(settings, budget):
    """No thread, no socket, no lock; closing twice is closing once; the folder may be used again."""
    before = threads()
    for _ in range(2):
        with Sidecar(settings(memory_budget=budget)) as sidecar:
            assert (sidecar.settings.run_dir / "grpc.sock").is_socket()
            assert sidecar.residency.statistics().budget_bytes > 0
            assert sidecar.leases.current() == ()
            assert sidecar.manager.list_resources() == []
        sidecar.close()
        assert {path.name for path in sidecar.settings.run_dir.iterdir()} == {"lock", "instance"}
        assert threads() - before <= {"alluxio-lance-heartbeat"}


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"root": "/proc/none"}, Unavailable, "root /proc/none cannot be made"),
        ({"catalog": "sqlite:////proc/none/catalog.db"}, Unavailable, "catalog"),
        ({"run_dir": "/proc/none"}, Unavailable, "run folder"),
    ],
)
def test_a_start_that_fails_says_why_and_leaves_the_folder_free(settings, changes, error, text):
    """Nothing of it runs on."""
    before = threads()
    with pytest.raises(error, match=text):
        Sidecar(settings(**changes))
    assert threads() == before
    Sidecar(settings()).close()


def test_a_socket_that_cannot_be_bound_is_said_so(settings, tmp_path):
    """Somebody made a folder of its name."""
    Sidecar(settings()).close()
    (tmp_path / "run" / "grpc.sock").mkdir()
    with pytest.raises((Unavailable, OSError), match=r"grpc\.sock"):
        Sidecar(settings())


def test_a_second_one_in_the_same_process_is_refused(settings):
    """The lock is the folder's, not the process'."""
    with Sidecar(settings()), pytest.raises(AlreadyExists, match="runs in"):
        Sidecar(settings())


def test_a_reader_that_gave_up_while_its_version_was_loaded_has_no_lease(call, monkeypatch):
    """It never hears of it."""
    sidecar, channel, metadata = call
    sidecar.manager.register_resource("datasets", "a", pa.table({"x": [1]}))
    plain, begun, go = sidecar.residency.open, threading.Event(), threading.Event()

    def slow(*arguments, **keywords):
        begun.set()
        assert go.wait(10)
        return plain(*arguments, **keywords)

    monkeypatch.setattr(sidecar.residency, "open", slow)
    future = CacheStub(channel).Open.future(cache_pb2.OpenRequest(uri="alluxio://datasets/a"), metadata=metadata)
    assert begun.wait(10)
    assert len(sidecar.leases.current()) == 1
    assert len(sidecar.manager.catalog.holders("datasets", "a")) == 1
    future.cancel()
    with suppress(grpc.FutureCancelledError):
        future.result()
    # The cancellation reaches the sidecar before the answer to a later call does.
    CacheStub(channel).Statistics(cache_pb2.StatisticsRequest(), metadata=metadata)
    go.set()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        CacheStub(channel).Statistics(cache_pb2.StatisticsRequest(), metadata=metadata)
        if not sidecar.leases.current():
            break
    assert sidecar.leases.current() == ()
    sidecar.leases.settle()
    assert sidecar.manager.catalog.holders("datasets", "a") == []


def test_a_register_from_a_path_ends_with_its_caller(call, tmp_path):
    """The next report of progress undoes it."""
    sidecar, channel, metadata = call
    path = tmp_path / "data.csv"
    path.write_text("x\n" + "1234567890\n" * 3_000_000)
    header = lifecycle_pb2.RegisterHeader(
        type="datasets", name="a", source=lifecycle_pb2.Source(path=str(path)), activate=True
    )
    stream = LifecycleStub(channel).Register(iter([lifecycle_pb2.RegisterRequest(header=header)]), metadata=metadata)
    next(stream)
    stream.cancel()
    sidecar.close()
    assert "register datasets/a" not in threads()


def test_a_version_deleted_before_it_could_be_loaded_is_said_so(call):
    """Not a file that is missing."""
    sidecar, _, _ = call
    version = sidecar.manager.register_resource("datasets", "a", pa.table({"x": [1]}), activate=False)
    sidecar.manager.delete_resource("datasets", "a")
    with pytest.raises(NotFound, match="was deleted before"):
        sidecar.residency.open(version)


def test_a_version_archived_before_it_could_be_loaded_is_said_so(call):
    """Its files may be gone in the middle of the load; a branch has its own table."""
    sidecar, _, _ = call
    old = sidecar.manager.register_resource("datasets", "a", pa.table({"x": [1]}))
    sidecar.manager.update_resource("datasets", "a", pa.table({"x": [2]}))
    branch = sidecar.manager.branch_resource("datasets", "a", "exp")
    sidecar.residency.open(branch).release()
    sidecar.manager.archive_resource("datasets", "a", "1.0.0")
    # The node may have had it in memory, and lets go of it when it hears of the archive.
    deadline = time.monotonic() + 60
    while sidecar.residency.is_hot(old) and time.monotonic() < deadline:
        time.sleep(0.01)
    with pytest.raises(Restoring, match="was archived before"):
        sidecar.residency.open(old)
    sidecar.manager.restore_resource("datasets", "a", "1.0.0")
    sidecar.residency.open(old).release()


def test_the_process_says_when_it_is_ready_and_ends_on_a_signal(tmp_path, capsys, monkeypatch, quiet):
    """One JSON line for scripts, a notification for systemd; the first signal stops it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bus:
        bus.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))

        def stop():
            assert bus.recv(100) == b"READY=1"
            os.kill(os.getpid(), signal.SIGTERM)

        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        thread = threading.Thread(target=stop)
        thread.start()
        try:
            status = command.main(["--root", str(tmp_path / "root"), "--run-dir", str(tmp_path / "run")])
        finally:
            thread.join()
            for number, handler in before.items():
                signal.signal(number, handler)
        assert bus.recv(100) == b"STOPPING=1"
    assert status == 0
    ready = json.loads(capsys.readouterr().out)
    assert (ready["ready"], ready["pid"]) == (True, os.getpid())
    assert ready["address"] == f"unix:{tmp_path}/run/grpc.sock"


def test_systemd_may_have_an_abstract_socket(monkeypatch):
    """Its name begins with an at sign."""
    name = f"alluxio-lance-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bus:
        bus.bind(f"\0{name}")
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        command._notify("READY=1")
        assert bus.recv(100) == b"READY=1"


def test_watchers_that_do_not_keep_up_are_let_go():
    """They may ask again; those that come after the end are let go at once."""
    happenings = Happenings()
    with happenings.listening() as slow:
        for _ in range(2000):
            happenings.tell(CacheEvent("hot", None))
        assert list(slow) == []
    with happenings.listening() as listener:
        happenings.tell(CacheEvent("hot", None))
        assert next(iter(listener)).event == "hot"
        happenings.close()
        assert list(listener) == []
    with happenings.listening() as late:
        assert list(late) == []


def test_a_user_that_there_is_none_of_cannot_be_allowed():
    """A misspelt name would be left out in silence."""
    from alluxio_lance.errors import InvalidArgument

    with pytest.raises(InvalidArgument, match="no such user"):
        Peers(["nobody-of-this-name"])
    assert Peers(["root", "12345"]).enter(1 << 22, 12345).user == "uid12345"


def test_a_process_that_has_ended_has_no_command_and_a_long_one_is_cut():
    """What /proc does not tell is empty."""
    peers = Peers()
    assert peers.enter((1 << 22) + 1, os.getuid()).command == ""
    assert len(peers.enter(os.getpid(), os.getuid()).command) <= 80
