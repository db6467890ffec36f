"""Commits versions for as long as it is told to, through failovers: python writer.py URL NAME PATIENCE.

After each commit that was acknowledged it says its number, after each one that failed the name of the error; it ends
when its input ends. Nothing is done again by this process: what failed is left as it is.
"""

from __future__ import annotations

import os
import sys
import threading
import uuid
from datetime import UTC, datetime

from alluxio_lance.catalog import DatabaseCatalog
from alluxio_lance.errors import AlluxioLanceError
from alluxio_lance.lifecycle.ports import Change, Draft, Operation, Owner, Snapshot
from alluxio_lance.lifecycle.uri import ResourceName, parse_selector
from alluxio_lance.values import Verb


def one(catalog: DatabaseCatalog, name: str, number: int) -> None:
    """Commit version 1.NUMBER.0 and look at it."""
    now = datetime.now(UTC)
    operation = Operation(
        id=uuid.uuid4().hex,
        verb=Verb.UPDATE,
        type="datasets",
        name=name,
        actor=name,
        owner=Owner(node=name, boot="b", pid=os.getpid(), started=1),
        params={},
        created_at=now,
        heartbeat_at=now,
    )
    catalog.begin(operation)
    # An attempt before may have failed and left its lock: this process is its only owner.
    while (holder := catalog.try_lock("datasets", name, operation.id, 60)) is not None:
        catalog.abandon(holder, "its database went away")
    snapshot = Snapshot(version=number, schema=b"s", num_rows=1, num_bytes=1, files=(), content_hash=f"{number:064x}")
    draft = Draft(semver=(1, number, 0), snapshot=snapshot, message="", metadata={}, provenance={})
    change = Change(
        verb=Verb.UPDATE,
        type="datasets",
        name=name,
        actor=name,
        message="",
        location=f"datasets/{name}.lance",
        draft=draft,
        activate=f"1.{number}.0",
    )
    catalog.commit(operation.id, change, locked=True)


def say(what: object) -> None:
    """Tell the test at once."""
    os.write(1, f"{what}\n".encode())


def main(url: str, name: str, patience: float) -> None:
    """Write until the input ends."""
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    with DatabaseCatalog.open(url, patience=patience) as catalog:
        number = 0
        while not ended.is_set():
            number += 1
            try:
                one(catalog, name, number)
                found = catalog.find(ResourceName("datasets", name, parse_selector("active")))
                assert found.version == number, (found, number)
            except AlluxioLanceError as error:
                say(type(error).__name__)
            else:
                say(number)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
