"""The janitor: one in the cluster works, a dead one's office ends by its time, a stop is clean."""

import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime

import pyarrow as pa
import pytest

import alluxio_lance as al
from alluxio_lance.catalog import DatabaseCatalog
from alluxio_lance.embedded import catalog_url
from alluxio_lance.errors import InvalidArgument, Unavailable
from alluxio_lance.lifecycle.policies import DONE, STOPPED
from alluxio_lance.sidecar import janitor as module
from alluxio_lance.sidecar.janitor import Janitor, JanitorStatistics
from alluxio_lance.sidecar.server import Sidecar
from alluxio_lance.sidecar.settings import Settings
from alluxio_lance.upkeep import PolicyPlan
from alluxio_lance.values import State

RULES = "[[policies]]\nname = 'cold'\narchive_after = '0.001s'\n"
ONE = pa.table({"id": [1]})


def until(what, seconds=20):
    """Wait until something is true."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.01)


@pytest.fixture
def root(tmp_path):
    """Give a root with a resource of two versions and a policy that archives the first."""
    with al.ResourceManager.embedded(tmp_path / "root") as manager:
        manager.register_resource("datasets", "a", ONE)
        manager.update_resource("datasets", "a", ONE)
        manager.set_rules(RULES)
    return tmp_path / "root"


@pytest.fixture
def catalog(root):
    """Give its catalog."""
    with DatabaseCatalog.open(catalog_url(root)) as catalog:
        yield catalog


class Work:
    """Stands for a manager whose rounds end when the test says so: only so can a test see two janitors at once."""

    def __init__(self, outcome=None):
        self.outcome = outcome or {}
        self.rounds = []
        self.begun, self.end = threading.Event(), threading.Event()
        self.end.set()

    def run_policies(self, type=None, name=None, *, go_on):
        """Take part in a round."""
        self.rounds.append(go_on())
        self.begun.set()
        assert self.end.wait(30)
        self.rounds.append(go_on())
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return PolicyPlan(at=datetime.now(UTC), outcome=self.outcome)


def test_a_sidecar_runs_the_policies(root, tmp_path):
    """In its own time, as the janitor of its node; its statistics say what it did."""
    settings = Settings(root=root, run_dir=tmp_path / "run", node="n1", janitor_interval=0.05)
    with Sidecar(settings) as sidecar:
        until(lambda: sidecar.janitor.statistics().done == 1)
        version = sidecar.manager.find_version("datasets", "a", "1.0.0")
        assert version.state is State.ARCHIVED
        assert sidecar.manager.history("datasets", "a")[-1].actor == "janitor@n1"
        statistics = sidecar.janitor.statistics()
        assert (statistics.leading, statistics.left, statistics.failed_runs) == (True, 0, 0)
        assert statistics.runs >= 1
        assert statistics.last_run_at is not None
        with pytest.raises(AttributeError):
            statistics.runs = 0
    assert not sidecar.janitor.statistics().leading


def test_a_node_without_a_janitor(root, tmp_path):
    """The interval 0 turns it off; one below is refused."""
    with Sidecar(Settings(root=root, run_dir=tmp_path / "run", janitor_interval=0)) as sidecar:
        assert sidecar.janitor is None
    with pytest.raises(InvalidArgument, match="janitor_interval"):
        Settings(root=root, janitor_interval=-1)


def test_only_one_of_two_works(catalog):
    """The other one waits until the first has given the office up, and then begins."""
    first, second = Work(), Work()
    with Janitor(catalog, first, holder="one", interval=0.01, ttl=30) as one:
        until(lambda: len(first.rounds) > 4)
        with Janitor(catalog, second, holder="two", interval=0.01, ttl=30) as two:
            done = len(first.rounds)
            until(lambda: len(first.rounds) > done + 20)
            assert (one.statistics().leading, two.statistics().leading) == (True, False)
            assert second.rounds == []
            one.close()
            until(lambda: second.rounds)
            done = len(first.rounds)
            until(lambda: len(second.rounds) > 10)
            assert len(first.rounds) == done
            assert two.statistics().leading


KEEPER = """
import sys, time
from alluxio_lance.catalog import DatabaseCatalog
from alluxio_lance.sidecar.janitor import Janitor
class Idle:
    def run_policies(self, type=None, name=None, *, go_on):
        raise SystemExit
