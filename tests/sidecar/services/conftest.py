"""A door with real leases over a catalog's lease table in memory, and segments that are plain memfds."""

import json
import os
import socket
import threading
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from alluxio_lance.address import Address
from alluxio_lance.layout import Column, ColumnKind, Layout, Pages, Region, Segment
from alluxio_lance.sidecar.budget import Budget
from alluxio_lance.sidecar.door import Door
from alluxio_lance.sidecar.leases import Leases
from alluxio_lance.sidecar.loading import Loading
from alluxio_lance.sidecar.open_calls import Opened
from alluxio_lance.sidecar.open_packets import layout_text
from alluxio_lance.sidecar.peers import Peers
from alluxio_lance.sidecar.residency import Residency
from alluxio_lance.sidecar.window_calls import WindowCalls
from alluxio_lance.values import State, Version

INSTANCE = "ab" * 16


class Clock:
    """A clock that a test moves."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Records:
    """The lease table of a catalog, kept in memory: what it was told, and when it is told something."""

    def __init__(self):
        self.held = {}
        self.renewed = self.refused = 0
        self.changed = threading.Condition()
        self.failure = None

    def hold(self, holder, ttl):
        """Record a lease."""
        if self.failure:
            with self.changed:
                self.refused += 1
                self.changed.notify_all()
            raise self.failure
        with self.changed:
            self.held[holder.id] = holder
            self.changed.notify_all()

    def renew(self, ids, ttl):
        """Count a renewal."""
        with self.changed:
            self.renewed += 1
            self.changed.notify_all()
        if self.failure:
            raise self.failure

    def release(self, ids):
        """End leases."""
        with self.changed:
            for id in ids:
                self.held.pop(id, None)
            self.changed.notify_all()
        if self.failure:
            raise self.failure

    def wait(self, what, timeout=60.0):
        """Wait until something is so."""
        with self.changed:
            return self.changed.wait_for(lambda: what(self), timeout)


class Segments:
    """A hold on memfds, as residency gives them; each holds its number as text."""

    def __init__(self, count):
        self.descriptors = []
        for number in range(count):
            descriptor = os.memfd_create(f"segment-{number}")
            os.write(descriptor, str(number).encode())
            self.descriptors.append(descriptor)
        segments = tuple(Segment(id=n, rows=1, length=4, pages=Pages.SMALL, data=Region(0, 4)) for n in range(count))
        column = Column(name="x", kind=ColumnKind.FIXED, dtype="int32", segments=segments)
        self.layout = Layout(
            type="datasets",
            name="a",
            semver="1.0.0",
            version=1,
            content_hash="0" * 64,
            num_rows=count,
            shard_rows=1,
            columns=(column,),
        )
        self.released = threading.Event()

    def release(self):
        """Close the memfds; a second call is a fault."""
        assert not self.released.is_set()
        self.released.set()
        for descriptor in self.descriptors:
            os.close(descriptor)


class Announcements:
    """What is active; answers at once, or when the test says."""

    def __init__(self):
        self.active = {}
        self.waiting = None

    def ask(self, type, name, answer):
        """Answer with what is active."""
        if self.waiting is not None:
            self.waiting.append(answer)
        else:
            answer(self.active.get((type, name), (None, None)))


class Opens:
    """What opens versions for the door; answers at once, or when the test says.

    A double, since these tests are about the packets. What opens in earnest is in test_open_calls.py.
    """

    def __init__(self, leases):
        self.leases = leases
        self.hot = {}
        """By URI: what holds its segments, or the refusal."""
        self.busy = False
        self.waiting = None
        self.asked = []

    def open(self, peer, uri, columns, answer):
        """Answer with a lease on what is hot."""
        if self.busy:
            return False
        self.asked.append((uri, columns))
        if self.waiting is not None:
            self.waiting.append(lambda: answer(self.answer(peer, uri)))
        else:
            answer(self.answer(peer, uri))
        return True

    def answer(self, peer, uri):
        """Give a lease."""
        found = self.hot.get(uri)
        if found is None or isinstance(found, Exception):
            return found
        token = self.leases.reserve(peer, version())
        self.leases.grant(token, found)
        return Opened(token, layout_text(found.layout))


@dataclass
class House:
    """A door and what stands behind it."""

    address: Address
    peers: Peers
    leases: Leases
    records: Records
    announcements: Announcements
    clock: Clock
    opens: Opens
    door: Door
    holds: list = field(default_factory=list)

    def peer(self):
        """Give a session to this process that no connection ends."""
        return self.peers.enter(os.getpid(), os.getuid())

    @contextmanager
    def raw(self):
        """Connect without the client's manners."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.settimeout(60)
            connection.connect(str(self.address.door))
            yield connection

    @staticmethod
    def ask(connection, packet):
        """Send one packet and return the reply; None when the door closed the connection."""
        connection.send(packet if isinstance(packet, bytes) else json.dumps(packet).encode())
        try:
            data = connection.recv(64 << 10)
        except ConnectionResetError:
            return None
        return json.loads(data) if data else None

    def version(self, **changes):
        """Make a version."""
        return version(**changes)

    def segments(self, count=1):
        """Make a hold."""
        return Segments(count)

    def lease(self, segments=1):
        """Give a lease on some memfds."""
        token = self.leases.reserve(self.peer(), version())
        hold = Segments(segments)
        self.holds.append(hold)
        self.leases.grant(token, hold)
        return token, hold


def version(**changes):
    """Make a version."""
    facts = {
        "type": "datasets",
        "name": "a",
        "semver": "1.0.0",
        "version": 1,
        "content_hash": "0" * 64,
        "state": State.ACTIVE,
        "location": "datasets/a.lance",
        "num_rows": 1,
        "num_bytes": 4,
        "schema": b"",
        "created_at": datetime(2026, 1, 1, tzinfo=UTC),
        "created_by": "me@here",
        "operation": "0" * 32,
    }
    return Version(**{**facts, **changes})


class Library:
    """A store that these tests load nothing from."""


@contextmanager
def opened(tmp_path, **options):
    """Open a door in a folder."""
    clock, records, peers, announcements = Clock(), Records(), Peers(options.pop("allow_users", ())), Announcements()
    address = Address(tmp_path)
    ttl = options.pop("ttl", 15.0)
    with (
        Leases(records, node="here", instance=INSTANCE, clock=clock, ttl=ttl) as leases,
        nullcontext(Opens(leases)) as opens,
        Residency(Loading(Library()), Budget(1 << 20)) as residency,
        WindowCalls(residency.windows) as windows,
        Door(
            address,
            peers=peers,
            leases=leases,
            announcements=announcements,
            sees=options.pop("sees", lambda *_: None),
            windows=windows,
            opens=opens,
            instance=INSTANCE,
            node="here",
            **options,
        ) as door,
    ):
        yield House(address, peers, leases, records, announcements, clock, opens, door)


@pytest.fixture
def open_house(tmp_path):
    """Open doors with options."""
    return lambda **options: opened(tmp_path, **options)


@pytest.fixture
def house(open_house):
    """An open door."""
    with open_house() as house:
        yield house
