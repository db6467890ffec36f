"""The door: the protocol of docs/format/door.md, spoken well and badly."""

import json
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from alluxio_lance.client.door import Activated
from alluxio_lance.client.door import Door as ClientDoor
from alluxio_lance.errors import InvalidURI, NotFound, PermissionDenied, Unavailable
from alluxio_lance.sidecar import door as door_module

HELLO = {"op": "hello", "protocol": 1}


def test_hello_gives_a_session_that_ends_with_the_connection(house):
    """The session names this process for as long as the connection is open."""
    with ClientDoor.connect(house.address) as door:
        peer = house.peers.find(door.session)
        assert (peer.pid, peer.uid) == (os.getpid(), os.getuid())
        assert peer.command.split()[0] == Path("/proc/self/cmdline").read_text().split("\0")[0]
        assert door.instance == "ab" * 16
        session = door.session
    house.door.settle()
    with pytest.raises(PermissionDenied, match="say hello"):
        house.peers.find(session)


def test_a_second_hello_keeps_the_session(house):
    """A connection is one session."""
    with house.raw() as connection:
        first, second = house.ask(connection, HELLO), house.ask(connection, HELLO)
        assert first["session"] == second["session"]
        assert first["pid"] == os.getpid()


@pytest.mark.parametrize("count", [0, 1, 127, 128, 129, 300])
def test_attach_passes_the_descriptors_in_order(house, count):
    """Any number of segments arrives, at most 128 in one packet."""
    token, _ = house.lease(count)
    with ClientDoor.connect(house.address) as door:
        received = door.attach(token)
        try:
            assert [os.pread(descriptor, 10, 0) for descriptor in received] == [str(n).encode() for n in range(count)]
            assert not any(os.get_inheritable(descriptor) for descriptor in received)
        finally:
            for descriptor in received:
                os.close(descriptor)
    house.door.settle()


def test_a_lease_ends_with_its_last_connection(house):
    """Two connections hold it; the first to close changes nothing, the second ends it everywhere."""
    token, hold = house.lease()
    one, two = ClientDoor.connect(house.address), ClientDoor.connect(house.address)
    for door in (one, two):
        for descriptor in door.attach(token):
            os.close(descriptor)
    assert [lease.connections for lease in house.leases.current()] == [2]
    one.close()
    house.door.settle()
    assert [lease.connections for lease in house.leases.current()] == [1]
    assert not hold.released.is_set()
    two.close()
    house.door.settle()
    house.leases.settle()
    assert house.leases.current() == ()
    assert hold.released.is_set()
    assert house.records.held == {}


def test_detach_ends_a_lease_and_keeps_the_connection(house):
    """The connection goes on; a second detach is refused."""
    token, hold = house.lease()
    with ClientDoor.connect(house.address) as door:
        for descriptor in door.attach(token):
            os.close(descriptor)
        door.detach(token)
        assert hold.released.is_set()
        with pytest.raises(NotFound, match="holds no lease"):
            door.detach(token)
        with pytest.raises(NotFound, match="open the version again"):
            door.attach(token)


def test_a_killed_reader_loses_its_lease(house):
    """The kernel closes the socket of a process that dies by SIGKILL."""
    token, hold = house.lease()
    code = (
        "import sys, time\n"
        "from alluxio_lance.address import Address\n"
        "from alluxio_lance.client.door import Door\n"
        "door = Door.connect(Address.find(sys.argv[1]))\n"
        "door.attach(sys.argv[2])\n"
        "print('attached', flush=True)\n"
        "sys.stdin.read()\n"
    )
    arguments = [sys.executable, "-c", code, str(house.address.run_folder), token]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout.readline() == "attached\n"
        reader.kill()
        assert hold.released.wait(10)
        assert house.records.wait(lambda records: not records.held, timeout=10)


def test_a_forked_child_holds_the_lease(house):
    """The child inherits the connection: the lease outlives the parent's end of it."""
    token, hold = house.lease()
    code = (
        "import os, sys\n"
        "from alluxio_lance.address import Address\n"
        "from alluxio_lance.client.door import Door\n"
        "door = Door.connect(Address.find(sys.argv[1]))\n"
        "door.attach(sys.argv[2])\n"
        "if os.fork() == 0:\n"
        "    print('forked', flush=True)\n"
        "    sys.stdin.read()\n"
        "    os._exit(0)\n"
        "os._exit(0)\n"
    )
    arguments = [sys.executable, "-c", code, str(house.address.run_folder), token]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout.readline() == "forked\n"
        assert parent.wait(10) == 0
        house.door.settle()
        assert not hold.released.is_set()
        parent.stdin.close()
        assert hold.released.wait(5.0)


