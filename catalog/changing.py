"""Changing: all that one verb changes, in one transaction, with its audit row."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from alluxio_lance.catalog.columns import LONGEST
from alluxio_lance.catalog.expecting import check_expected
from alluxio_lance.catalog.holders import check_unheld
from alluxio_lance.catalog.locks import check_locked, give_free
from alluxio_lance.catalog.measuring import add_metrics
from alluxio_lance.catalog.naming import add_branch, change_labels, change_tags, remove_branch
from alluxio_lance.catalog.operations import take, take_pending
from alluxio_lance.catalog.pointing import move_pointer
from alluxio_lance.catalog.promotions import forget_promotions, write_promotion
from alluxio_lance.catalog.rows import VERSIONS, active_of, no_version, resource_id, semver_of, to_version
from alluxio_lance.catalog.schema import fences, operations, resources, versions
from alluxio_lance.catalog.selecting import unknown_resource
from alluxio_lance.catalog.semver import SEMVER, draft_text, numbers
from alluxio_lance.catalog.stages import move_stages
from alluxio_lance.catalog.standing import change_states, keep_cold_copies, remove_versions
from alluxio_lance.catalog.text import checked
from alluxio_lance.catalog.trail import add_event
from alluxio_lance.catalog.transactions import AnyRow, Transaction, Transactions
from alluxio_lance.catalog.writing import add_draft
from alluxio_lance.errors import Conflict
from alluxio_lance.lifecycle.kinds import kind_of
from alluxio_lance.lifecycle.ports import Change, Operation, OperationState
from alluxio_lance.values import Outcome, Version

__all__ = ["Changing"]

_R, _V, _O = resources.c, versions.c, operations.c
_TAKEN: Final = (
    sa.select(_R.id, _R.hidden)
    .where(_R.type == sa.bindparam("type"), _R.name == sa.bindparam("name"))
    .with_for_update()
)
_TOUCH: Final = (
    sa.update(resources)
    .where(_R.id == sa.bindparam("resource"))
    .values(updated_at=sa.bindparam("now"), version_count=_R.version_count + sa.bindparam("grown"))
)
_DONE: Final = (
    sa.update(operations)
    .where(_O.id == sa.bindparam("of_id"))
    .values(state=OperationState.DONE, result=sa.bindparam("about"), heartbeat_at=sa.bindparam("now"))
)
_UNFENCE: Final = sa.delete(fences).where(fences.c.operation == sa.bindparam("of_operation"))
_ABOUT: Final = VERSIONS.where(_V.resource_id == sa.bindparam("resource"), SEMVER)


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
            When ``locked`` and the lock is no longer this operation's, when the operation is not pending any more, when
            the resource is deleted, or when a version is no longer in a state that allows the change.
        AlreadyExists
            When the draft's semantic version or Lance version, a tag or a branch is taken.
        NotFound
            When the resource, or a version that the change names, does not exist.
        Leased
            When a version is held that may not be; see `check_unheld` for the details.
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
    resource = resource_id(tx, change.type, change.name, deleted=True)
    return None if resource is None else _version(tx, change, resource, found.result)


def _commit(tx: Transaction, operation: str, change: Change, *, locked: bool) -> Version | None:
    pending = take_pending(tx, operation)
    if locked:
        check_locked(tx, change.type, change.name, operation)
    resource = _taken(tx, change)
    before = active_of(tx, resource)
    _check_readers(tx, change)
    if change.remove:
        _remove(tx, resource, change)
        after, about = None, change.about
    else:
        about = _apply(tx, operation, change, resource, before)
        after = active_of(tx, resource)
    _audit(tx, pending, change, about, _full_name(before), _full_name(after))
    _close(tx, operation, change, about)
    if change.remove or about is None:
        return None
    if after is not None and semver_of(after) == about:
        return to_version(after)
    return _version(tx, change, resource, about)


def _taken(tx: Transaction, change: Change) -> int:
    """Lock the resource's row, which a first version makes."""
    row = tx.one(_TAKEN, {"type": change.type, "name": change.name})
    if row is None:
        if change.location is None:
            raise unknown_resource(tx, change.type, change.name)
        return _create(tx, change, change.location)
    if row.hidden and not _suits_deleted(change):
        plain = f"{change.type}/{change.name}"
        raise Conflict(f"{plain} is deleted: undelete or purge it first, `alluxio-lance undelete {plain}`")
    found: int = row.id
    return found


