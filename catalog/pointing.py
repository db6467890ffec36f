"""The pointer of a resource: where it stands, and the states that follow it."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from alluxio_lance.catalog.fences import check_unfenced
from alluxio_lance.catalog.rows import semver_of
from alluxio_lance.catalog.schema import pointers, versions
from alluxio_lance.catalog.semver import SEMVER, numbers
from alluxio_lance.catalog.transactions import AnyRow, Transaction
from alluxio_lance.errors import Conflict, NotFound
from alluxio_lance.lifecycle.ports import Change
from alluxio_lance.values import State

__all__ = ["move_pointer"]

_V, _P = versions.c, pointers.c
_TARGET: Final = sa.select(_V.id, _V.state, _V.branch).where(_V.resource_id == sa.bindparam("resource"), SEMVER)
_MARK: Final = sa.update(versions).where(_V.id == sa.bindparam("version")).values(state=sa.bindparam("new_state"))
_CLEAR: Final = sa.delete(pointers).where(_P.resource_id == sa.bindparam("resource"))
_SET: Final = sa.insert(pointers)


def move_pointer(tx: Transaction, resource: int, operation: str, change: Change, active: AnyRow | None) -> None:
    """Move or clear the pointer as a change says, after its states were written; ``active`` is where it stands now.

    Whatever the change: afterwards the version that the pointer stands on is active, and no other one is.

    Raises
    ------
    NotFound
        When the version to activate does not exist.
    Conflict
        When it is archived or deleted by now, lies on a branch, or another operation has fenced it.
    """
    now = None if active is None else semver_of(active)
    if change.activate is not None and change.base in (None, now):
        target = _target(tx, resource, operation, change, change.activate)
        _retire(tx, active, except_for=target)
        _set_state(tx, target, State.ACTIVE)
        tx.change(_CLEAR, {"resource": resource})
        tx.run(_SET, {"resource_id": resource, "version_id": target})
    elif change.deactivate or (active is not None and active.v_state != State.ACTIVE):
        # The second: a version was deprecated that somebody made active a moment before.
        _retire(tx, active, except_for=None)
        tx.change(_CLEAR, {"resource": resource})


def _target(tx: Transaction, resource: int, operation: str, change: Change, semver: str) -> int:
    plain = f"{change.type}/{change.name}"
    found = tx.one(_TARGET, {"resource": resource, **numbers(semver)._asdict()})
    if found is None:
        raise NotFound(f"{plain} has no version {semver} to activate: see `alluxio-lance show {plain}`")
    if found.branch:
        raise Conflict(f"{plain}@{semver} lies on a branch and cannot be active: merge the branch")
    if found.state in (State.ARCHIVED, State.DELETED):
        raise Conflict(f"{plain}@{semver} is {found.state} by now and cannot be active: bring it back first")
    check_unfenced(tx, operation, found.id, f"{plain}@{semver}")
    target: int = found.id
    return target


def _retire(tx: Transaction, active: AnyRow | None, *, except_for: int | None) -> None:
    """Let the version that was active be a registered one, unless the change gave it another state already."""
    if active is not None and active.v_id != except_for and active.v_state == State.ACTIVE:
        _set_state(tx, active.v_id, State.REGISTERED)


def _set_state(tx: Transaction, version: int, state: State) -> None:
    tx.change(_MARK, {"version": version, "new_state": state})
