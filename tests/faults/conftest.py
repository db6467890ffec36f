"""An Alluxio that tests may break, with a cache that is smaller than their tables, and the table of what came of it."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from alluxio_lance.storage.alluxio.cluster import Cluster, ClusterPlan, Ports

TIER = 24 << 20
"""Bytes of the cache."""


@pytest.fixture(scope="session")
def fragile(tmp_path_factory: pytest.TempPathFactory, jars: None) -> Iterator[Cluster]:
    """An Alluxio of these tests' own, since they kill its processes."""
    plan = ClusterPlan(
        folder=tmp_path_factory.mktemp("fragile"),
        ports=Ports.free(),
        tier_bytes=TIER,
        block_bytes=2 << 20,
        heap_bytes=256 << 20,
        small=True,
    )
    found = Cluster.start(plan)
    yield found
    found.stop()


@pytest.fixture
def address(fragile: Cluster) -> str:
    """The address of an empty store in it."""
    return fragile.uri.replace("/?", f"/lance-{uuid.uuid4().hex[:12]}/tables?")


class Kill:
    """Kills one process of the cluster, once."""

    def __init__(self, cluster: Cluster, part: str) -> None:
        self._node = cluster.node(part)
        self.at: float | None = None

    def __call__(self, *_: object) -> None:
        """Kill it now, with -9; a second call does nothing."""
        if self.at is None:
            os.kill(self._node.pid, signal.SIGKILL)
            while self._node.is_alive:
                os.sched_yield()
            self.at = time.monotonic()


@pytest.fixture
def kill(fragile: Cluster) -> Iterator[Callable[[str], Kill]]:
    """Prepare to kill ``worker``, ``proxy`` or ``master``; what a test that failed has left dead is started again."""
    yield lambda part: Kill(fragile, part)
    for each in fragile.status().nodes:
        if not each.alive:
            fragile.restart(each.name)


@dataclass(frozen=True)
class Outcome:
    """What came of one kill."""

    part: str
    when: str
    outcome: str
    seconds: float
    """From the kill to the outcome."""
    mended: str
    """What reconcile did."""


_outcomes: list[Outcome] = []


@pytest.fixture
def record() -> Callable[..., None]:
    """Keep a row for the table that is printed at the end of the run."""
    return lambda *row: _outcomes.append(Outcome(*row))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table, as docs/alluxio-faults.md has it."""
    if not _outcomes:
        return
    terminalreporter.section("faults of Alluxio")
    terminalreporter.line("| killed | during | outcome | seconds | reconcile |")
    terminalreporter.line("|---|---|---|---|---|")
    for each in _outcomes:
        terminalreporter.line(
            f"| {each.part} | {each.when} | {each.outcome} | {each.seconds:.0f} | {each.mended or 'nothing to do'} |"
        )
