"""The client's end of the door, against a real sidecar, and against peers that do not keep to the protocol."""

from __future__ import annotations

import json
import os
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pytest

from alluxio_lance.address import Address
from alluxio_lance.client.door import Activated, Door
from alluxio_lance.client.opening import open_lease
from alluxio_lance.errors import (
    AlluxioLanceError,
    Internal,
    InvalidArgument,
    NoSpace,
    NotFound,
    PermissionDenied,
    Unavailable,
)

HELLO = {"ok": True, "protocol": 1, "session": "s", "instance": "i"}


@pytest.fixture
def script() -> Iterator:
    """Return a function that plays a door which answers each request with the next packets of a script."""
    with tempfile.TemporaryDirectory(prefix="al-") as folder:
        address = Address(Path(folder))
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind(str(address.door))
        listener.listen()
        threads = []

        def play(*answers: list, hello: dict = HELLO) -> Address:
            def run() -> None:
                channel, _ = listener.accept()
                # A client that has heard enough hangs up, as it may before the last answer.
                with channel, suppress(ConnectionError):
                    for answer in ([hello], *answers):
                        channel.recv(1 << 16)
                        for packet in answer:
                            data = packet if isinstance(packet, bytes) else json.dumps(packet).encode()
                            count = (
                                len(packet.get("segments", [])) - packet.get("short", 0)
                                if isinstance(packet, dict)
                                else 0
                            )
                            socket.send_fds(channel, [data], [listener.fileno()] * count)

            threads.append(threading.Thread(target=run))
            threads[-1].start()
            return address

        yield play
        for thread in threads:
            thread.join()
        listener.close()


def descriptors() -> set[Path]:
    """Name the open descriptors of this process."""
    return set(Path("/proc/self/fd").iterdir())


def test_hello(node):
    """A connection learns the session and the instance; another one of the same sidecar only differs in the session."""
    with Door.connect(node.address) as one, Door.connect(node.address) as two:
        assert len(one.session) == len(one.instance) == 32
        assert one.instance == two.instance
        assert one.session != two.session
        assert one.address == node.address
        assert one.fileno() >= 0
        assert not one.hung_up
    assert one.closed
    assert one.hung_up


def test_nobody_there(tmp_path):
    """Without a sidecar the error names the socket and the command that starts one, and nothing stays open."""
    before = descriptors()
    with pytest.raises(Unavailable, match=r"door\.sock .*`alluxio-lance up`"):
        Door.connect(Address(tmp_path))
    assert descriptors() == before


def test_attach_and_detach(node):
    """The descriptors of a lease come in the order of the layout, closed on exec; a lease let go is not known."""
    node.register("doors/attach", pa.table({"a": range(10), "b": ["x"] * 10}))
    with (
        open_lease("alluxio://datasets/doors/attach", address=node.address) as lease,
        Door.connect(node.address) as door,
    ):
        received = door.attach(lease.token)
        inodes = [os.fstat(number).st_ino for number in received]
        assert inodes == [os.fstat(number).st_ino for number in lease.descriptors.numbers]
        assert not any(map(os.get_inheritable, received))
        for number in received:
            os.close(number)
        door.detach(lease.token)
        with pytest.raises(NotFound):
            door.detach(lease.token)


def test_a_refusal_keeps_its_class_and_the_connection(node):
    """A refusal is raised as what it is, and the connection goes on."""
    with Door.connect(node.address) as door:
        for _ in range(2):
            with pytest.raises(NotFound):
                door.attach("0" * 32)


def test_many_descriptors_come_in_several_packets(script):
    """Packets are read until the last one says that it is."""
    pieces = [{"ok": True, "segments": list(range(128)), "more": True}, {"ok": True, "segments": [1, 2], "more": False}]
    with Door.connect(script(pieces)) as door:
        received = door.attach("t")
        assert len(received) == 130
        for number in received:
            os.close(number)


