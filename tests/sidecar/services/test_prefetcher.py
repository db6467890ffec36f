"""The prefetcher: follows pointers, loads, announces, tidies up; over a catalog and a shelf that a test directs."""

import threading
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from alluxio_lance.errors import Corrupt, NoSpace, NotFound, Unavailable
from alluxio_lance.sidecar import prefetcher as module
from alluxio_lance.sidecar.feed import Feed
from alluxio_lance.sidecar.prefetcher import Prefetcher
from alluxio_lance.values import Event, Kind, Resource, State, Verb, Version

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAME = ("datasets", "a")
SCHEMA = bytes(pa.schema([pa.field("x", pa.int32())]).serialize())


def version(number, state=State.ACTIVE):
    """Make version 1.NUMBER.0."""
    return Version(
        type="datasets",
        name="a",
        semver=f"1.{number}.0",
        version=number,
        content_hash="0" * 64,
        state=state,
        location="datasets/a.lance",
        num_rows=1,
        num_bytes=4,
        schema=SCHEMA,
        created_at=NOW,
        created_by="me@here",
        operation="0" * 32,
    )


class Directed:
    """A catalog and a shelf in one; `changed` rings at each call that a test may wait for."""

    def __init__(self):
        self.changed = threading.Condition()
        self.nudge = threading.Event()
        self.log = []
        self.active = None
        self.states = {}
        self.failure = None
        self.load_failures = []
        self.endless = set()
        self.cancelled = None
        self.residents = []
        self.warmed = []
        self.hot = set()
        self.made_by = "0" * 32
        self._events = []

    def move(self, number, verb=Verb.ACTIVATE, about=None):
        """Move the pointer and write an event."""
        self.active = number
        semver = f"1.{about or number}.0" if about or number else None
        self._events.append(
            Event(
                sequence=len(self._events) + 1,
                at=NOW,
                verb=verb,
                type="datasets",
                name="a",
                actor="me@here",
                operation="0" * 32,
                before=None,
                after=None,
                semver=semver,
                message="",
            )
        )
        self.nudge.set()

    def note(self, *what):
        """Write something down."""
        with self.changed:
            self.log.append(what)
            self.changed.notify_all()

    def wait(self, *what):
        """Wait until something was written down."""
        with self.changed:
            assert self.changed.wait_for(lambda: what in self.log, 60), self.log

    # the catalog

    def last_event(self):
        if self.failure:
            self.note("refused")
            raise self.failure
        return len(self._events)

    def events(self, *, after=0, type=None, name=None, limit=1000):
        if self.failure:
            self.note("refused")
            raise self.failure
        return self._events[after:]

    def resources(self, type=None):
        return [self.resource("datasets", "a")] if self.active else []

    def resource(self, type, name):
        if self.active == "gone":
            return None
        active = replace(version(self.active), operation=self.made_by) if self.active else None
        return Resource(
            type=type, name=name, kind=Kind.DATASET, active=active, versions=1, created_at=NOW, updated_at=NOW
        )

    def find(self, name):
        state = self.states.get(str(name.selector))
        if state is None:
            raise NotFound("no such version")
        return version(int(str(name.selector).split(".")[1]), state)

    # the shelf

    def prefetch(self, version, *, go_on):
        if version.version in self.endless:
            self.note("loading", version.version)
            with self.changed:
                self.cancelled = self.changed.wait_for(lambda: not go_on(), 5)
            self.note("cancelled", version.version)
            raise Unavailable("cancelled")
        if self.load_failures:
            failure = self.load_failures.pop(0)
            self.note("failed", version.version)
            raise failure
        self.hot.add(version.version)
        self.note("loaded", version.version)

    def set_active(self, type, name, semver):
        self.note("active", semver)

    def forget(self, type, name):
        self.note("forgot", name)

    def resident(self, type, name):
        return list(self.residents)

    def retire(self, version):
        self.residents.remove(version)
        self.note("retired", version.semver)

    def warm(self, version, *, go_on):
        with self.changed:
            self.warmed.append((version.version, go_on()))
            self.changed.notify_all()

    def is_hot(self, version):
        return version.version in self.hot

    def gone(self, type, name):
        self.note("gone", name)

    # the door

    def announce(self, type, name, announced):
        self.note("announced", *announced)

    # a question

    def answer_to(self, prefetcher):
        """Ask and wait for the answer."""
        answered = threading.Event()
        answers = []

        def answer(what):
            answers.append(what)
            answered.set()

        prefetcher.ask(*NAME, answer)
        assert answered.wait(60)
        return answers[0]


