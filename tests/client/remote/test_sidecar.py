"""Sidecars as processes: started, stopped, killed, started again, two at once, and callers that lie or die."""

import os
import signal
import subprocess
import sys
import threading
import time

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from alluxio_lance.client.cache import RemoteCache
from alluxio_lance.client.channel import Channel
from alluxio_lance.client.door import Door
from alluxio_lance.client.manager import RemoteManager
from alluxio_lance.errors import Leased, NotFound, PermissionDenied, Unavailable, from_wire
from alluxio_lance.v1 import cache_pb2, governance_pb2, lifecycle_pb2
from alluxio_lance.v1.cache_pb2_grpc import CacheStub
from alluxio_lance.v1.governance_pb2_grpc import GovernanceStub
from alluxio_lance.v1.lifecycle_pb2_grpc import LifecycleStub
from alluxio_lance.values import Verb

URI = "alluxio://datasets/a"


def hot(cache, semver="1.0.0"):
    """Wait until a version is hot."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if any(v.semver == semver and v.columns and v.status == "hot" for v in cache.statistics().versions):
            return
    raise AssertionError(cache.statistics())


def gone(ask):
    """Wait until a list is empty; each look waits for the sidecar."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if not ask():
            return
    raise AssertionError(ask())


def test_it_stops_quickly_with_watches_open_and_leaves_no_socket(start, rows):
    """Watchers are told; a stop is no failure."""
    node = start()
    with RemoteManager.open(node.address) as manager, RemoteCache.connect(node.address) as cache:
        manager.register_resource("datasets", "a", rows(10))
        watches = [manager.watch(), cache.watch()]
        ended = []

        def follow(watch):
            with pytest.raises(Unavailable):
                for _ in watch:
                    pass
            ended.append(watch)

        threads = [threading.Thread(target=follow, args=(watch,)) for watch in watches]
        for thread in threads:
            thread.start()
        assert node.stop() == 0
        for thread in threads:
            thread.join(5)
        assert len(ended) == 2
    assert sorted(path.name for path in node.address.run_folder.iterdir()) == ["instance", "lock"]
    assert node.process.stderr.read() == ""


def test_a_killed_sidecar_s_sockets_are_replaced_and_it_finds_its_way_back(start, rows):
    """A client that was connected goes on with the new one; active versions get hot again; old leases are unknown."""
    node = start()
    with RemoteManager.open(node.address) as manager, Channel.connect(node.address) as channel:
        manager.register_resource("datasets", "a", rows(10))
        lease, _ = channel.open_version(URI)
        node.kill()
        assert (node.address.run_folder / "door.sock").exists()
        with pytest.raises(Unavailable, match="alluxio-lance up"):
            manager.list_resources()
        again = start()
        assert again.instance != node.instance
        assert [r.name for r in manager.list_resources()] == ["a"]
        assert channel.instance == node.instance
        with pytest.raises(NotFound, match="an earlier run of the sidecar"):
            channel.end_lease(lease)
        assert channel.instance == again.instance
        with RemoteCache.connect(again.address) as cache:
            hot(cache)
        assert again.stop() == 0


def test_a_killed_sidecar_s_leases_protect_living_readers_only(start, rows, reader):
    """A living reader has until its lease expires to open the same version again; what dead ones held is free."""
    node = start("--lease-ttl", "60")
    with RemoteManager.open(node.address) as manager:
        manager.register_resource("datasets", "a", rows(10))
        manager.register_resource("datasets", "b", rows(10))
        living, dead = reader(node.address, URI), reader(node.address, "alluxio://datasets/b")
        # It cannot hear of the end of its reader any more.
        node.process.send_signal(signal.SIGSTOP)
        dead.kill()
        dead.wait(10)
        node.kill()
        start()
        with pytest.raises(Leased, match=f"process {living.pid}"):
            manager.delete_resource("datasets", "a")
        manager.delete_resource("datasets", "b")


def test_a_killed_reader_s_lease_is_gone_at_once(start, rows, reader):
    """In the sidecar and in the catalog: the resource can be deleted."""
    node = start()
    with RemoteManager.open(node.address) as manager, RemoteCache.connect(node.address) as cache:
        manager.register_resource("datasets", "a", rows(10))
        process = reader(node.address, URI)
        assert [lease.pid for lease in cache.statistics().leases] == [process.pid]
        with pytest.raises(Leased, match=f"process {process.pid}"):
            manager.delete_resource("datasets", "a")
        process.kill()
        process.wait(10)
        gone(lambda: cache.statistics().leases)
        manager.delete_resource("datasets", "a")