@pytest.mark.parametrize(
    ("packets", "error", "why"),
    [
        ([b"not json"], Internal, "which is no packet"),
        ([b"[1]"], Internal, "which is no packet"),
        ([{"ok": False}], Internal, "which is no packet"),
        (
            [{"ok": True, "segments": [1, 2], "more": False, "short": 1}],
            Unavailable,
            "announced 2 descriptors and 1 came",
        ),
        ([{"ok": True, "segments": [1, 2], "more": True}, b"{"], Internal, "which is no packet"),
        ([{"ok": True, "segments": [1], "more": True}], Unavailable, "has gone"),
        ([b" " * (65 << 10)], Unavailable, "cut short"),
        ([{"ok": False, "error": {"kind": "InvalidArgument", "message": "no", "details": {}}}], InvalidArgument, "no"),
    ],
)
def test_a_peer_that_breaks_off_leaves_no_descriptor(script, packets, error, why):
    """Whatever goes wrong while descriptors arrive, those that came are closed."""
    with Door.connect(script(packets)) as door:
        before = descriptors()
        with pytest.raises(error, match=why):
            door.attach("t")
        assert descriptors() <= before


URI = "alluxio://datasets/a"


def sockets() -> int:
    """Count the open sockets of this process, those that were passed twice as two."""
    found = 0
    for number in descriptors():
        with suppress(OSError):
            found += str(number.readlink()).startswith("socket:")
    return found


def wait_until(is_so):
    """Wait for the door that is played here, too, to close its end."""
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def say_and_close(listener, answer):
    """Answer the first packet of a connection, and close it over whatever came behind."""
    channel, _ = listener.accept()
    with channel:
        channel.recv(1 << 16)
        channel.send(json.dumps(answer).encode())
        # Its question must lie there when the end comes.
        channel.recv(1 << 16, socket.MSG_PEEK)


def test_the_refusal_of_a_hello_is_heard_over_the_question_behind_it():
    """The sidecar closes its end without a look at the question, and the kernel says so first."""
    refusal = {"ok": False, "error": {"kind": "PermissionDenied", "message": "not you", "details": {}}}
    with tempfile.TemporaryDirectory(prefix="al-") as folder:
        address = Address(Path(folder))
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(str(address.door))
            listener.listen()
            thread = threading.Thread(target=say_and_close, args=(listener, refusal))
            thread.start()
            with pytest.raises(PermissionDenied, match="not you"):
                Door.connect_and_open(address, URI, [], lambda _: None)
            thread.join()


def test_a_sidecar_that_does_not_know_open_is_left_to_grpc(script):
    """It refuses the question that came with the hello."""
    refusal = {"ok": False, "error": {"kind": "InvalidArgument", "message": "the door knows no op", "details": {}}}
    before = sockets()
    assert Door.connect_and_open(script([refusal]), URI, [], lambda _: None) is None
    wait_until(lambda: sockets() <= before)


def test_a_question_that_is_too_large_goes_to_grpc(node):
    """It is not even asked."""
    assert Door.connect_and_open(node.address, URI, ["x" * (70 << 10)], lambda _: None) is None


@pytest.mark.parametrize(
    ("packets", "error"),
    [
        ([b"not json"], Internal),
        ([{"ok": True, "lease": "t", "layout": "{", "descriptors": 2, "segments": [1, 2], "more": False}], Internal),
        ([{"ok": True, "lease": "t", "layout": "{", "descriptors": 9, "segments": [1], "more": True}], Unavailable),
        ([{"ok": False, "error": {"kind": "NotFound", "message": "no", "details": {}}}], NotFound),
        ([], Unavailable),
    ],
)
def test_a_question_that_came_with_the_hello_leaves_nothing_open_when_it_fails(script, packets, error):
    """Neither the connection nor a descriptor that came."""
    address = script(packets, hello=HELLO | {"ops": ["open"]})
    before = sockets()
    with pytest.raises(error):
        Door.connect_and_open(address, URI, [], lambda _: None)
    wait_until(lambda: sockets() <= before)


WINDOW = {"ok": True, "window": "w", "rows": 1, "columns": [["fixed", 0]], "more": False}
SEGMENT = [1, 1, 8192, "4k", [4096, 8], [0, 0], [0, 0]]