def _suits_deleted(change: Change) -> bool:
    """Tell whether a change may be made to a resource that is deleted: it ends or takes back what was begun before."""
    return bool(
        change.remove
        or change.unhide
        or change.hide_until is not None
        or change.cold
        or change.remove_versions
        or change.remove_branch is not None
    )


def _check_readers(tx: Transaction, change: Change) -> None:
    if change.wholly_unheld or change.unheld:
        check_unheld(tx, change.type, change.name, None if change.wholly_unheld else change.unheld)


def _create(tx: Transaction, change: Change, location: str) -> int:
    row = {
        "type": checked("the type", change.type, 200),
        "name": checked("the name", change.name, 200),
        "kind": kind_of(change.type),
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


def _remove(tx: Transaction, resource: int, change: Change) -> None:
    # Versions, files, names, the pointer and leases go with it, by their foreign keys.
    tx.change(sa.delete(resources).where(_R.id == resource))
    forget_promotions(tx, change.type, change.name)


def _apply(tx: Transaction, operation: str, change: Change, resource: int, active: AnyRow | None) -> str | None:
    """Change all but the audit trail and the operation; return which version the change is about."""
    grown = 0
    check_expected(tx, resource, change, active)
    add_branch(tx, resource, change)
    if change.draft is not None:
        add_draft(tx, resource, operation, change.actor, change.draft)
        grown += 1
    grown += change_states(tx, resource, operation, change)
    keep_cold_copies(tx, resource, change)
    if change.states or change.reinstate:
        # The version that the pointer stands on may have another state since.
        active = active_of(tx, resource)
    move_pointer(tx, resource, operation, change, active)
    move_stages(tx, resource, operation, change)
    change_tags(tx, resource, change)
    add_metrics(tx, resource, change)
    change_labels(tx, resource, change)
    if change.promotion is not None:
        write_promotion(tx, change.promotion)
    grown += remove_versions(tx, resource, change)
    remove_branch(tx, resource, change)
    _update_resource(tx, resource, change, grown)
    return change.about if change.draft is None else draft_text(change.draft)


def _update_resource(tx: Transaction, resource: int, change: Change, grown: int) -> None:
    tx.change(_TOUCH, {"resource": resource, "now": tx.now, "grown": grown})
    if change.hide_until is not None or change.unhide:
        hidden = {"hidden": change.hide_until is not None, "purge_at": change.hide_until}
        tx.change(sa.update(resources).where(_R.id == resource).values(hidden))


def _full_name(row: AnyRow | None) -> str | None:
    return None if row is None else str(to_version(row))


def _audit(
    tx: Transaction, operation: Operation, change: Change, about: str | None, before: str | None, after: str | None
) -> None:
    row = {
        "verb": change.verb,
        "type": change.type,
        "name": change.name,
        "actor": change.actor,
        "origin": change.origin or operation.origin,
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
    tx.change(_DONE, {"of_id": operation, "about": about, "now": tx.now})
    give_free(tx, change.type, change.name, operation)
    tx.change(_UNFENCE, {"of_operation": operation})


def _version(tx: Transaction, change: Change, resource: int, semver: str) -> Version | None:
    if semver in change.remove_versions:
        return None
    row = tx.one(_ABOUT, {"resource": resource, **numbers(semver)._asdict()})
    if row is None:
        raise no_version(f"{change.type}/{change.name}", semver)
    return to_version(row)
