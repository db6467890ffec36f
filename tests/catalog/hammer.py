"""One of several processes that want the same commit lock: python hammer.py URL FOLDER NAME ROUNDS.

Reads one line from its input before it begins, so that all begin at once. Inside the lock it makes a file that must not
be there, adds one to a counter without any other protection, and commits the next version or, every third time, just unlocks.
"""

from __future__ import annotations

import os
import sys
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

from alluxio_lance.catalog import DatabaseCatalog
from alluxio_lance.lifecycle.ports import Change, Draft, Operation, Owner, Snapshot
from alluxio_lance.values import Verb

WHAT = ("datasets", "counted")


def begun(catalog: DatabaseCatalog, name: str) -> str:
    """Begin an operation."""
    now = datetime.now(UTC)
    owner = Owner(node=name, boot="b", pid=os.getpid(), started=1)
    operation = Operation(
        id=uuid.uuid4().hex,
        verb=Verb.UPDATE,
        type=WHAT[0],
        name=WHAT[1],
        actor=name,
        owner=owner,
        params={},
        created_at=now,
        heartbeat_at=now,
    )
    return catalog.begin(operation).id


def lock(catalog: DatabaseCatalog, operation: str) -> None:
    """Wait for the lock."""
    deadline = time.monotonic() + 60
    while catalog.try_lock(*WHAT, operation, 60) is not None:
        assert time.monotonic() < deadline, "the lock was never free"
        time.sleep(0.002)


def next_version(catalog: DatabaseCatalog, folder: Path, name: str, operation: str) -> None:
    """Commit the version after the newest."""
    resource = catalog.resource(*WHAT)
    number = resource.versions + 1 if resource else 1
    snapshot = Snapshot(version=number, schema=b"s", num_rows=1, num_bytes=1, files=(), content_hash=f"{number:064x}")
    draft = Draft(semver=(1, number, 0), snapshot=snapshot, message="", metadata={}, provenance={})
    change = Change(
        verb=Verb.UPDATE,
        type=WHAT[0],
        name=WHAT[1],
        actor=name,
        message="",
        location="datasets/counted.lance",
        draft=draft,
        activate=f"1.{number}.0",
    )
    (folder / "inside").unlink()
    catalog.commit(operation, change, locked=True)


def main(url: str, folder: Path, name: str, rounds: int) -> None:
    """Take turns."""
    sys.stdin.readline()
    with DatabaseCatalog.open(url) as catalog:
        for round_ in range(rounds):
            operation = begun(catalog, name)
            lock(catalog, operation)
            os.close(os.open(folder / "inside", os.O_CREAT | os.O_EXCL))
            counter = folder / "counter"
            counter.write_text(str(int(counter.read_text()) + 1))
            if round_ % 3 == 2:
                (folder / "inside").unlink()
                catalog.unlock(*WHAT, operation)
                catalog.abandon(operation, "only counted")
            else:
                next_version(catalog, folder, name, operation)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
