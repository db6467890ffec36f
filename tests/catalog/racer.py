"""One of two processes that want what only one can have: python racer.py URL DEED.

Reads a name from each line of its input, does its deed about the resource or office of that name at once, and answers with
``ok`` or the name of the error.
"""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from alluxio_lance.catalog import DatabaseCatalog
from alluxio_lance.errors import AlluxioLanceError, Conflict
from alluxio_lance.governance import PromotionState
from alluxio_lance.lifecycle.ports import Change, Holder, Note, Operation, Owner
from alluxio_lance.values import Verb


def begun(catalog: DatabaseCatalog, verb: Verb, name: str) -> str:
    """Begin an operation."""
    now = datetime.now(UTC)
    operation = Operation(
        id=uuid.uuid4().hex,
        verb=verb,
        type="datasets",
        name=name,
        actor="racer",
        owner=Owner(node="n", boot="b", pid=os.getpid(), started=1),
        params={},
        created_at=now,
        heartbeat_at=now,
    )
    return catalog.begin(operation).id


def hold(catalog: DatabaseCatalog, name: str) -> None:
    """Begin to read."""
    holder = Holder(
        id=uuid.uuid4().hex,
        type="datasets",
        name=name,
        semver="1.0.0",
        node="n",
        pid=1,
        user="u",
        command="c",
        since=datetime.now(UTC),
    )
    catalog.hold(holder, 600)


def fence(catalog: DatabaseCatalog, name: str) -> None:
    """Begin to archive."""
    catalog.fence(begun(catalog, Verb.ARCHIVE, name), "datasets", name, ["1.0.0"])


def promote(catalog: DatabaseCatalog, name: str) -> None:
    """Complete the promotion that waits."""
    (waiting,) = catalog.promotions("datasets", name)
    change = Change(
        verb=Verb.PROMOTE,
        type="datasets",
        name=name,
        actor="racer",
        message="",
        about="1.0.0",
        stages={"1.0.0": "production"},
        stage_holders={"production": ()},
        promotion=replace(waiting, state=PromotionState.DONE),
    )
    catalog.commit(begun(catalog, Verb.PROMOTE, name), change, locked=False)


def reject(catalog: DatabaseCatalog, name: str) -> None:
    """End the promotion that waits."""
    (waiting,) = catalog.promotions("datasets", name)
    catalog.save_promotion(replace(waiting, state=PromotionState.DENIED))


def stage(catalog: DatabaseCatalog, name: str) -> None:
    """Give the stage to the other version."""
    change = Change(
        verb=Verb.PROMOTE,
        type="datasets",
        name=name,
        actor="racer",
        message="",
        stages={"1.1.0": "production"},
        stage_holders={"production": ()},
    )
    catalog.commit(begun(catalog, Verb.PROMOTE, name), change, locked=False)


def lead(catalog: DatabaseCatalog, name: str) -> None:
    """Take the office."""
    if not catalog.lead(name, str(os.getpid()), 600):
        raise Conflict("somebody else has it")


def configure(catalog: DatabaseCatalog, name: str) -> None:
    """Change the rules of the revision that the name ends with."""
    note = Note(actor="racer", origin="", message="")
    catalog.set_rules(f"by = {os.getpid()}", revision=int(name.removeprefix("raced")), note=note)


DEEDS: dict[str, Callable[[DatabaseCatalog, str], None]] = {
    deed.__name__: deed for deed in (hold, fence, promote, reject, stage, lead, configure)
}


def main(url: str, deed: Callable[[DatabaseCatalog, str], None]) -> None:
    """Answer each line."""
    with DatabaseCatalog.open(url) as catalog:
        os.write(1, b"ready\n")
        for line in sys.stdin:
            try:
                deed(catalog, line.strip())
            except AlluxioLanceError as error:
                os.write(1, f"{type(error).__name__}\n".encode())
            else:
                os.write(1, b"ok\n")


if __name__ == "__main__":
    main(sys.argv[1], DEEDS[sys.argv[2]])