def test_a_second_sidecar_on_a_run_folder_is_refused(start):
    """It says who is there; the first one goes on."""
    node = start()
    second = start()
    assert second.returncode == 5
    assert f"process {node.process.pid}" in second.stderr.read()
    with RemoteManager.open(node.address) as manager:
        assert manager.list_resources() == []


def test_two_sidecars_share_a_root(start, tmp_path, rows):
    """What one registers the other makes hot; a lease on one keeps the other from deleting."""
    one, two = start("--node", "one"), start("--node", "two", run_dir=tmp_path / "run2")
    with (
        RemoteManager.open(one.address) as manager,
        RemoteManager.open(two.address) as other,
        RemoteCache.connect(two.address) as cache,
        Channel.connect(two.address) as channel,
    ):
        events = other.watch()
        manager.register_resource("datasets", "a", rows(10))
        assert next(events).verb is Verb.REGISTER
        hot(cache)
        lease, _ = channel.open_version(URI)
        with pytest.raises(Leased, match="on two"):
            manager.delete_resource("datasets", "a")
        channel.end_lease(lease)
        manager.delete_resource("datasets", "a")
        assert next(events).verb is Verb.DELETE
        events.close()


def test_a_setting_that_is_no_good_is_said_in_one_line(start):
    """With the exit status of wrong usage."""
    process = start("--prefetch", "sometimes")
    assert process.returncode == 2
    assert process.stderr.read().startswith("prefetch = 'sometimes' (an argument) is not usable")


def test_a_client_killed_in_the_middle_of_its_data_leaves_nothing(start, spawn, rows):
    """The operation is undone, its lock is free, and the name with it."""
    node = start()
    code = (
        "import sys, pyarrow as pa\n"
        "from alluxio_lance.client.manager import RemoteManager\n"
        "schema = pa.schema([('x', pa.binary())])\n"
        "def batches():\n"
        "    for number in range(1 << 30):\n"
        "        if number == 20:\n"
        "            print('sent', flush=True)\n"
        "            sys.stdin.read()\n"
        "        yield pa.record_batch({'x': pa.array([b'x' * (1 << 20)] * 4, pa.binary())}, schema=schema)\n"
        "RemoteManager.open(sys.argv[1]).register_resource('datasets', 'a', batches())\n"
    )
    with RemoteManager.open(node.address) as manager:
        client = spawn(code, node.address.run_folder)
        assert client.stdout.readline() == "sent\n"
        client.kill()
        client.wait(10)
        # The new call waits for the lock of the old one, which ends with its client.
        assert manager.register_resource("datasets", "a", rows(3)).num_rows == 3
        assert [event.verb for event in manager.history("datasets", "a")] == [Verb.REGISTER]


def header(**changes):
    """Make the first message of Register."""
    source = lifecycle_pb2.Source(stream=True)
    fields = {"type": "datasets", "name": "a", "source": source, "activate": True, **changes}
    return lifecycle_pb2.RegisterRequest(header=lifecycle_pb2.RegisterHeader(**fields))


def chunk(data):
    """Make a chunk."""
    return lifecycle_pb2.RegisterRequest(chunk=data)


