"""The audit trail is written here, and nowhere else: numbered and chained under one lock, in the verb's own transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa

from alluxio_lance.catalog.chain import link
from alluxio_lance.catalog.columns import LONGEST
from alluxio_lance.catalog.schema import counters, events
from alluxio_lance.catalog.text import trimmed
from alluxio_lance.catalog.transactions import Transaction
from alluxio_lance.errors import Corrupt
from alluxio_lance.lifecycle.ports import Note
from alluxio_lance.values import Outcome, Verb

__all__ = ["HEAD", "add_event", "add_note"]

HEAD = counters.c.name == "events"
"""Which counter numbers the audit rows; it keeps number and hash of the last one, so that its loss is seen too."""
_LAST: Final = sa.select(counters.c.value, counters.c.hash).where(HEAD).with_for_update()
_ADVANCE: Final = sa.update(counters).where(HEAD).values(value=sa.bindparam("new_value"), hash=sa.bindparam("new_hash"))
_INSERT: Final = sa.insert(events)


def add_event(tx: Transaction, row: Mapping[str, Any]) -> None:
    """Write an audit row, without its number, time and hash, behind the last one.

    The counter's row stays locked until the transaction ends: numbers become visible in their order, without gaps.

    Raises
    ------
    Corrupt
        When the counter is gone.
    """
    last = tx.one(_LAST)
    if last is None:
        raise Corrupt("the catalog's counter of audit rows is gone: restore the database from a backup")
    numbered = {**row, "sequence": last.value + 1, "at": tx.now}
    chained = {**numbered, "hash": link(last.hash, numbered)}
    tx.run(_INSERT, chained)
    tx.change(_ADVANCE, {"new_value": chained["sequence"], "new_hash": chained["hash"]})


def add_note(tx: Transaction, verb: Verb, note: Note, *, before: str | None = None, after: str | None = None) -> None:
    """Write an audit row about something that belongs to no resource: the rules, a token.

    Raises
    ------
    Corrupt
        When the counter is gone.
    """
    row = {
        "verb": verb,
        "type": "",
        "name": "",
        "actor": trimmed(note.actor, LONGEST),
        "origin": trimmed(note.origin, LONGEST),
        "operation": "",
        "request_id": None,
        "outcome": Outcome.DONE,
        "before": before,
        "after": after,
        "semver": None,
        "message": trimmed(note.message, 10_000),
    }
    add_event(tx, row)
