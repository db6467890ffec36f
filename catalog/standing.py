"""Where versions stand in their lives: their states, the way back from archived and deleted, and their end."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from alluxio_lance.catalog.columns import LONGEST
from alluxio_lance.catalog.fences import check_unfenced
from alluxio_lance.catalog.promotions import forget_promotions
from alluxio_lance.catalog.rows import require_version
from alluxio_lance.catalog.schema import versions
from alluxio_lance.catalog.spans import forget_files
from alluxio_lance.catalog.text import checked
from alluxio_lance.catalog.transactions import AnyRow, Transaction
from alluxio_lance.errors import Conflict
from alluxio_lance.lifecycle.ports import Change
from alluxio_lance.values import State

__all__ = ["change_states", "keep_cold_copies", "remove_versions"]

_V = versions.c


def change_states(tx: Transaction, resource: int, operation: str, change: Change) -> int:
    """Write new states, then give versions back those that they had.

    Returns
    -------
    int
        By how much the number of versions that are not deleted grew.

    Raises
    ------
    NotFound
        When there is no such version.
    Conflict
        When a version is archived or deleted by now, from where only `Change.reinstate` leads back; when one to be
        reinstated is neither; or when another operation has fenced one that is to be deleted.
    """
    plain = f"{change.type}/{change.name}"
    grown = 0
    for semver, state in change.states.items():
        row = require_version(tx, resource, plain, semver)
        if state == State.DELETED:
            check_unfenced(tx, operation, row.id, f"{plain}@{semver}")
        _update(tx, row, _values_of(tx, row, State(state), change, f"{plain}@{semver}"))
        grown -= state == State.DELETED and row.state != State.DELETED
    for semver in change.reinstate:
        row = require_version(tx, resource, plain, semver)
        _update(tx, row, _values_before(row, f"{plain}@{semver}"))
        grown += row.state == State.DELETED
    return grown


def _update(tx: Transaction, row: AnyRow, values: dict[str, Any]) -> None:
    tx.change(sa.update(versions).where(_V.id == row.id).values(values))


def _values_of(tx: Transaction, row: AnyRow, state: State, change: Change, what: str) -> dict[str, Any]:
    old = State(row.state)
    is_way_back = old in (State.ARCHIVED, State.DELETED) and state not in (old, State.DELETED)
    if is_way_back:
        raise Conflict(
            f"{what} is {old} by now, and cannot become {state}: look again, and restore or undelete it first"
        )
    # Of an active version the pointer goes away: it comes back without.
    before = State.REGISTERED if old is State.ACTIVE else old
    values: dict[str, Any] = {"state": state}
    if state is State.DELETED:
        values |= {"purge_at": change.purge_at}
    if state is old:
        return values
    if state is State.ARCHIVED:
        values |= {"archived_from": before, "archived_at": tx.now}
    if state is State.DELETED:
        values |= {"deleted_from": before}
    return values


def _values_before(row: AnyRow, what: str) -> dict[str, Any]:
    if row.state == State.DELETED:
        return {"state": row.deleted_from or State.REGISTERED, "deleted_from": None, "purge_at": None}
    if row.state == State.ARCHIVED:
        return {"state": row.archived_from or State.REGISTERED, "archived_from": None, "archived_at": None}
    raise Conflict(f"{what} is {row.state} by now, neither archived nor deleted: look again")


def keep_cold_copies(tx: Transaction, resource: int, change: Change) -> None:
    """Remember where copies in the cold tier lie.

    Raises
    ------
    NotFound
        When there is no such version.
    """
    for semver, copy in change.cold.items():
        row = require_version(tx, resource, f"{change.type}/{change.name}", semver)
        values = {
            "cold_location": None if copy is None else checked("a cold location", copy.location, LONGEST),
            "cold_bytes": None if copy is None else copy.num_bytes,
        }
        _update(tx, row, values)


def remove_versions(tx: Transaction, resource: int, change: Change) -> int:
    """Remove versions with all that is about them alone.

    Returns
    -------
    int
        By how much the number of versions that are not deleted grew; never above 0.

    Raises
    ------
    NotFound
        When there is no such version.
    """
    grown = 0
    for semver in change.remove_versions:
        row = require_version(tx, resource, f"{change.type}/{change.name}", semver)
        # Tags, leases, fences and the pointer go with it, by their foreign keys.
        tx.change(sa.delete(versions).where(_V.id == row.id))
        forget_promotions(tx, change.type, change.name, semver)
        grown -= row.state != State.DELETED
    if change.remove_versions:
        forget_files(tx, resource)
    return grown