@contextmanager
def following(directed, load=True):
    """Start a prefetcher."""
    with (
        Feed(directed, directed.nudge) as feed,
        Prefetcher(directed, directed, feed, load=load, on_gone=directed.gone) as prefetcher,
    ):
        prefetcher.start(directed.announce)
        yield prefetcher


@pytest.fixture
def directed(monkeypatch):
    """A catalog and a shelf, and short pauses."""
    monkeypatch.setattr(module, "_FIRST_RETRY", 0.01)
    monkeypatch.setattr(module, "_AGAIN", 0.01)
    return Directed()


def test_what_is_active_at_the_start_gets_hot_and_is_announced(directed):
    """In this order."""
    directed.active = 1
    with following(directed) as prefetcher:
        directed.wait("announced", "1.1.0", 1)
        assert directed.log == [("active", "1.1.0"), ("loaded", 1), ("announced", "1.1.0", 1)]
        assert directed.answer_to(prefetcher) == ("1.1.0", 1)


def test_what_is_announced_is_brought_into_the_cache_before_the_store_too(directed):
    """Afterwards, and for as long as nobody waits for another load."""
    directed.active = 1
    with following(directed), directed.changed:
        assert directed.changed.wait_for(lambda: directed.warmed == [(1, True)], 5)
        assert ("announced", "1.1.0", 1) in directed.log


def test_moves_of_the_pointer_are_followed(directed):
    """To a version that must be loaded, back to one that is hot, to none, to the end."""
    directed.active = 1
    with following(directed) as prefetcher:
        directed.wait("announced", "1.1.0", 1)
        directed.move(2)
        directed.wait("announced", "1.2.0", 2)
        directed.log.clear()
        directed.move(1)
        directed.wait("announced", "1.1.0", 1)
        assert directed.log == [("active", "1.1.0"), ("announced", "1.1.0", 1)]
        directed.move(None, Verb.DEPRECATE)
        directed.wait("announced", None, None)
        directed.move("gone", Verb.DELETE)
        directed.wait("forgot", "a")
        assert directed.answer_to(prefetcher) == (None, None)


def test_a_name_deleted_and_taken_again_between_two_looks_is_another_version(directed):
    """Its number is the same: what was hot is forgotten, subscribers hear of an end and of a new beginning."""
    directed.active = 1
    with following(directed):
        directed.wait("announced", "1.1.0", 1)
        directed.log.clear()
        directed.hot.clear()
        directed.made_by = "1" * 32
        directed.move(1, Verb.REGISTER)
        directed.wait("announced", "1.1.0", 1)
    assert directed.log == [
        ("forgot", "a"),
        ("announced", None, None),
        ("active", "1.1.0"),
        ("loaded", 1),
        ("announced", "1.1.0", 1),
    ]


def test_without_prefetching_a_version_is_announced_as_soon_as_the_pointer_moves(directed):
    """Nothing is loaded."""
    directed.active = 1
    with following(directed, load=False):
        directed.wait("announced", "1.1.0", 1)
        directed.move(2)
        directed.wait("announced", "1.2.0", 2)
    assert not directed.hot


@pytest.mark.parametrize(
    "error",
    [Unavailable("the store does not answer", what="store"), NoSpace("full", budget=10, need=5)],
    ids=["unavailable", "full for now"],
)
def test_a_load_that_may_succeed_later_is_tried_again(directed, error):
    """It is announced when it has succeeded."""
    directed.active = 1
    directed.load_failures = [error, error]
    with following(directed):
        directed.wait("announced", "1.1.0", 1)
    assert directed.log.count(("failed", 1)) == 2


@pytest.mark.parametrize(
    "error",
    [NoSpace("too large", budget=10, need=11), Corrupt("wrong rows"), RuntimeError("a fault")],
    ids=["too large", "corrupt", "fault"],
)
def test_a_load_that_never_succeeds_is_not_tried_again(directed, error, monkeypatch):
    """It is not announced; until something was, the answer is where the pointer stands. The next version is loaded."""
    monkeypatch.setattr(module, "is_model_version", lambda _: True)
    directed.active = 1
    directed.load_failures = [error]
    with following(directed) as prefetcher:
        directed.wait("failed", 1)
        assert directed.answer_to(prefetcher) == ("1.1.0", 1)
        directed.move(2)
        directed.wait("announced", "1.2.0", 2)
        assert ("announced", "1.1.0", 1) not in directed.log
        directed.load_failures = [error]
        directed.move(3)
        directed.wait("failed", 3)
        assert directed.answer_to(prefetcher) == ("1.2.0", 2)
        # Somebody made room and opened it.
        prefetcher.opened(version(2))
        prefetcher.opened(version(3))
        directed.wait("announced", "1.3.0", 3)
    assert directed.log.count(("announced", "1.2.0", 2)) == 1