@pytest.mark.parametrize(
    ("packets", "error", "why"),
    [
        ([WINDOW | {"segments": [SEGMENT] * 2, "short": 1}], Unavailable, "announced 2 descriptors and 1 came"),
        ([WINDOW | {"segments": [SEGMENT], "more": True}, b"{"], Internal, "which is no packet"),
        ([b" " * (65 << 10)], Unavailable, "cut short"),
    ],
)
def test_a_window_that_came_in_part_ends_the_connection(script, packets, error, why):
    """The sidecar holds it for the connection, and what is left of the reply would be taken for the next one's."""
    door = Door.connect(script(packets))
    before = descriptors()
    with pytest.raises(error, match=why):
        door.window("t", [0])
    assert door.closed
    assert descriptors() <= before


def test_a_refused_window_keeps_the_connection(script):
    """It holds nothing, and its reply is whole."""
    refusal = {"ok": False, "error": {"kind": "NoSpace", "message": "no", "details": {}}}
    with Door.connect(script([refusal], [WINDOW | {"segments": [SEGMENT]}])) as door:
        with pytest.raises(NoSpace, match="no"):
            door.window("t", [0])
        window = door.window("t", [0])
        assert window.id == "w"
        for number in window.descriptors:
            os.close(number)


def test_a_window_at_once_of_a_sidecar_that_knows_none(script):
    """It is refused here, as where there is no room: an old sidecar would end the connection, or wait."""
    with Door.connect(script([WINDOW | {"segments": [SEGMENT]}])) as door:
        with pytest.raises(NoSpace, match="no window at once"):
            door.window("t", [0], at_once=True)
        for number in door.window("t", [0]).descriptors:
            os.close(number)


def test_a_request_that_is_too_large(script):
    """It is said here: the sidecar would end the connection without a word."""
    with Door.connect(script([])) as door, pytest.raises(InvalidArgument, match="ask for fewer units"):
        door.window("t", list(range(100_000)))


def test_a_peer_that_hangs(script):
    """A reply that does not come in time is Unavailable and ends the connection: a late one would be taken for another."""
    door = Door.connect(script([], []), 1.0)
    with pytest.raises(Unavailable, match="does not reply"):
        door.attach("t")
    assert door.closed
    with pytest.raises(Unavailable, match="was closed"):
        door.attach("t")


def test_subscribers_hear_of_each_change(node):
    """A subscriber is told what is active now, then each change once it is hot."""
    node.register("doors/news", pa.table({"a": [1]}))
    with Door.connect(node.address) as door:
        assert door.subscribe("datasets", "doors/news") == Activated("1.0.0", 1)
        assert door.poll(0) is None
        second = node.update("doors/news", pa.table({"a": [2]}))
        assert next(door.events()) == Activated("1.1.0", second.version)
        with pytest.raises(Internal, match="has subscribed"):
            door.attach("t")


def test_closing_wakes_a_subscriber(node):
    """A thread that waits for events gets Unavailable when the connection is closed."""
    node.register("doors/quiet", pa.table({"a": [1]}))
    door = Door.connect(node.address)
    door.subscribe("datasets", "doors/quiet")
    found: list[AlluxioLanceError] = []

    def wait() -> None:
        try:
            next(door.events())
        except Unavailable as error:
            found.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    door.close()
    thread.join(10)
    assert len(found) == 1
    with pytest.raises(Unavailable, match="was closed"):
        door.poll(0)


def test_the_end_of_the_sidecar(own_node):
    """When the sidecar dies requests and subscriptions end as Unavailable."""
    with Door.connect(own_node.address) as door, Door.connect(own_node.address) as listener:
        own_node.register("x", pa.table({"a": [1]}))
        listener.subscribe("datasets", "x")
        own_node.kill()
        assert door.hung_up
        for call in (lambda: door.attach("t"), lambda: next(listener.events())):
            with pytest.raises(Unavailable, match="has gone"):
                call()


def test_only_the_process_that_connected_may_speak(node, monkeypatch):
    """A forked child that would speak on its parent's connection is told so instead of taking its replies."""
    with Door.connect(node.address) as door:
        monkeypatch.setattr(os, "getpid", lambda: 1)
        with pytest.raises(Internal, match="after a fork"):
            door.attach("t")
        monkeypatch.undo()
