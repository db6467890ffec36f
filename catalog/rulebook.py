"""The rules: one document, of which each revision is kept."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from alluxio_lance.catalog.columns import LONGEST
from alluxio_lance.catalog.schema import rules
from alluxio_lance.catalog.text import checked
from alluxio_lance.catalog.trail import add_note
from alluxio_lance.catalog.transactions import Transaction, Transactions
from alluxio_lance.errors import Conflict
from alluxio_lance.governance import Rules
from alluxio_lance.lifecycle.ports import Note
from alluxio_lance.values import Verb

__all__ = ["RuleBook"]

_NEWEST: Final = sa.select(rules).order_by(rules.c.revision.desc()).limit(1)


class RuleBook(Transactions):
    """The part of the catalog that keeps the rules."""

    def rules(self) -> Rules:
        """Return the rules; revision 0 and an empty text when nothing was configured."""
        return self._read(_newest)

    def set_rules(self, text: str, *, revision: int | None, note: Note) -> Rules:
        """Replace the rules and write the audit row, with the revisions as before and after.

        Raises
        ------
        Conflict
            When the revision is another by now.
        InvalidArgument
            When a text cannot be kept.
        """
        checked("the rules", text)
        checked("who changes the rules", note.actor, LONGEST)
        return self._write(
            lambda tx: _replace(tx, text, revision, note),
            in_doubt=lambda tx: _replace_or_recall(tx, text, revision, note),
        )


def _newest(tx: Transaction) -> Rules:
    row = tx.one(_NEWEST)
    if row is None:
        return Rules(text="", revision=0, changed_at=None, changed_by="")
    return Rules(text=row.text, revision=row.revision, changed_at=row.changed_at, changed_by=row.changed_by)


def _replace(tx: Transaction, text: str, revision: int | None, note: Note) -> Rules:
    old = _newest(tx)
    if revision not in (None, old.revision):
        raise Conflict(
            f"the rules have revision {old.revision} by now, changed by {old.changed_by or 'nobody'}, and not {revision}: "
            "look at them with `alluxio-lance rules show` and make your change there"
        )
    new = Rules(text=text, revision=old.revision + 1, changed_at=tx.now, changed_by=note.actor)
    # When another process inserts this revision first, the key is taken and the transaction runs again.
    row = {"revision": new.revision, "text": text, "changed_at": tx.now, "changed_by": note.actor}
    tx.run(sa.insert(rules), row)
    add_note(tx, Verb.CONFIGURE, note, before=f"r{old.revision}", after=f"r{new.revision}")
    return new


def _replace_or_recall(tx: Transaction, text: str, revision: int | None, note: Note) -> Rules:
    """Replace, unless the change whose answer was lost went through."""
    now = _newest(tx)
    is_done = (now.text, now.changed_by) == (text, note.actor) and revision in (None, now.revision - 1)
    return now if is_done and now.revision > 0 else _replace(tx, text, revision, note)
