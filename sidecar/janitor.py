"""Runs the policies from time to time: one janitor in the whole cluster works, the others wait for its office."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Protocol, Self

import structlog

from alluxio_lance.errors import AlluxioLanceError
from alluxio_lance.lifecycle.policies import DONE, STOPPED
from alluxio_lance.upkeep import PolicyPlan

__all__ = ["Janitor", "JanitorStatistics", "Office", "Policies"]

_log = structlog.get_logger(__name__)

_OFFICE: Final = "janitor"
_JITTER: Final = 0.1
"""The share of the interval by which it varies, so that the nodes of a cluster do not ask in step."""
_PATIENCE: Final = 10.0
"""Seconds that a stop waits for the row at work. What is cut off there is left to reconcile, as after a crash."""


class Office(Protocol):
    """Where the cluster agrees on one: the catalog."""

    def lead(self, office: str, holder: str, ttl: float) -> bool:
        """Take or keep an office for ``ttl`` seconds; False while somebody else has it."""
        ...

    def resign(self, office: str, holder: str) -> None:
        """Give it up."""
        ...


class Policies(Protocol):
    """Who does the work: the manager."""

    def run_policies(
        self, type: str | None = None, name: str | None = None, *, go_on: Callable[[], bool]
    ) -> PolicyPlan:
        """Run all policies; ``go_on`` is asked before each row."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class JanitorStatistics:
    """What the janitor of this node has done since its start."""

    leading: bool = False
    """It has the office of the cluster, as far as it knows."""
    runs: int = 0
    """Rounds in which it had the office and went through the policies."""
    failed_runs: int = 0
    """Rounds that ended with an error: the catalog did not answer, for one."""
    done: int = 0
    """Versions and resources archived, deleted or purged."""
    left: int = 0
    """Rows that were due and were not done: blocked, refused or failed."""
    last_run_at: datetime | None = None
    last_error: str = ""
    """Of the last failed round."""


class Janitor:
    """Keeps the office of the cluster, if it can get it, and then goes through the policies every so often.

    Parameters
    ----------
    holder
        Who it is in the cluster: one process, not one node, so that a restarted sidecar waits for its own ghost.
    interval
        Seconds from the end of a round to the next one; varies by a tenth.
    ttl
        Seconds that the office of a dead janitor is kept. The living one renews it three times as often.
    """

    def __init__(self, office: Office, policies: Policies, *, holder: str, interval: float, ttl: float = 60.0) -> None:
        self._office = office
        self._policies = policies
        self._holder = holder
        self._interval = interval
        self._ttl = ttl
        self._stopping = threading.Event()
        self._woken = threading.Event()
        self._guard = threading.Lock()
        self._statistics = JanitorStatistics()
        self._mine_until = 0.0
        self._threads = [
            threading.Thread(target=self._keep_office, name="janitor-office", daemon=True),
            threading.Thread(target=self._work, name="janitor", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def statistics(self) -> JanitorStatistics:
        """Tell what it has done."""
        with self._guard:
            return replace(self._statistics, leading=self._leads())

    def soon(self) -> None:
        """Begin the next round now, if it has the office; does not wait for it."""
        self._woken.set()

    def close(self) -> None:
        """Stop after the row at work, and give the office up; a second call does nothing."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._woken.set()
        for thread in self._threads:
            thread.join(_PATIENCE)
        if any(thread.is_alive() for thread in self._threads):
            # The office stays taken until its time is over: nobody else begins beside what is still at work.
            _log.warning("the janitor is cut off in the middle of a row: reconcile will end it")
            return
        self._mine_until = 0.0
        try:
            self._office.resign(_OFFICE, self._holder)
        except AlluxioLanceError as error:
            _log.warning("the janitor's office could not be given up: its time will end", reason=error.message)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- the office ----------------------------------------------------------------------------------------------------

    def _leads(self) -> bool:
        """Tell whether the office is surely this one's: a catalog that does not answer lets its time run out."""
        return time.monotonic() < self._mine_until

    def _keep_office(self) -> None:
        while not self._stopping.is_set():
            asked = time.monotonic()
            try:
                mine = self._office.lead(_OFFICE, self._holder, self._ttl)
            except Exception:  # noqa: BLE001 - whatever went wrong, the next time may go well; until then the time runs out
                _log.warning("the janitor's office could not be asked for", exc_info=True)
            else:
                self._mine_until = asked + self._ttl if mine else 0.0
            self._stopping.wait(self._ttl / 3)

    # -- the work ------------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while not self._stopping.is_set():
            self._woken.wait(self._interval * random.uniform(1 - _JITTER, 1 + _JITTER))  # noqa: S311 - no secret
            self._woken.clear()
            if self._goes_on():
                self._round()

    def _goes_on(self) -> bool:
        return self._leads() and not self._stopping.is_set()

    def _round(self) -> None:
        try:
            self._count(self._policies.run_policies(go_on=self._goes_on))
        except Exception as error:  # noqa: BLE001 - whatever went wrong, the next round may go well
            _log.warning("the janitor could not go through the policies", exc_info=True)
            self._note(failed_runs=self._statistics.failed_runs + 1, last_error=str(error))

    def _count(self, plan: PolicyPlan) -> None:
        ended = list(plan.outcome.values())
        done = ended.count(DONE)
        self._note(
            runs=self._statistics.runs + 1,
            done=self._statistics.done + done,
            left=self._statistics.left + len(ended) - done - ended.count(STOPPED),
            last_run_at=datetime.now(UTC),
        )

    def _note(self, **changes: Any) -> None:
        # Only the thread that works writes; the lock is for those who look.
        with self._guard:
            self._statistics = replace(self._statistics, **changes)