def test_a_dataset_that_is_too_large_is_announced(directed):
    """It is read in windows; it is not loaded, nor tried again."""
    directed.active = 1
    with following(directed):
        directed.wait("announced", "1.1.0", 1)
        directed.load_failures = [NoSpace("too large", budget=10, need=11)]
        directed.move(2)
        directed.wait("announced", "1.2.0", 2)
    assert ("loaded", 2) not in directed.log
    assert directed.log.count(("failed", 2)) == 1


def test_a_pointer_that_moves_on_ends_the_attempts_for_the_old_version(directed, monkeypatch):
    """Nobody needs it any more."""
    monkeypatch.setattr(module, "_FIRST_RETRY", 60.0)
    directed.active = 1
    directed.load_failures = [Unavailable("the store does not answer", what="store")]
    with following(directed):
        directed.wait("failed", 1)
        directed.move(2)
        directed.wait("announced", "1.2.0", 2)
    assert ("loaded", 1) not in directed.log


def test_a_load_that_nobody_wants_any_more_is_ended(directed):
    """The pointer moved on while it ran: the load for where it stands now begins, and nothing is said of the old one."""
    directed.endless.add(2)
    directed.move(1)
    with following(directed):
        directed.wait("announced", "1.1.0", 1)
        directed.move(2)
        directed.wait("loading", 2)
        directed.move(3)
        directed.wait("announced", "1.3.0", 3)
    assert directed.cancelled
    assert ("announced", "1.2.0", 2) not in directed.log


def test_a_rollback_is_announced_when_the_version_is_hot_again(directed):
    """Also to a version that was deprecated, and so is hot no longer: readers stay where they are until then."""
    directed.move(2)
    with following(directed):
        directed.wait("announced", "1.2.0", 2)
        directed.move(1, Verb.ROLLBACK)
        directed.wait("announced", "1.1.0", 1)
    assert directed.log.index(("loaded", 1)) < directed.log.index(("announced", "1.1.0", 1))


def test_it_is_told_where_something_was_purged(directed):
    """And not where something else happened."""
    with following(directed):
        directed.move(1)
        directed.wait("announced", "1.1.0", 1)
        assert not any(what[0] == "gone" for what in directed.log)
        directed.move(1, Verb.PURGE)
        directed.wait("gone", "a")


@pytest.mark.parametrize("verb", [Verb.DEPRECATE, Verb.ARCHIVE, Verb.DELETE, Verb.PURGE, Verb.UNBRANCH, Verb.MEASURE])
@pytest.mark.parametrize("state", [State.DEPRECATED, State.ARCHIVED, None])
def test_what_is_not_to_be_served_any_more_is_let_go(directed, verb, state):
    """Whatever the event: the catalog tells how the versions that are here stand now; the others stay."""
    directed.active = 3
    directed.states = {"1.1.0": state, "1.2.0": State.REGISTERED, "1.3.0": State.ACTIVE}
    directed.residents = [version(1), version(2, State.REGISTERED), version(3)]
    with following(directed):
        directed.move(3, verb, about=9)
        directed.wait("retired", "1.1.0")
        directed.move(4)
        directed.wait("announced", "1.4.0", 4)
    assert [resident.semver for resident in directed.residents] == ["1.2.0", "1.3.0"]


def test_a_resident_of_an_earlier_resource_of_the_name_is_let_go(directed):
    """The version of its name is another one now."""
    directed.active = 2
    directed.states = {"1.1.0": State.REGISTERED}
    directed.residents = [replace(version(1), operation="1" * 32), version(1)]
    with following(directed):
        directed.move(2, Verb.UPDATE)
        directed.wait("retired", "1.1.0")
        directed.move(3)
        directed.wait("announced", "1.3.0", 3)
    assert directed.residents == [version(1)]


def test_a_catalog_that_does_not_answer_is_asked_again(directed):
    """Who asks meanwhile is told so; afterwards all goes on."""
    directed.active = 1
    with following(directed) as prefetcher:
        directed.wait("announced", "1.1.0", 1)
        directed.failure = Unavailable("the catalog does not answer", what="catalog")
        assert directed.answer_to(prefetcher) is directed.failure
        directed.nudge.set()
        directed.wait("refused")
        directed.failure = None
        directed.move(2)
        directed.wait("announced", "1.2.0", 2)
        assert directed.answer_to(prefetcher) == ("1.2.0", 2)


def test_one_that_never_started_closes_all_the_same(directed):
    """A sidecar may fail in between."""
    with Feed(directed) as feed:
        prefetcher = Prefetcher(directed, directed, feed, load=True, on_gone=directed.gone)
        prefetcher.close()
        prefetcher.close()