@pytest.mark.parametrize(
    ("packet", "kind"),
    [
        (b'{"op":"jump"}', "InvalidArgument"),
        (b'{"op":7}', "InvalidArgument"),
        (b"{}", "InvalidArgument"),
        (b"[]", "InvalidArgument"),
        (b'"hello"', "InvalidArgument"),
        (b"7", "InvalidArgument"),
        (b"null", "InvalidArgument"),
        (b'{"op":"hello"}', "InvalidArgument"),
        (b'{"op":"hello","protocol":2}', "InvalidArgument"),
        (b'{"op":"hello","protocol":"1"}', "InvalidArgument"),
        (b'{"op":"attach"}', "InvalidArgument"),
        (b'{"op":"attach","lease":7}', "InvalidArgument"),
        (b'{"op":"attach","lease":""}', "NotFound"),
        (b'{"op":"attach","lease":"' + b"0" * 60000 + b'"}', "NotFound"),
        (b'{"op":"detach","lease":"' + b"0" * 32 + b'"}', "NotFound"),
        (b'{"op":"subscribe"}', "InvalidArgument"),
        (b'{"op":"subscribe","type":"datasets"}', "InvalidArgument"),
        (b'{"op":"subscribe","type":"data sets","name":"a"}', "InvalidURI"),
        (b'{"op":"' + b"x" * 60000 + b'"}', "InvalidArgument"),
    ],
)
def test_a_wrong_request_is_refused_and_the_connection_stays(house, packet, kind):
    """The refusal says what is wrong, and the next request is served."""
    with house.raw() as connection:
        house.ask(connection, HELLO)
        reply = house.ask(connection, packet)
        assert reply["ok"] is False
        assert reply["error"]["kind"] == kind
        assert reply["error"]["message"]
        assert house.ask(connection, HELLO)["ok"] is True


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"hello",
        b'{"op":"hello"',
        b"\xff\xfe",
        b"\0" * 100,
        b"[" * 60000,
        b"9" * 60000,
        b'{"op":"hello","protocol":1,"pad":"' + b"x" * (64 << 10) + b'"}',
    ],
)
def test_a_packet_that_is_no_json_ends_the_connection_and_no_other(house, packet):
    """The door goes on for the others."""
    with house.raw() as good, house.raw() as bad:
        house.ask(good, HELLO)
        assert house.ask(bad, packet) is None
        assert house.ask(good, HELLO)["ok"] is True


@pytest.mark.parametrize("packet", [{"op": "attach", "lease": "0" * 32}, {"op": "subscribe", "type": "a", "name": "b"}])
def test_nothing_is_done_before_hello(house, packet):
    """The caller must be known first."""
    with house.raw() as connection:
        assert house.ask(connection, packet)["error"]["kind"] == "PermissionDenied"


def test_descriptors_that_a_client_sends_are_not_kept(house):
    """Nobody fills the sidecar's table of descriptors."""
    with house.raw() as connection, Path(os.devnull).open("rb") as file:
        house.ask(connection, HELLO)
        before = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(10):
            socket.send_fds(connection, [json.dumps(HELLO).encode()], [file.fileno()] * 10)
            assert json.loads(connection.recv(1 << 16))["ok"] is True
        assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_lease_of_another_user_is_refused(house):
    """A token alone opens nothing: the opener's user must be the same, or root."""
    theirs = house.peers.enter(os.getpid(), os.getuid())
    token, _ = house.lease()
    other = type(theirs)(session="", pid=1, uid=12345, user="eve", command="")
    with pytest.raises(PermissionDenied, match="open the version yourself"):
        house.leases.attach(token, 1, other)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can take another user's place")
@pytest.mark.parametrize(("allowed", "answer"), [((), "PermissionDenied"), (("65534",), None)])
def test_only_named_users_may_connect(open_house, tmp_path, allowed, answer):
    """Beside the sidecar's own user and root."""
    code = (
        "import os, sys, socket, json\n"
        "connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n"
        "connection.connect(sys.argv[1])\n"
        'connection.send(b\'{"op":"hello","protocol":1}\')\n'
        "print(connection.recv(65536).decode())\n"
    )
    for folder in (tmp_path, *list(tmp_path.parents)[:-1]):
        if folder.stat().st_uid == os.getuid() and folder != type(folder)("/tmp"):
            folder.chmod(0o711)
    with open_house(allow_users=allowed, shared=True) as house:
        done = subprocess.run(
            ["/usr/bin/env", "python3", "-c", code, str(house.address.door)],
            user=65534,
            capture_output=True,
            text=True,
            check=True,
            env={"PATH": os.environ["PATH"]},
        )
    reply = json.loads(done.stdout)
    assert reply.get("error", {}).get("kind") == answer


