"""Several processes and threads on one catalog, and what the sudden death of one leaves."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest

from alluxio_lance.catalog import DatabaseCatalog
from alluxio_lance.errors import AlluxioLanceError, Leased, NotFound

HERE = Path(__file__).parent


def test_processes_never_hold_the_lock_together(empty_url, tmp_path):
    """Three processes open an empty database at once and take turns: no count, version or audit row is lost."""
    (tmp_path / "counter").write_text("0")
    processes, rounds = 3, 9
    command = [sys.executable, str(HERE / "hammer.py"), empty_url, str(tmp_path)]
    running = [
        subprocess.Popen([*command, f"p{n}", str(rounds)], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for n in range(processes)
    ]
    for process in running:
        process.stdin.write("go\n")
        process.stdin.flush()
    ends = [(process.communicate(timeout=100)[1], process.returncode) for process in running]
    assert ends == [("", 0)] * processes
    assert int((tmp_path / "counter").read_text()) == processes * rounds
    committed = processes * (rounds - rounds // 3)
    with DatabaseCatalog.open(empty_url) as catalog:
        numbers = [version.version for version in catalog.versions("datasets", "counted")]
        assert numbers == list(range(committed, 0, -1))
        events = catalog.events()
        assert [event.sequence for event in events] == list(range(1, committed + 1))
        assert all(later.before == earlier.after for earlier, later in pairwise(events))
        assert catalog.try_lock("datasets", "counted", "f" * 32, 1) is None


def test_a_death_in_the_middle_of_a_commit_leaves_nothing_half_written(catalog_url):
    """Killed before any statement of a commit, the catalog shows all of the old state; acknowledged, all of the new."""
    done = subprocess.run(
        [sys.executable, str(HERE / "crashing.py"), catalog_url],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    deaths = [line["dies_before"] for line in lines if "dies_before" in line]
    shown = [line for line in lines if "dies_before" not in line]
    assert {"INSERT INTO versions", "INSERT INTO files", "INSERT INTO events", "INSERT INTO pointers", "COMMIT"} <= set(
        deaths
    )
    assert len(shown) == len(deaths) + 1
    old = {
        "states": {"1.1.0": "active"},
        "active": "1.1.0",
        "count": 1,
        "files": 1,
        "events": 1,
        "operation": "pending",
        "lock": "2" * 32,
    }
    assert shown[:-1] == [old] * len(deaths)
    assert shown[-1] == {
        "states": {"1.2.0": "active", "1.1.0": "deprecated"},
        "active": "1.2.0",
        "count": 2,
        "files": 2,
        "events": 2,
        "operation": "done",
        "lock": None,
    }


def test_a_reader_and_a_deletion_never_both_win(catalog, desk):
    """Of a hold and a deletion at once exactly one goes through, and the other one is told why."""

    def attempt(call, start: threading.Barrier) -> type[AlluxioLanceError] | None:
        start.wait(10)
        try:
            call()
        except AlluxioLanceError as error:
            return type(error)
        return None

    with ThreadPoolExecutor(2) as pool:
        for number in range(12):
            name = f"raced{number}"
            desk.add("1.0.0", name)
            start, holder = threading.Barrier(2), desk.holder(name=name)
            held = pool.submit(attempt, lambda holder=holder: catalog.hold(holder, 30), start)
            hidden = pool.submit(attempt, lambda n=name: desk.hide(n), start)
            assert (held.result(20), hidden.result(20)) in {(None, Leased), (NotFound, None)}


@pytest.mark.parametrize("threads", [4])
def test_threads_share_a_catalog(catalog, desk, threads):
    """Commits of several threads on one catalog are all there, with growing sequences."""

    def work(number: int) -> None:
        for patch in range(5):
            desk.add(f"1.0.{patch}", f"mine{number}")

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))
    assert [event.sequence for event in catalog.events()] == list(range(1, 5 * threads + 1))
    assert {resource.versions for resource in catalog.resources()} == {5}
