"""A version that is hot, opened at the door: one question, and its packets."""

import json
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from alluxio_lance.client.door import Door as ClientDoor
from alluxio_lance.client.layouts import read_layout
from alluxio_lance.errors import InvalidArgument, NotActive, Unavailable
from alluxio_lance.layout import Column, ColumnKind
from alluxio_lance.sidecar import door as door_module
from alluxio_lance.sidecar.open_packets import layout_text, open_packets

URI = "alluxio://datasets/a"
HELLO = {"op": "hello", "protocol": 1}
OPEN = {"op": "open", "uri": URI, "columns": []}
WAIT = 20.0
"""Seconds after which a test that waits for an event has failed."""


def asked(count):
    """Take the number of descriptors for which room is asked."""


def large(house):
    """Make a hold whose layout fits into no socket's buffer."""
    hold = house.segments(1)
    columns = (*hold.layout.columns, Column(name="x" * 4_000_000, kind=ColumnKind.ARROW, dtype=""))
    hold.layout = replace(hold.layout, columns=columns)
    return hold


def descriptors():
    """Name the open descriptors of this process."""
    return set(Path("/proc/self/fd").iterdir())


@pytest.mark.parametrize("count", [0, 1, 127, 128, 129, 300])
def test_a_version_comes_with_its_layout_and_its_descriptors(house, count):
    """Any number of segments arrives in order and closed on exec, and room is asked for before more than one packet."""
    hold = house.opens.hot[URI] = house.segments(count)
    wanted = []
    with ClientDoor.connect(house.address) as door:
        opened = door.open(URI, ["x"], wanted.append)
        try:
            assert opened.layout == hold.layout
            assert [os.pread(each, 10, 0) for each in opened.descriptors] == [str(n).encode() for n in range(count)]
            assert not any(os.get_inheritable(each) for each in opened.descriptors)
        finally:
            for each in opened.descriptors:
                os.close(each)
        assert wanted == ([128, count] if count > 128 else [128])
        assert house.opens.asked == [(URI, ["x"])]


def test_the_connection_is_the_lease(house):
    """It holds the lease as after attach: others may attach it, it may detach it, and with the last one it ends."""
    hold = house.opens.hot[URI] = house.segments(1)
    with ClientDoor.connect(house.address) as one, ClientDoor.connect(house.address) as two:
        opened = one.open(URI, (), asked)
        for each in (*opened.descriptors, *two.attach(opened.lease)):
            os.close(each)
        assert [lease.connections for lease in house.leases.current()] == [2]
        one.detach(opened.lease)
        assert [lease.connections for lease in house.leases.current()] == [1]
    house.door.settle()
    house.leases.settle()
    assert hold.released.is_set()
    assert house.records.held == {}


def test_what_is_not_hot_is_not_here(house):
    """The connection goes on, and takes the next request."""
    with ClientDoor.connect(house.address) as door:
        assert door.open("alluxio://datasets/cold", (), asked) is None
        house.opens.hot[URI] = house.segments(0)
        assert door.open(URI, (), asked) is not None
        house.opens.busy = True
        assert door.open(URI, (), asked) is None
    assert len(house.opens.asked) == 2


def test_a_refusal_keeps_its_class_and_the_connection(house):
    """What the catalog says to a URI is said here, too."""
    house.opens.hot[URI] = NotActive("none is active", versions=["1.0.0"])
    with ClientDoor.connect(house.address) as door:
        for _ in range(2):
            with pytest.raises(NotActive, match="none is active") as caught:
                door.open(URI, (), asked)
            assert caught.value.details == {"versions": ["1.0.0"]}


def test_who_hung_up_before_the_answer_has_no_lease(house):
    """A lease that comes too late to end with its connection ends at once, and the catalog knows."""
    hold = house.opens.hot[URI] = house.segments(1)
    house.opens.waiting = []
    with house.raw() as connection:
        house.ask(connection, HELLO)
        connection.send(json.dumps(OPEN).encode())
        house.door.settle()
        (answer,) = house.opens.waiting
    # Nothing is read from the connection while the answer is made: the door learns of its end when it answers.
    answer()
    assert hold.released.wait(WAIT)
    house.door.settle()
    house.leases.settle()
    assert house.leases.current() == ()
    assert house.records.held == {}


def test_an_answer_after_the_end_of_the_door_keeps_nothing(open_house):
    """Leases that are under way end with all others."""
    with open_house() as house:
        hold = house.opens.hot[URI] = house.segments(1)
        house.opens.waiting = []
        with house.raw() as connection:
            house.ask(connection, HELLO)
            connection.send(json.dumps(OPEN).encode())
            house.door.settle()
            house.door.close()
            house.opens.waiting[0]()
        assert len(house.leases.current()) == 1
    assert hold.released.is_set()
    assert house.records.held == {}


def test_a_lease_that_the_catalog_learnt_of_during_the_shutdown_is_taken_back(house, monkeypatch):
    """Nothing would renew or end it."""
    hold = house.records.hold

    def slow(holder, ttl):
        hold(holder, ttl)
        closing = threading.Thread(target=house.leases.close)
        closing.start()
        closing.join(WAIT)

    monkeypatch.setattr(house.records, "hold", slow)
    with pytest.raises(Unavailable, match="shutting down"):
        house.leases.reserve(house.peer(), house.version())
    assert house.records.held == {}