def test_too_many_connections_are_told_so(open_house):
    """The one too many gets a sentence, not silence; the others go on, and a free place is given again."""
    with open_house(most_connections=2) as house, house.raw() as one:
        house.ask(one, HELLO)
        with house.raw() as two:
            house.ask(two, HELLO)
            with pytest.raises(Unavailable, match="2 connections"):
                ClientDoor.connect(house.address)
            assert house.ask(one, HELLO)["ok"] is True
        house.door.settle()
        ClientDoor.connect(house.address).close()


def test_a_door_without_free_descriptors_accepts_again_later(house):
    """Out of descriptors it waits, and serves the connection as soon as it can."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with house.raw() as busy, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as late:
        house.ask(busy, HELLO)
        late.settimeout(10)
        lowest = os.dup(0)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
        try:
            late.connect(str(house.address.door))
            late.send(json.dumps(HELLO).encode())
            # The door turned without having accepted: the busy connection is served.
            house.door.settle()
            assert house.ask(busy, HELLO)["ok"] is True
            assert house.door.connections == 1
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert json.loads(late.recv(1 << 16))["ok"] is True


def test_a_reader_that_does_not_read_delays_nobody(house):
    """Its packets wait; others are served; its end frees what waited for it."""
    token, hold = house.lease(20000 // 8)
    with house.raw() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        house.ask(slow, HELLO)
        for _ in range(20):
            slow.send(json.dumps({"op": "attach", "lease": token}).encode())
        with ClientDoor.connect(house.address) as door:
            received = door.attach(token)
            for descriptor in received:
                os.close(descriptor)
            assert len(received) == 2500
            house.leases.end(token, house.peer())
            assert not hold.released.is_set()
    assert hold.released.wait(5)


def test_subscribers_hear_of_changes(house):
    """The reply says what is active now, each event what is active next."""
    house.announcements.active["datasets", "a"] = ("1.0.0", 1)
    with ClientDoor.connect(house.address) as door, ClientDoor.connect(house.address) as other:
        assert door.subscribe("datasets", "a") == Activated("1.0.0", 1)
        assert other.subscribe("datasets", "b") == Activated(None, None)
        house.door.announce("datasets", "a", ("1.1.0", 2))
        assert door.poll(5) == Activated("1.1.0", 2)
        house.door.announce("datasets", "a", (None, None))
        assert door.poll(5) == Activated(None, None)
        house.door.announce("datasets", "b", ("3.0.0", 3))
        assert other.poll(5) == Activated("3.0.0", 3)


def test_who_may_not_see_a_resource_is_not_told_of_it(open_house):
    """The check is asked about the process, the connection lasts, and nothing is announced to it."""
    asked = []

    def sees(peer, type, name):
        asked.append((peer.pid, type, name))
        raise PermissionDenied("not for you")

    with open_house(sees=sees) as house, ClientDoor.connect(house.address) as door:
        house.announcements.active["datasets", "a"] = ("1.0.0", 1)
        with pytest.raises(PermissionDenied, match="not for you"):
            door.subscribe("datasets", "a")
        assert asked == [(os.getpid(), "datasets", "a")]
        house.door.announce("datasets", "a", ("1.1.0", 2))
        house.door.settle()
        assert door.poll(0) is None


def test_a_fault_in_a_subscription_is_told_and_ends_nothing(open_house):
    """Neither the connection nor the thread that answers, which announces to all others."""

    def sees(peer, type, name):
        raise RuntimeError("the catalog has lost its mind")

    with open_house(sees=sees) as house, house.raw() as connection:
        house.ask(connection, HELLO)
        assert (
            house.ask(connection, {"op": "subscribe", "type": "datasets", "name": "a"})["error"]["kind"] == "Internal"
        )
        assert house.ask(connection, HELLO)["ok"] is True


def test_strangers_do_not_take_all_places(house, monkeypatch):
    """Who may not connect and never says hello has a few places, however often he comes."""
    monkeypatch.setattr(door_module, "_MOST_STRANGERS", 2)
    with monkeypatch.context() as patched:
        patched.setattr(house.peers, "serves", lambda _: False)
        with house.raw() as one, house.raw() as two, house.raw() as three:
            assert three.recv(1) == b""
            assert house.door.connections == 2
            for known in (one, two):
                assert house.ask(known, HELLO)["error"]["kind"] == "PermissionDenied"
    with house.raw() as connection:
        assert house.ask(connection, HELLO)["ok"] is True


def test_a_subscriber_that_does_not_read_misses_all_but_the_newest(house):
    """Its socket fills up; the door keeps one event for it, the last."""
    with ClientDoor.connect(house.address) as slow, ClientDoor.connect(house.address) as quick:
        slow.subscribe("datasets", "a")
        quick.subscribe("datasets", "b")
        for number in range(1, 5001):
            house.door.announce("datasets", "a", (f"1.{number}.0", number))
        house.door.announce("datasets", "b", ("1.0.0", 1))
        assert quick.poll(60) == Activated("1.0.0", 1)
        seen = [slow.poll(60).version]
        while seen[-1] != 5000:
            seen.append(slow.poll(60).version)
        assert seen == sorted(seen)
        assert len(seen) < 5000


def test_an_answer_to_a_subscriber_may_take_its_time(house):
    """Others are served meanwhile; a subscriber that has gone is no harm, and a failure is a refusal."""
    house.announcements.waiting = []
    with house.raw() as one, house.raw() as two:
        house.ask(one, HELLO)
        request = json.dumps({"op": "subscribe", "type": "datasets", "name": "a"}).encode()
        one.send(request)
        with house.raw() as gone:
            house.ask(gone, HELLO)
            gone.send(request)
            house.door.settle()
        house.ask(two, HELLO)
        two.send(request)
        house.door.settle()
        first, second, third = house.announcements.waiting
        second(("1.0.0", 1))
        third(Unavailable("the catalog does not answer", what="catalog"))
        assert json.loads(two.recv(1 << 16))["error"]["kind"] == "Unavailable"
        first(("1.0.0", 1))
        assert json.loads(one.recv(1 << 16)) == {"ok": True, "active": "1.0.0", "version": 1}
        assert house.ask(one, {"op": "subscribe", "type": "a", "name": "b"})["error"]["kind"] == "InvalidArgument"


def test_a_fault_in_a_request_reaches_the_caller_as_internal(house, monkeypatch):
    """The connection and the door survive it."""

    def fail(*_):
        raise RuntimeError("boom")

    monkeypatch.setattr(house.leases, "attach", fail)
    with house.raw() as connection:
        house.ask(connection, HELLO)
        reply = house.ask(connection, {"op": "attach", "lease": "0" * 32})
        assert reply["error"]["kind"] == "Internal"
        assert "boom" in reply["error"]["message"]
        assert house.ask(connection, HELLO)["ok"] is True


def test_a_name_that_would_not_fit_a_uri_is_shown_its_fault(house):
    """The client raises the class that the door named."""
    with ClientDoor.connect(house.address) as door, pytest.raises(InvalidURI, match="grammar"):
        door.subscribe("datasets", "a@b")


def test_closing_the_door_ends_connections_and_removes_the_socket(open_house, tmp_path):
    """Readers see the end; nothing stays in the folder; closing again does nothing."""
    with open_house() as house:
        client = ClientDoor.connect(house.address)
        client.subscribe("datasets", "a")
        ended = threading.Event()

        def wait():
            with pytest.raises(Unavailable):
                next(client.events())
            ended.set()

        thread = threading.Thread(target=wait)
        thread.start()
        house.door.close()
        assert ended.wait(5)
        thread.join()
        client.close()
        house.door.close()
        house.door.settle()
        house.door.announce("datasets", "a", ("1.0.0", 1))
    assert not (tmp_path / "door.sock").exists()
    with pytest.raises(Unavailable, match="alluxio-lance up"):
        ClientDoor.connect(house.address)


def test_a_call_that_settles_does_not_wait_for_a_door_that_closes(house):
    """The door does what reached it before its end, and is not asked afterwards."""
    busy, go_on = threading.Event(), threading.Event()

    def work():
        busy.set()
        assert go_on.wait(20)

    house.door._post(work)
    assert busy.wait(20)
    threads = [threading.Thread(target=house.door.settle, args=(60,)), threading.Thread(target=house.door.close)]
    threads[0].start()
    deadline = time.monotonic() + 20
    while not house.door._calls:
        assert time.monotonic() < deadline
    threads[1].start()
    while not house.door._ending:
        assert time.monotonic() < deadline
    go_on.set()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def test_the_socket_of_a_dead_sidecar_is_replaced(open_house, tmp_path):
    """What lies there is nobody's: the caller holds the folder's lock."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stale:
        stale.bind(str(tmp_path / "door.sock"))
    with open_house() as house:
        ClientDoor.connect(house.address).close()
