"""What opens hot versions for the door, on a real catalog and real shared memory."""

from __future__ import annotations

import os
import threading
from queue import Queue

import pyarrow as pa
import pytest
import sqlalchemy as sa

from alluxio_lance.catalog.dialects import WRITES
from alluxio_lance.errors import Internal, InvalidArgument, InvalidURI, NotActive, NotFound, PermissionDenied, Restoring
from alluxio_lance.lifecycle.access.authenticating import Authenticator
from alluxio_lance.lifecycle.rules import RulesBook
from alluxio_lance.sidecar import open_calls
from alluxio_lance.sidecar.open_calls import OpenCalls, Opened
from alluxio_lance.sidecar.peers import Peer
from alluxio_lance.sidecar.server import Sidecar
from alluxio_lance.sidecar.settings import Settings
from alluxio_lance.values import Outcome

WAIT = 20.0
"""Seconds after which a test that waits for an event has failed."""
URI = "alluxio://datasets/a"


class Office:
    """A sidecar, and what opens for a process of it."""

    def __init__(self, sidecar):
        self.sidecar = sidecar
        self.catalog = sidecar.manager.catalog
        self.told = []
        authenticator = Authenticator(self.catalog, RulesBook(self.catalog), node="here")
        self.calls = OpenCalls(sidecar.residency, sidecar.leases, sidecar.manager, authenticator, self.told.append)
        self.peer = Peer(session="1", pid=os.getpid(), uid=os.geteuid(), user="me", command="test")
        self.stranger = Peer(session="2", pid=1, uid=54321, user="stranger", command="")

    def ask(self, uri=URI, *columns, peer=None):
        """Open, and return what is answered."""
        answers = Queue()
        assert self.calls.open(peer or self.peer, uri, columns, answers.put)
        return answers.get(timeout=WAIT)

    def holders(self):
        """Count the leases in the catalog."""
        self.sidecar.leases.settle()
        return len(self.catalog.holders("datasets", "a"))

    def register(self, *values, **options):
        """Make a version and make it hot."""
        manager = self.sidecar.manager
        data = pa.table({"x": values, "y": values})
        there = any(one.name == "a" for one in manager.list_resources())
        verb = manager.update_resource if there else manager.register_resource
        version = verb("datasets", "a", data, **options)
        self.sidecar.residency.prefetch(version)
        return version


@pytest.fixture
def office(tmp_path):
    """A small node that loads nothing by itself."""
    settings = Settings(
        root=tmp_path / "root", run_dir=tmp_path / "run", memory_budget="64MiB", prefetch="none", janitor_interval=0
    )
    with Sidecar(settings) as sidecar:
        office = Office(sidecar)
        with office.calls:
            yield office


def test_what_is_hot_is_opened_as_in_grpc(office):
    """The catalog, the statistics, the announcements and the holders know of it; the lease waits to be attached."""
    version = office.register(1, 2)
    before = office.sidecar.residency.statistics()
    opened = office.ask(URI, "x")
    assert isinstance(opened, Opened)
    assert [(lease.token, lease.version.semver, lease.connections) for lease in office.sidecar.leases.current()] == [
        (opened.token, "1.0.0", 0)
    ]
    assert office.holders() == 1
    assert office.catalog.versions("datasets", "a")[0].read_at is not None
    after = office.sidecar.residency.statistics()
    assert (after.opens - before.opens, after.hits - before.hits) == (1, 1)
    # After the answer.
    office.calls.close()
    assert office.told == [version]
    office.sidecar.leases.cancel(opened.token)
    assert office.holders() == 0


def test_an_open_is_one_look_at_the_catalog_and_one_lease_in_it(office):
    """Each transaction costs the reader time, with a database server a way there and back each."""
    office.register(1, 2)
    writes = []

    def begun(connection):
        if threading.current_thread().name.startswith("open"):
            writes.append(bool(connection.get_execution_options().get(WRITES)))

    sa.event.listen(office.catalog.engine, "begin", begun)
    assert isinstance(office.ask(URI, "x"), Opened)
    assert writes == [False, True]


def test_the_active_version_is_the_catalogs(office):
    """Right after an activation, a rollback or a deprecation, with every version hot."""
    manager = office.sidecar.manager
    office.register(1)
    office.register(2)
    assert '"semver":"1.1.0"' in office.ask().layout
    manager.rollback_resource("datasets", "a")
    assert '"semver":"1.0.0"' in office.ask().layout
    manager.activate_resource("datasets", "a", "1.1.0")
    assert '"semver":"1.1.0"' in office.ask().layout
    assert '"semver":"1.0.0"' in office.ask(f"{URI}@1.0.0").layout
    manager.tag_resource("datasets", "a", "1.0.0", "gold")
    assert '"semver":"1.0.0"' in office.ask(f"{URI}@gold").layout
    manager.deprecate_resource("datasets", "a", "1.1.0")
    assert isinstance(office.ask(), NotActive)


