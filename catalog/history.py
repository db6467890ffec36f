"""Looking at what was done: the audit rows, as watchers and histories show them."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import sqlalchemy as sa

from alluxio_lance.catalog.rows import to_event
from alluxio_lance.catalog.schema import events
from alluxio_lance.catalog.transactions import Transactions
from alluxio_lance.values import Event, Outcome, Verb

__all__ = ["History"]

_E = events.c
_PAGE: Final = (
    sa.select(events)
    .where(_E.outcome == sa.bindparam("outcome"), _E.sequence > sa.bindparam("after"))
    .order_by(_E.sequence)
    .limit(sa.bindparam("most", type_=sa.Integer))
)
_LAST: Final = sa.select(sa.func.max(_E.sequence)).where(_E.outcome == Outcome.DONE)


class History(Transactions):
    """The part of the catalog that tells what was done."""

    def events(
        self,
        *,
        after: int = 0,
        type: str | None = None,
        name: str | None = None,
        limit: int = 1000,
        outcome: Outcome = Outcome.DONE,
    ) -> list[Event]:
        """List audit rows of one outcome with a sequence above ``after``, oldest first."""
        query, values = _PAGE, {"outcome": outcome, "after": after, "most": limit}
        if type is not None:
            query = query.where(_E.type == type)
        if name is not None:
            query = query.where(_E.name == name)
        return [to_event(row) for row in self._read(lambda tx: tx.all(query, values))]

    def last_change(self, type: str, name: str, semver: str, verb: Verb) -> datetime | None:
        """Return when a verb was last done to a version; None: never."""
        # Ordered by time in the head: the few rows of a version are found by their names, not by walking the whole trail.
        query = sa.select(sa.func.max(_E.at)).where(
            _E.name == name, _E.semver == semver, _E.type == type, _E.verb == verb, _E.outcome == Outcome.DONE
        )
        found: datetime | None = self._read(lambda tx: tx.value(query))
        return found

    def last_event(self) -> int:
        """Return the highest sequence of what was done, 0 when there is none."""
        found: int | None = self._read(lambda tx: tx.value(_LAST))
        return found or 0