def ipc(table):
    """Write a table as an Arrow IPC stream."""
    import io

    import pyarrow as pa

    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("messages", "kind"),
    [
        (lambda _: [], "InvalidArgument"),
        (lambda data: [chunk(data)], "InvalidArgument"),
        (lambda _: [header(source=None)], "InvalidArgument"),
        (lambda _: [header()], "Unavailable"),
        (lambda _: [header(), chunk(b"hello, this is no arrow")], "Unavailable"),
        (lambda data: [header(), chunk(b"hello, this is no arrow" + data[-8:])], "InvalidArgument"),
        (lambda data: [header(), chunk(data[:-8])], "Unavailable"),
        (lambda data: [header(), chunk(data[: len(data) // 2])], "Unavailable"),
        (lambda data: [header(), chunk(data[:100]), header()], "InvalidArgument"),
        (lambda data: [header(), *(chunk(data[i : i + 1]) for i in range(len(data)))], None),
        (lambda data: [header(), chunk(b""), chunk(data), chunk(b"")], None),
    ],
    ids=[
        "nothing",
        "no header",
        "no source",
        "no data",
        "no arrow",
        "no arrow but its end",
        "no end",
        "half",
        "second header",
        "byte by byte",
        "empty chunks",
    ],
)
def test_uploads_that_are_not_whole_are_not_taken_for_whole(channel, manager, rows, messages, kind):
    """A stream that just stops is no shorter table; nothing of it is seen."""
    with channel.speaking() as stubs:
        call = stubs.lifecycle.Register(iter(messages(ipc(rows(100)))))
        if kind is None:
            assert list(call)[-1].version.num_rows == 100
            return
        with pytest.raises(grpc.RpcError) as caught:
            list(call)
    error = from_wire(dict(caught.value.trailing_metadata())["alluxio-lance-error-bin"])
    assert type(error).__name__ == kind
    assert manager.list_resources() == []


@pytest.mark.parametrize("session", [None, "", "0" * 32, "x" * 1000])
def test_a_call_without_a_session_is_refused(sidecar, session):
    """A guessed one is no better than none."""
    with grpc.insecure_channel(sidecar.address.grpc) as plain:
        metadata = () if session is None else (("alluxio-lance-session", session),)
        calls = [
            lambda: list(LifecycleStub(plain).ListResources(lifecycle_pb2.ListResourcesRequest(), metadata=metadata)),
            lambda: GovernanceStub(plain).GetRules(governance_pb2.GetRulesRequest(), metadata=metadata),
            lambda: CacheStub(plain).Statistics(cache_pb2.StatisticsRequest(), metadata=metadata),
            lambda: list(LifecycleStub(plain).Watch(lifecycle_pb2.WatchRequest(), metadata=metadata)),
            lambda: list(LifecycleStub(plain).Register(iter([header()]), metadata=metadata)),
        ]
        for call in calls:
            with pytest.raises(grpc.RpcError) as caught:
                call()
            assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
            error = from_wire(dict(caught.value.trailing_metadata())["alluxio-lance-error-bin"])
            assert isinstance(error, PermissionDenied)
            assert "say hello" in error.message


def test_a_session_ends_with_its_connection(sidecar):
    """The token alone is worth nothing afterwards."""
    with Door.connect(sidecar.address) as door:
        metadata = (("alluxio-lance-session", door.session),)
        with grpc.insecure_channel(sidecar.address.grpc) as plain:
            stub = CacheStub(plain)
            assert stub.Statistics(cache_pb2.StatisticsRequest(), metadata=metadata).node == "here"
            door.close()
            sidecar.settle()
            with pytest.raises(grpc.RpcError) as caught:
                stub.Statistics(cache_pb2.StatisticsRequest(), metadata=metadata)
            assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


def test_health_and_reflection_need_no_session(sidecar):
    """Tools see that it serves, and what."""
    with grpc.insecure_channel(sidecar.address.grpc) as plain:
        for service in ("", "alluxio_lance.v1.Cache", "alluxio_lance.v1.Lifecycle"):
            reply = health_pb2_grpc.HealthStub(plain).Check(health_pb2.HealthCheckRequest(service=service))
            assert reply.status == health_pb2.HealthCheckResponse.SERVING
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        (reply,) = reflection_pb2_grpc.ServerReflectionStub(plain).ServerReflectionInfo(iter([request]))
        names = {service.name for service in reply.list_services_response.service}
        assert names >= {"alluxio_lance.v1.Cache", "alluxio_lance.v1.Lifecycle", "grpc.health.v1.Health"}


@pytest.mark.skipif(os.getuid() != 0, reason="only root can take another user's place")
def test_another_user_s_path_is_not_opened_but_his_data_are_taken(tmp_path, start):
    """The sidecar must not read for others what they could not read themselves."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.name.startswith(("pytest", "popen", "test")):
            folder.chmod(0o755)
    os.environ["ALLUXIO_LANCE_ALLOW_USERS"] = "65534"
    try:
        node = start()
    finally:
        del os.environ["ALLUXIO_LANCE_ALLOW_USERS"]
    code = (
        "import os, sys, pyarrow as pa\n"
        "from alluxio_lance.client.manager import RemoteManager\n"
        "from alluxio_lance.errors import PermissionDenied\n"
        "with RemoteManager.open(sys.argv[1]) as manager:  # loads all that it needs: nobody may not read the checkout\n"
        "    manager.register_resource('datasets', 'warm', pa.table({'x': [1]}))\n"
        "    manager.set_rules('[access]\\ndefault = [\"releaser\"]')\n"
        "os.setgid(65534)\n"
        "os.setuid(65534)\n"
        "with RemoteManager.open(sys.argv[1]) as manager:\n"
        "    try:\n"
        "        manager.register_resource('datasets', 'a', '/etc/shadow')\n"
        "    except PermissionDenied as error:\n"
        "        print(error.message)\n"
        "    print(manager.register_resource('datasets', 'a', pa.table({'x': [1]})).created_by)\n"
    )
    # Nobody may not write a coverage file into the checkout.
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    done = subprocess.run(
        [sys.executable, "-c", code, str(node.address.run_folder)],
        env=plain,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    refusal, actor = done.stdout.splitlines()
    assert "opens no paths for others" in refusal
    assert actor.startswith("nobody@")
