"""Changing: all that one verb changes, in one transaction, with its audit row."""

from __future__ import annotations

import sqlalchemy as sa

from alluxio_lance.catalog.columns import LONGEST
from alluxio_lance.catalog.locks import check_locked, give_free
from alluxio_lance.catalog.operations import take, take_pending
from alluxio_lance.catalog.pointing import move_pointer
from alluxio_lance.catalog.rows import VERSIONS, active_of, resource_id, semver_is, semver_text, to_version
from alluxio_lance.catalog.schema import operations, resources, versions
from alluxio_lance.catalog.selecting import unknown_resource
from alluxio_lance.catalog.text import checked
from alluxio_lance.catalog.trail import add_event
from alluxio_lance.catalog.transactions import Transaction, Transactions
from alluxio_lance.catalog.writing import add_draft
from alluxio_lance.errors import Conflict, NotFound
from alluxio_lance.lifecycle.ports import Change, Operation, OperationState
from alluxio_lance.values import Kind, Outcome, Version

__all__ = ["Changing"]

_R, _V = resources.c, versions.c


class Changing(Transactions):
    """The part of the catalog that changes resources and versions."""

    def commit(self, operation: str, change: Change, *, locked: bool) -> Version | None:
        """Apply a change, write its audit row, close the operation as done and give its lock free: all or nothing.

        Returns
        -------
        Version or None
            The draft's version, else the one that ``about`` names, else None.

        Raises
        ------
        Conflict
            When ``locked`` and the lock is no longer this operation's, when the operation is not pending any more, or
            when the resource is being deleted.
        AlreadyExists
            When the draft's semantic version or Lance version is taken.
        NotFound
            When the resource, or a version that the change names, does not exist.
        InvalidArgument
            When metadata are no JSON, or a text cannot be kept.
        """
        checked("the message", change.message)
        checked("the actor", change.actor, LONGEST)
        checked("the origin", change.origin, LONGEST)
        return self._write(
            lambda tx: _commit(tx, operation, change, locked=locked),
            in_doubt=lambda tx: _commit_or_recall(tx, operation, change, locked=locked),
        )


def _commit_or_recall(tx: Transaction, operation: str, change: Change, *, locked: bool) -> Version | None:
    """Commit, unless the commit whose answer was lost went through: an operation commits once."""
    found = take(tx, operation)
    if found.state is not OperationState.DONE:
        return _commit(tx, operation, change, locked=locked)
    if change.remove or found.result is None:
        return None
    resource = resource_id(tx, change.type, change.name)
    return None if resource is None else _version(tx, change, resource, found.result)


def _commit(tx: Transaction, operation: str, change: Change, *, locked: bool) -> Version | None:
    pending = take_pending(tx, operation)
    if locked:
        check_locked(tx, change.type, change.name, operation)
    resource = _taken(tx, change)
    before = _active_name(tx, resource)
    if change.remove:
        _remove(tx, resource)
        after, about = None, change.about
    else:
        about = _apply(tx, operation, change, resource)
        after = _active_name(tx, resource)
    _audit(tx, pending, change, about, before, after)
    _close(tx, operation, change, about)
    return None if change.remove or about is None else _version(tx, change, resource, about)


def _taken(tx: Transaction, change: Change) -> int:
    """Lock the resource's row, which a first version makes."""
    named = sa.select(_R.id, _R.hidden).where(_R.type == change.type, _R.name == change.name)
    row = tx.one(named.with_for_update())
    if row is None:
        if change.location is None:
            raise unknown_resource(tx, change.type, change.name)
        return _create(tx, change, change.location)
    if row.hidden and not change.remove:
        raise Conflict(f"{change.type}/{change.name} is being deleted: try again when that has ended")
    found: int = row.id
    return found


def _create(tx: Transaction, change: Change, location: str) -> int:
    row = {
        "type": checked("the type", change.type, 200),
        "name": checked("the name", change.name, 200),
        "kind": Kind.MODEL if change.type == "models" else Kind.DATASET,
        "location": checked("the location", location, LONGEST),
        "hidden": False,
        "version_count": 0,
        "created_at": tx.now,
        "updated_at": tx.now,
    }
    key = tx.run(sa.insert(resources), row).inserted_primary_key
    assert key is not None
    created: int = key[0]
    return created


def _remove(tx: Transaction, resource: int) -> None:
    # Versions, files, the pointer and leases go with it, by their foreign keys.
    tx.change(sa.delete(resources).where(_R.id == resource))


def _apply(tx: Transaction, operation: str, change: Change, resource: int) -> str | None:
    """Write the draft, the states and the pointer; return which version the change is about."""
    if change.draft is not None:
        add_draft(tx, resource, operation, change.actor, change.draft)
    for semver, state in change.states.items():
        if tx.change(sa.update(versions).where(_V.resource_id == resource, semver_is(semver)).values(state=state)) == 0:
            raise _no_version(change, semver)
    move_pointer(tx, resource, change)
    tx.change(sa.update(resources).where(_R.id == resource).values(updated_at=tx.now))
    return change.about if change.draft is None else semver_text(*change.draft.semver)


def _active_name(tx: Transaction, resource: int) -> str | None:
    row = active_of(tx, resource)
    return None if row is None else str(to_version(row))


def _audit(
    tx: Transaction, operation: Operation, change: Change, about: str | None, before: str | None, after: str | None
) -> None:
    row = {
        "verb": change.verb,
        "type": change.type,
        "name": change.name,
        "actor": change.actor,
        "origin": change.origin,
        "operation": operation.id,
        "request_id": operation.request_id,
        "outcome": Outcome.DONE,
        "before": before,
        "after": after,
        "semver": about,
        "message": change.message,
    }
    add_event(tx, row)


def _close(tx: Transaction, operation: str, change: Change, about: str | None) -> None:
    done = {"state": OperationState.DONE, "result": about, "heartbeat_at": tx.now}
    tx.change(sa.update(operations).where(operations.c.id == operation).values(done))
    give_free(tx, change.type, change.name, operation)


def _version(tx: Transaction, change: Change, resource: int, semver: str) -> Version:
    row = tx.one(VERSIONS.where(_V.resource_id == resource, semver_is(semver)))
    if row is None:
        raise _no_version(change, semver)
    return to_version(row)


def _no_version(change: Change, semver: str) -> NotFound:
    plain = f"{change.type}/{change.name}"
    return NotFound(f"{plain} has no version {semver}: see `alluxio-lance show {plain}`")