def test_what_is_not_hot_leaves_no_trace(office):
    """Neither in the catalog nor in the statistics: it is opened in gRPC, and counts there."""
    version = office.sidecar.manager.register_resource("datasets", "a", pa.table({"x": [1], "y": [2]}))
    assert office.ask() is None
    office.sidecar.residency.prefetch(version, ["x"])
    assert office.ask() is None
    assert office.ask(URI, "x", "y") is None
    assert office.holders() == 0
    assert office.catalog.versions("datasets", "a")[0].read_at is None
    assert office.sidecar.residency.statistics().opens == 0
    assert office.told == []
    assert isinstance(office.ask(URI, "x"), Opened)


@pytest.mark.parametrize(
    ("uri", "error"),
    [
        ("alluxio://datasets/none", NotFound),
        (f"{URI}@9.9.9", NotFound),
        ("alluxio:///file", InvalidArgument),
        ("http://a", InvalidURI),
        ("", InvalidURI),
    ],
)
def test_refusals_are_the_catalogs(office, uri, error):
    """What names nothing is said so."""
    office.register(1)
    assert isinstance(office.ask(uri), error)
    assert office.holders() == 0


def test_a_column_that_there_is_not(office):
    """It is refused without a lease."""
    office.register(1)
    refusal = office.ask(URI, "z")
    assert isinstance(refusal, NotFound)
    assert "columns" in refusal.details
    assert office.holders() == 0


def test_who_may_not_read_is_refused_and_audited_once(office):
    """By the user that the kernel names."""
    office.register(1)
    office.sidecar.manager.set_rules("[access]\ndefault = []\n")
    refusal = office.ask(peer=office.stranger)
    assert isinstance(refusal, PermissionDenied)
    assert "stranger@here without a role may not read datasets/a" in refusal.message
    assert len(office.catalog.events(outcome=Outcome.DENIED)) == 1
    assert isinstance(office.ask(), Opened)


def test_an_archived_version_is_for_grpc(office):
    """Even while it is still in shared memory; nothing is sent for."""
    office.register(1)
    office.register(2)
    before = office.catalog.last_event()
    office.sidecar.manager.archive_resource("datasets", "a", "1.0.0")
    assert office.ask(f"{URI}@1.0.0") is None
    assert {event.verb.value for event in office.catalog.events(after=before)} == {"archive"}


def test_a_deleted_version_is_not_handed_out(office):
    """Even while it is still in shared memory."""
    office.register(1)
    office.sidecar.manager.delete_resource("datasets", "a")
    assert isinstance(office.ask(), NotFound)


def test_a_version_on_its_way_to_the_cold_tier_is_for_grpc(office, monkeypatch):
    """The catalog says so only when it is asked for the lease."""
    office.register(1)
    monkeypatch.setattr(office.catalog, "hold", _raising(Restoring("about to go", progress=0.0)))
    assert office.ask() is None
    assert office.sidecar.leases.current() == ()


def test_a_version_that_is_evicted_under_the_lease_is_not_here(office, monkeypatch):
    """Between the first look and the lease it may go; then the lease goes, too."""
    version = office.register(1)
    hold = office.catalog.hold

    def evicting(holder, ttl):
        hold(holder, ttl)
        office.sidecar.residency.evict(version)

    monkeypatch.setattr(office.catalog, "hold", evicting)
    assert office.ask() is None
    assert office.sidecar.leases.current() == ()
    assert office.holders() == 0


def test_a_fault_is_answered_and_leaves_no_lease(office, monkeypatch):
    """Whoever waits is told, whatever it was."""
    office.register(1)
    monkeypatch.setattr(office.sidecar.residency, "open_hot", _raising(ZeroDivisionError("oops")))
    assert isinstance(office.ask(), ZeroDivisionError)
    assert office.sidecar.leases.current() == ()
    monkeypatch.setattr(office.sidecar.residency, "open_hot", _raising(Internal("broken")))
    assert isinstance(office.ask(), Internal)


def test_too_many_at_once_are_for_grpc(office, monkeypatch):
    """While the catalog does not answer, and no longer."""
    office.register(1)
    monkeypatch.setattr(open_calls, "_MOST", 2)
    plain, go, answers = office.catalog.hold, threading.Event(), Queue()

    def slow(holder, ttl):
        assert go.wait(WAIT)
        plain(holder, ttl)

    monkeypatch.setattr(office.catalog, "hold", slow)
    few = Office(office.sidecar)
    with few.calls:
        assert few.calls.open(few.peer, URI, (), answers.put)
        assert few.calls.open(few.peer, URI, (), answers.put)
        assert not few.calls.open(few.peer, URI, (), answers.put)
        go.set()
        assert all(isinstance(answers.get(timeout=WAIT), Opened) for _ in range(2))
        assert isinstance(few.ask(), Opened)


def _raising(error):
    def fail(*_, **__):
        raise error

    return fail
