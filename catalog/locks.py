"""The commit lock: one writer per resource, over all processes and nodes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa

from alluxio_lance.catalog.schema import commit_locks
from alluxio_lance.catalog.transactions import Transaction, Transactions
from alluxio_lance.errors import Conflict

__all__ = ["Locks", "check_locked", "give_free"]

_LOCK = commit_locks.c


class Locks(Transactions):
    """The part of the catalog that keeps commit locks."""

    def try_lock(
        self, type: str, name: str, operation: str, ttl: float, *, steal_from: str | None = None
    ) -> str | None:
        """Take the commit lock of a resource for ``ttl`` seconds; return None, else the operation that holds it."""
        # The first step that the holder records behind it takes it to the disk too.
        return self._note(lambda tx: _try_lock(tx, type, name, operation, ttl, steal_from))

    def unlock(self, type: str, name: str, operation: str) -> None:
        """Give the lock free, if this operation holds it."""
        self._note(lambda tx: give_free(tx, type, name, operation))


_FREE: Final = sa.delete(commit_locks).where(
    *(_LOCK[key] == sa.bindparam(key) for key in ("type", "name", "operation"))
)


def _of(type: str, name: str) -> sa.ColumnElement[bool]:
    return sa.and_(_LOCK.type == type, _LOCK.name == name)


def _try_lock(tx: Transaction, type: str, name: str, operation: str, ttl: float, steal_from: str | None) -> str | None:
    values: dict[str, Any] = {"operation": operation, "expires_at": tx.now + timedelta(seconds=ttl)}
    free = sa.or_(_LOCK.operation == operation, _LOCK.expires_at <= tx.now)
    if steal_from is not None:
        free = sa.or_(free, _LOCK.operation == steal_from)
    # One conditional statement decides; of two processes the second one finds the row of the first.
    if tx.change(sa.update(commit_locks).where(_of(type, name), free).values(values)):
        return None
    holder: str | None = tx.value(sa.select(_LOCK.operation).where(_of(type, name)))
    if holder is None:
        # When another process inserts first, the key is taken and the transaction runs again.
        tx.run(sa.insert(commit_locks), {"type": type, "name": name, **values})
    return holder


def check_locked(tx: Transaction, type: str, name: str, operation: str) -> None:
    """Lock the lock's own row until the transaction ends. An expired lock that nobody took is still held.

    Raises
    ------
    Conflict
        When another operation, or none, holds it.
    """
    holder = tx.value(sa.select(_LOCK.operation).where(_of(type, name)).with_for_update())
    if holder != operation:
        now = f"operation {holder[:8]} holds it" if holder else "nobody holds it"
        raise Conflict(
            f"the commit lock of {type}/{name} was lost ({now}), nothing was changed: try again from the new version"
        )


def give_free(tx: Transaction, type: str, name: str, operation: str) -> None:
    """Remove the lock, if this operation holds it."""
    tx.change(_FREE, {"type": type, "name": name, "operation": operation})