def test_a_reader_that_takes_no_packet_delays_nobody(house):
    """What was opened waits for it, and goes when it hangs up."""
    hold = house.opens.hot[URI] = large(house)
    with house.raw() as lazy:
        house.ask(lazy, HELLO)
        lazy.send(json.dumps(OPEN).encode())
        with ClientDoor.connect(house.address) as door:
            assert door.open("alluxio://datasets/cold", (), asked) is None
    assert hold.released.wait(WAIT)


def test_layouts_that_nobody_reads_do_not_pile_up(house, monkeypatch):
    """While there are too many of them others are sent to gRPC."""
    monkeypatch.setattr(door_module, "_MOST_UNREAD", 1)
    house.opens.hot[URI] = large(house)
    house.opens.hot["small"] = house.segments(0)
    with ClientDoor.connect(house.address) as door:
        with house.raw() as lazy:
            house.ask(lazy, HELLO)
            lazy.send(json.dumps(OPEN).encode())
            house.door.settle()
            house.door.settle()
            assert door.open("small", (), asked) is None
        house.door.settle()
        assert door.open("small", (), asked) is not None


@pytest.mark.parametrize(
    "packet",
    [
        {"op": "open"},
        {"op": "open", "uri": 1, "columns": []},
        {"op": "open", "uri": URI},
        {"op": "open", "uri": URI, "columns": "x"},
        {"op": "open", "uri": URI, "columns": [1]},
    ],
)
def test_a_wrong_request_is_refused_and_the_connection_stays(house, packet):
    """Nothing is looked up for it."""
    with house.raw() as connection:
        house.ask(connection, HELLO)
        assert house.ask(connection, packet)["error"]["kind"] == "InvalidArgument"
        assert house.ask(connection, HELLO)["ok"]
    assert house.opens.asked == []


def test_a_subscriber_opens_on_another_connection(house):
    """Events would come between the packets."""
    with house.raw() as connection:
        house.ask(connection, HELLO)
        house.ask(connection, {"op": "subscribe", "type": "datasets", "name": "a"})
        assert "another one" in house.ask(connection, OPEN)["error"]["message"]


def test_nothing_is_opened_before_hello(house):
    """Nobody knows yet who asks."""
    with house.raw() as connection:
        assert house.ask(connection, OPEN)["error"]["kind"] == "PermissionDenied"


def test_hello_says_which_requests_there_are(house):
    """A client sees whether the sidecar is new enough."""
    with house.raw() as connection:
        assert {"hello", "open", "attach"} <= set(house.ask(connection, HELLO)["ops"])


def test_a_request_too_long_for_a_packet_is_not_sent(house):
    """It is for gRPC."""
    with ClientDoor.connect(house.address) as door:
        assert door.open(URI, ["x" * 70_000], asked) is None
    assert house.opens.asked == []


def test_no_room_for_the_rest_of_the_descriptors(house):
    """Those that came are closed, and the connection with its lease, since the rest would be taken for another reply."""
    hold = house.opens.hot[URI] = house.segments(300)

    def room(count):
        if count == 300:
            raise Unavailable("too many", what="descriptors")

    before = descriptors()
    with ClientDoor.connect(house.address) as door:
        with pytest.raises(Unavailable, match="too many"):
            door.open(URI, (), room)
        assert door.closed
    assert hold.released.wait(WAIT)
    house.door.settle()
    # Those of the house's own segments are closed now, too.
    assert descriptors() <= before


def test_any_layout_fits_into_packets(house):
    """Names that are escaped once in the layout and again in the packet: no packet is larger than 64 KiB."""
    plain = house.segments(0).layout
    names = ['"' * 30_000, "\\" * 30_000, "é\N{SNOWMAN}" * 10_000, *map(str, range(500))]
    columns = tuple(Column(name=name, kind=ColumnKind.ARROW, dtype="", schema=os.urandom(500)) for name in names)
    layout = replace(plain, columns=columns, branch="b")
    packets = list(open_packets("0" * 32, layout_text(layout), (), ()))
    assert len(packets) > 10
    assert all(len(json.dumps(record)) <= 64 << 10 for record, _, _ in packets)
    assert read_layout("".join(record["layout"] for record, _, _ in packets)) == layout
    assert [last for _, _, last in packets] == [False] * (len(packets) - 1) + [True]


@pytest.mark.parametrize("layout", ["", "{}", "[]", "1", '{"columns": 1}', '{"columns": [], "more": 1}'])
def test_a_layout_that_is_none(house, monkeypatch, layout):
    """It is a fault of the sidecar's, and the connection ends, which holds what nobody can read."""
    house.opens.hot[URI] = house.segments(1)
    monkeypatch.setattr("alluxio_lance.sidecar.door.open_packets", _with(layout))
    with ClientDoor.connect(house.address) as door:
        with pytest.raises(Exception, match="without a layout"):
            door.open(URI, (), asked)
        assert door.closed


def _with(layout):
    return lambda lease, _, segments, descriptors: open_packets(lease, layout, segments, descriptors)


def test_only_texts_are_columns(house):
    """A client that gives others hears it from the sidecar."""
    with ClientDoor.connect(house.address) as door, pytest.raises(InvalidArgument, match="list of texts"):
        door.open(URI, [1], asked)
