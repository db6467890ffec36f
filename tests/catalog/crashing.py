"""Dies by SIGKILL before each statement of a commit in turn, then commits: python crashing.py URL.

Each death is that of a child process. After each one line tells what the catalog shows: JSON with the statement that was
never run (null for the commit that went through), and what is visible.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from datetime import UTC, datetime

import sqlalchemy as sa

from alluxio_lance.catalog import DatabaseCatalog
from alluxio_lance.lifecycle.ports import Change, Draft, Operation, Owner, Snapshot, StoredFile
from alluxio_lance.values import State, Verb

WHAT = ("datasets", "cifar10")
OPERATIONS = ("1" * 32, "2" * 32)


def begin(catalog: DatabaseCatalog, id: str) -> None:
    """Begin an operation and take the lock for it."""
    now = datetime.now(UTC)
    owner = Owner(node="n", boot="b", pid=1, started=1)
    operation = Operation(
        id=id,
        verb=Verb.UPDATE,
        type=WHAT[0],
        name=WHAT[1],
        actor="a",
        owner=owner,
        params={},
        created_at=now,
        heartbeat_at=now,
    )
    catalog.begin(operation)
    catalog.try_lock(*WHAT, id, 3600)


def commit(catalog: DatabaseCatalog, id: str, number: int) -> None:
    """Commit version 1.NUMBER.0 with as many files."""
    files = tuple(StoredFile(path=f"data/{i}.lance", size=i, hash="0" * 64) for i in range(number))
    snapshot = Snapshot(
        version=number, schema=b"s", num_rows=1, num_bytes=1, files=files, content_hash=f"{number:064x}"
    )
    draft = Draft(semver=(1, number, 0), snapshot=snapshot, message="", metadata={}, provenance={})
    change = Change(
        verb=Verb.UPDATE,
        type=WHAT[0],
        name=WHAT[1],
        actor="a",
        message="",
        location="datasets/cifar10.lance",
        draft=draft,
        states={"1.1.0": State.DEPRECATED} if number > 1 else {},
        activate=f"1.{number}.0",
    )
    catalog.commit(id, change, locked=True)


def commit_until(url: str, allowed: int) -> None:
    """Commit, but die before statement number ``allowed``; the COMMIT itself counts as one."""
    catalog = DatabaseCatalog.open(url)
    seen = 0

    def count(statement: str) -> None:
        nonlocal seen
        if seen == allowed:
            os.write(1, json.dumps({"dies_before": " ".join(statement.split()[:3])}).encode() + b"\n")
            os.kill(os.getpid(), signal.SIGKILL)
        seen += 1

    sa.event.listen(catalog.engine, "before_cursor_execute", lambda _c, _k, statement, *_: count(statement))
    sa.event.listen(catalog.engine, "commit", lambda _: count("COMMIT"))
    commit(catalog, OPERATIONS[1], 2)
    # Acknowledged: from here on not even a kill may lose it.
    os.kill(os.getpid(), signal.SIGTERM)


def show(url: str) -> None:
    """Print what the catalog shows."""
    with DatabaseCatalog.open(url) as catalog:
        states = {version.semver: version.state for version in catalog.versions(*WHAT)}
        resource = catalog.resource(*WHAT)
        shown = {
            "states": states,
            "active": resource.active.semver,
            "count": resource.versions,
            "files": len(catalog.known_files(*WHAT)),
            "events": catalog.last_event(),
            "operation": catalog.operation(OPERATIONS[1]).state,
            "lock": catalog.try_lock(*WHAT, "f" * 32, 1),
        }
    os.write(1, json.dumps(shown).encode() + b"\n")


def main(url: str) -> None:
    """Die, look, and die one statement later."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with DatabaseCatalog.open(url) as catalog:
        begin(catalog, OPERATIONS[0])
        commit(catalog, OPERATIONS[0], 1)
        begin(catalog, OPERATIONS[1])
    for allowed in range(1000):
        child = os.fork()
        if child == 0:
            commit_until(url, allowed)
        _, status = os.waitpid(child, 0)
        show(url)
        if os.WTERMSIG(status) == signal.SIGTERM:
            break


if __name__ == "__main__":
    main(sys.argv[1])