with DatabaseCatalog.open(sys.argv[1]) as catalog, Janitor(catalog, Idle(), holder="dead", interval=3600, ttl=2) as janitor:
    while not janitor.statistics().leading:
        time.sleep(0.01)
    print("leading", flush=True)
    sys.stdin.read()
"""


def test_the_office_of_a_killed_janitor_ends_by_its_time(root, catalog):
    """A real process, a real kill: the next one works after the office's time and not before."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", KEEPER, catalog_url(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout.readline() == "leading\n"
        work = Work()
        with Janitor(catalog, work, holder="next", interval=0.01, ttl=0.3) as janitor:
            assert not janitor.statistics().leading
            killed = time.monotonic()
            process.send_signal(signal.SIGKILL)
            until(lambda: work.rounds)
            assert time.monotonic() - killed < 2 + 5
            assert janitor.statistics().leading


def test_a_round_is_told_when_the_office_is_lost(catalog):
    """Who stood still for too long begins no other row: somebody else may be at it."""
    work = Work()
    work.end.clear()

    class Paused:
        """Answers nothing any more after the first time, like a catalog behind a broken cable."""

        asked = 0

        def lead(self, office, holder, ttl):
            self.asked += 1
            if self.asked > 1:
                raise Unavailable("no answer", what="catalog")
            return catalog.lead(office, holder, ttl)

        def resign(self, office, holder):
            raise Unavailable("no answer", what="catalog")

    with Janitor(Paused(), work, holder="one", interval=0.01, ttl=0.3) as janitor:
        assert work.begun.wait(10)
        until(lambda: not janitor.statistics().leading)
        work.end.set()
        until(lambda: len(work.rounds) == 2)
        assert work.rounds == [True, False]


def test_a_stop_ends_the_round_before_the_next_row(catalog):
    """It waits for the row at work; then the office is free at once."""
    work = Work({0: DONE, 1: STOPPED, 2: "it has the tag golden"})
    work.end.clear()
    janitor = Janitor(catalog, work, holder="one", interval=3600, ttl=60)
    until(lambda: janitor.statistics().leading)
    janitor.soon()
    assert work.begun.wait(10)
    closing = threading.Thread(target=janitor.close)
    closing.start()
    until(janitor._stopping.is_set)
    work.end.set()
    closing.join(10)
    assert work.rounds == [True, False]
    statistics = janitor.statistics()
    assert (statistics.runs, statistics.done, statistics.left) == (1, 1, 1)
    janitor.close()
    assert catalog.lead("janitor", "two", 60)


def test_a_row_that_takes_too_long_is_cut_off_and_the_office_stays_taken(catalog, monkeypatch):
    """Nobody begins beside what is still at work: the office ends by its time."""
    monkeypatch.setattr(module, "_PATIENCE", 0.05)
    work = Work()
    work.end.clear()
    janitor = Janitor(catalog, work, holder="one", interval=0.01, ttl=60)
    assert work.begun.wait(10)
    janitor.close()
    assert not catalog.lead("janitor", "two", 60)
    work.end.set()
    for thread in janitor._threads:
        thread.join(10)
        assert not thread.is_alive()


def test_a_round_that_fails_is_counted_and_the_next_one_comes(catalog):
    """The last error is there to be looked at."""
    with Janitor(catalog, Work(Unavailable("no database", what="catalog")), holder="one", interval=0.01) as janitor:
        assert janitor.statistics() in (JanitorStatistics(), JanitorStatistics(leading=True))
        until(lambda: janitor.statistics().failed_runs > 1)
        assert janitor.statistics().last_error == "no database"
        assert janitor.statistics().runs == 0
