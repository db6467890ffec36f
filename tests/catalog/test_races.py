"""Two processes that want what only one can have: whichever comes first gets it, and the other one is told why."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from alluxio_lance.governance import Promotion, PromotionState

ROUNDS = 12

RACES = {
    "fence-hold": {("ok", "Leased"), ("Restoring", "ok")},
    "fence-fence": {("ok", "Conflict"), ("Conflict", "ok")},
    "reject-promote": {("ok", "Conflict"), ("Conflict", "ok")},
    "promote-stage": {("ok", "Conflict"), ("Conflict", "ok")},
    "lead-lead": {("ok", "Conflict"), ("Conflict", "ok")},
    "configure-configure": {("ok", "Conflict"), ("Conflict", "ok")},
}
"""By the deeds of the two: how it may end, for the second one and the first one."""


@pytest.fixture
def shelf(desk):
    """For each round a resource with two versions, and a promotion that waits."""
    for number in range(ROUNDS):
        name = f"raced{number}"
        desk.add("1.0.0", name)
        desk.add("1.1.0", name, activate=False)
        waiting = Promotion(
            id=f"{number:032x}",
            type="datasets",
            name=name,
            semver="1.0.0",
            origin=None,
            to="production",
            reason="",
            requested_by="ada@node-1",
            state=PromotionState.WAITING,
            results=(),
            created_at=desk.clock.now,
        )
        desk.catalog.save_promotion(waiting)
    return desk


@pytest.mark.parametrize("race", RACES)
def test_of_two_at_once_one_wins(catalog_url, catalog, shelf, race):
    """In every round, on real processes; the trail of what was done stays whole."""
    script = str(Path(__file__).with_name("racer.py"))
    running = [
        subprocess.Popen(
            [sys.executable, script, catalog_url, deed], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for deed in race.split("-")
    ]
    ends = set()
    for number in range(-1, ROUNDS):
        if number >= 0:
            for process in running:
                process.stdin.write(f"raced{number}\n")
                process.stdin.flush()
        answers = [process.stdout.readline().strip() for process in running]
        ends.add(tuple(reversed(answers)))
    for process in running:
        process.communicate(timeout=20)
    assert ends - {("ready", "ready")} <= RACES[race]
    assert [process.returncode for process in running] == [0, 0]
    assert catalog.verify_audit().fault is None
