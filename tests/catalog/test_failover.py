"""The database server is killed in the middle of traffic and comes back: what was acknowledged is there, and traffic goes on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from alluxio_lance.bench.servers import SERVERS, Server
from alluxio_lance.catalog import DatabaseCatalog
from alluxio_lance.errors import Unavailable
from alluxio_lance.governance import Token
from alluxio_lance.lifecycle.ports import Denial, Note
from alluxio_lance.values import Outcome, Verb

WRITER = Path(__file__).with_name("writer.py")
KINDS = [pytest.param(kind, marks=getattr(pytest.mark, kind)) for kind in SERVERS]


@pytest.fixture(params=KINDS)
def server(request, databases) -> Server:
    """A server that the test may kill, as long as it starts it again."""
    return databases.server(request.param)


@pytest.fixture
def url(server) -> Iterator[str]:
    """An empty database on it."""
    made = server.create()
    yield made
    server.drop(made)


class Writer:
    """A process that commits versions, and what it said."""

    def __init__(self, url: str, name: str, patience: float) -> None:
        self.name = name
        self.acknowledged: list[int] = []
        self.errors: list[str] = []
        command = [sys.executable, str(WRITER), url, name, str(patience)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def _hear(self, line: str) -> None:
        if line.strip().isdigit():
            self.acknowledged.append(int(line))
        else:
            self.errors.append(line.strip())

    def until(self, reached) -> None:
        """Listen until something is true."""
        while not reached(self):
            line = self._process.stdout.readline()
            assert line, "the writer has ended"
            self._hear(line)

    def end(self) -> None:
        """Let it finish."""
        self._process.stdin.close()
        for line in self._process.stdout:
            self._hear(line)
        self._process.stdout.close()
        assert self._process.wait(60) == 0


@pytest.mark.parametrize("patience", [0.0, 30.0])
def test_a_server_that_is_killed_in_the_middle_of_traffic_loses_nothing(server, url, patience):
    """Impatient writers see Unavailable and nothing else, patient ones no error at all; both go on afterwards."""
    writers = [Writer(url, f"w{n}", patience) for n in range(2)]
    for _ in range(3):
        for writer in writers:
            want = len(writer.acknowledged) + 10
            writer.until(lambda writer, want=want: len(writer.acknowledged) >= want)
        server.kill()
        if patience == 0:
            for writer in writers:
                want = len(writer.errors) + 1
                writer.until(lambda writer, want=want: len(writer.errors) >= want)
        server.start()
    for writer in writers:
        want = len(writer.acknowledged) + 10
        writer.until(lambda writer, want=want: len(writer.acknowledged) >= want)
        writer.end()
    with DatabaseCatalog.open(url) as catalog:
        for writer in writers:
            assert set(writer.errors) == (set() if patience else {"Unavailable"})
            there = {version.version for version in catalog.versions("datasets", writer.name)}
            assert set(writer.acknowledged) <= there
            if patience:
                assert sorted(there) == list(range(1, max(there) + 1)) == writer.acknowledged
        report = catalog.verify_audit()
        assert (report.fault, report.rows) == (None, sum(r.versions for r in catalog.resources()))


class LastCommit:
    """Lets the server die at the next commit: before it got there, or after it went through and before the answer."""

    def __init__(self, catalog: DatabaseCatalog, server: Server, monkeypatch, *, goes_through: bool) -> None:
        dialect = catalog.engine.dialect
        plain = dialect.do_commit

        def dying(connection) -> None:
            monkeypatch.setattr(dialect, "do_commit", plain)
            if goes_through:
                plain(connection)
            server.kill()
            server.start()
            if goes_through:
                # The answer to the commit was swallowed; so the driver notices its dead connection here.
                connection.cursor().execute("SELECT 1")
            plain(connection)

        monkeypatch.setattr(dialect, "do_commit", dying)


@pytest.fixture
def opened(url, clock) -> Iterator[DatabaseCatalog]:
    """A catalog on the server that may be killed."""
    with DatabaseCatalog.open(url, clock=clock) as catalog:
        yield catalog


@pytest.mark.parametrize("goes_through", [True, False])
def test_a_commit_whose_answer_was_lost_is_made_once(opened, desk_of, server, monkeypatch, goes_through):
    """Whether it went through or not: afterwards it has, once, and the caller gets the version."""
    desk = desk_of(opened)
    desk.add("1.0.0")
    id = desk.begun()
    opened.try_lock("datasets", "cifar10", id, 30)
    LastCommit(opened, server, monkeypatch, goes_through=goes_through)
    made = opened.commit(id, desk.change(draft=desk.draft("1.1.0"), activate="1.1.0"), locked=True)
    assert made == desk.find() == desk.find("1.1.0")
    assert desk.states() == {"1.1.0": "active", "1.0.0": "registered"}
    assert (opened.last_event(), opened.verify_audit().fault) == (2, None)


def test_a_deletion_whose_answer_was_lost_is_made_once(opened, desk_of, server, monkeypatch):
    """The second look finds the operation done, and nothing left to return."""
    desk = desk_of(opened)
    desk.add("1.0.0")
    id = desk.begun(Verb.DELETE)
    LastCommit(opened, server, monkeypatch, goes_through=True)
    assert opened.commit(id, desk.change(Verb.DELETE, remove=True), locked=False) is None
    assert (opened.resources(), opened.last_event()) == ([], 2)


@pytest.mark.parametrize("goes_through", [True, False])
def test_what_ends_the_same_when_done_twice_is_done_again(opened, desk_of, server, monkeypatch, goes_through):
    """Begin, lock, step, heartbeat, hold: the caller sees no error."""
    desk = desk_of(opened)
    desk.add("1.0.0")
    wanted = desk.operation(request_id="r-1")
    holder = desk.holder()
    for call, answer in (
        (lambda: opened.begin(wanted), wanted),
        (lambda: opened.try_lock("datasets", "cifar10", wanted.id, 30), None),
        (lambda: opened.record_step(wanted.id, "written"), None),
        (lambda: opened.hold(holder, 30), None),
        (lambda: opened.abandon(wanted.id, "no"), None),
    ):
        LastCommit(opened, server, monkeypatch, goes_through=goes_through)
        assert call() == answer
    assert opened.holders("datasets", "cifar10") == [holder]
    assert opened.operation(wanted.id).step == "written"


@pytest.mark.parametrize("goes_through", [True, False])
def test_rules_and_tokens_whose_answer_was_lost_are_written_once(
    opened, desk_of, clock, server, monkeypatch, goes_through
):
    """One revision, one token, one audit row each, and no error."""
    note = Note(actor="ada@node-1", origin="", message="because")
    token = Token(id="t", name="ci", roles=("viewer",), created_by="a", created_at=clock.now, expires_at=None)
    desk = desk_of(opened)
    desk.add("1.0.0")
    archive = desk.begun(Verb.ARCHIVE)
    for call in (
        lambda: opened.set_rules("a = 1", revision=0, note=note),
        lambda: opened.add_token(token, "digest", note),
        lambda: opened.revoke_token(token.id, note),
        lambda: opened.fence(archive, "datasets", "cifar10", ["1.0.0"]),
        lambda: opened.lead("janitor", "node-1", 30),
    ):
        LastCommit(opened, server, monkeypatch, goes_through=goes_through)
        call()
    assert (opened.rules().text, opened.rules().revision) == ("a = 1", 1)
    assert [found.revoked_at for found in opened.tokens()] == [clock.now]
    assert [event.verb for event in opened.events(after=1)] == [Verb.CONFIGURE, Verb.ISSUE_TOKEN, Verb.REVOKE_TOKEN]
    assert opened.verify_audit().fault is None


@pytest.mark.parametrize("goes_through", [True, False])
def test_a_purge_of_a_version_whose_answer_was_lost_is_made_once(opened, desk_of, server, monkeypatch, goes_through):
    """There is no version to return, whichever way it went."""
    desk = desk_of(opened)
    desk.add("1.0.0")
    desk.add("1.1.0")
    id = desk.begun(Verb.PURGE)
    LastCommit(opened, server, monkeypatch, goes_through=goes_through)
    purge = desk.change(Verb.PURGE, about="1.0.0", remove_versions=("1.0.0",))
    assert opened.commit(id, purge, locked=False) is None
    assert (desk.states(), opened.last_event()) == ({"1.1.0": "active"}, 3)


def test_what_must_not_be_done_twice_says_that_it_is_not_known(opened, desk_of, server, monkeypatch):
    """An adoption and an audit row of a denied call: Unavailable, with the doubt in words and in the details."""
    desk = desk_of(opened)
    stale = opened.begin(desk.operation())
    denial = Denial(verb=Verb.DELETE, type="datasets", name="a", actor="eve@n", message="no")
    for call in (lambda: opened.adopt(stale, replace(stale.owner, pid=99)), lambda: opened.deny(denial)):
        LastCommit(opened, server, monkeypatch, goes_through=True)
        with pytest.raises(Unavailable, match="the last change may have gone through: look before") as caught:
            call()
        assert caught.value.details == {"what": "catalog", "in_doubt": True}
    assert opened.operation(stale.id).owner.pid == 99
    assert len(opened.events(outcome=Outcome.DENIED)) == 1


@pytest.mark.postgresql
def test_a_server_that_became_a_standby_is_left(databases, clock):
    """A connection that may only read is no longer used: the next one may lead to the new primary."""
    server = databases.server("postgresql")
    url = server.create()
    with DatabaseCatalog.open(url, clock=clock, patience=0) as catalog:
        with catalog.engine.connect() as connection:
            connection.exec_driver_sql("SET default_transaction_read_only = on")
            connection.commit()
            before = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
        with pytest.raises(Unavailable, match="read-only transaction"):
            catalog.try_lock("datasets", "a", "a" * 32, 30)
        assert catalog.try_lock("datasets", "a", "a" * 32, 30) is None
        with catalog.engine.connect() as connection:
            assert connection.exec_driver_sql("SELECT pg_backend_pid()").scalar() != before
    server.drop(url)


def test_a_catalog_that_is_open_meets_a_server_that_was_restarted(server, url):
    """The first call after the restart works at once: dead connections are noticed before they are used."""
    with DatabaseCatalog.open(url, patience=0) as catalog:
        assert catalog.resources() == []
        server.kill()
        with pytest.raises(Unavailable, match="does not answer"):
            catalog.resources()
        server.start()
        assert catalog.resources() == []
