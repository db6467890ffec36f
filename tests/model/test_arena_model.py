"""The slot protocol as a model: spin goes through every order of its steps, and finds each fault that is put in.

`arena.pml` says what is modelled and what is checked. A whole product of all that can happen has too many states for a
test, so each setting leaves something out: workers at a time, lives of a pid, threads of the parent, a child that it forks.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    shutil.which("spin") is None or shutil.which("gcc") is None, reason="needs spin and gcc: apt-get install spin gcc"
)

MODEL = Path(__file__).with_name("arena.pml")
LIMIT_S = 200
KILLED = "-DWORKERS=2 -DLIVES=1"
REBORN = "-DWORKERS=1 -DLIVES=2"
FORKED = "-DWORKERS=1 -DLIVES=1 -DFORKS=1 -DCLAIMS=2"
THREADS = "-DWORKERS=1 -DLIVES=0 -DTHREADS=2 -DFORKS=1 -DCLAIMS=2"


def checked(folder: Path, settings: str) -> tuple[int, int, str]:
    """Search all states; return the number of errors, of states, and what was violated."""
    subprocess.run(["spin", "-a", *settings.split(), str(MODEL)], cwd=folder, check=True, capture_output=True)
    options = ["-O1", "-w", "-DSAFETY", "-DCOLLAPSE", "-DVECTORSZ=4096"]
    subprocess.run(["gcc", *options, "-o", "pan", "pan.c"], cwd=folder, check=True, timeout=LIMIT_S)
    run = subprocess.run(["./pan", "-m100000"], cwd=folder, check=True, capture_output=True, text=True, timeout=LIMIT_S)
    found = re.search(r"errors: (\d+)\s+(\d+) states, stored", run.stdout)
    assert found, run.stdout
    # A search that was cut off at some depth has not seen everything.
    assert "max search depth too small" not in run.stdout
    return int(found[1]), int(found[2]), "".join(re.findall(r"^pan:1: (.*) \(at depth", run.stdout, re.MULTILINE))


@pytest.mark.parametrize("settings", [KILLED, REBORN, FORKED, THREADS])
def test_no_slot_in_two_hands_and_none_lost(tmp_path, settings):
    """Whoever is killed, forked or interrupted where ever: nothing that is checked is violated, and nobody waits."""
    errors, states, violated = checked(tmp_path, settings)
    assert (errors, violated) == (0, "")
    assert states > 100_000


@pytest.mark.parametrize(
    ("fault", "settings"),
    [
        pytest.param("NO_COMPARE", KILLED, id="a word is cleared that has changed meanwhile"),
        pytest.param("TAKE_HELD", KILLED, id="a dead worker's slot is taken from the parent that holds it"),
        pytest.param("NO_TICKET", KILLED, id="a place of a dead worker is taken for that of another"),
        pytest.param("BIRTHS_BY_PID", REBORN, id="a pid that comes back within one pass counts as dead"),
        pytest.param("SWEEP_IN_PLACE", THREADS, id="two threads give back what a child inherited"),
        pytest.param("WATCH_AFTER_FORK", THREADS, id="a thread receives or lets go in the middle of a fork"),
    ],
)
def test_faults_are_found(tmp_path, fault, settings):
    """The model can fail: each fault in the protocol violates an assertion."""
    errors, _, violated = checked(tmp_path, f"-D{fault} {settings}")
    assert errors == 1
    assert "assertion violated" in violated
