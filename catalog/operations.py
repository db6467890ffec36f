"""Verbs in flight, and their traces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa

from alluxio_lance.catalog.columns import LONGEST
from alluxio_lance.catalog.schema import commit_locks, fences, operations
from alluxio_lance.catalog.text import checked, checked_json, trimmed
from alluxio_lance.catalog.transactions import AnyRow, Transaction, Transactions
from alluxio_lance.errors import Conflict, InvalidArgument, NotFound
from alluxio_lance.lifecycle.ports import Operation, OperationState, Owner
from alluxio_lance.values import Progress, Verb

__all__ = ["Operations", "take", "take_pending"]

_SETTLED = "settled"
_TABLE = operations.c
# Two ranges instead of "not equal": an index finds them among millions of settled operations.
_HAS_WORK_LEFT = sa.or_(
    _TABLE.state == OperationState.PENDING,
    sa.and_(_TABLE.state == OperationState.DONE, sa.or_(_TABLE.step < _SETTLED, _TABLE.step > _SETTLED)),
)
_ONE: Final = sa.select(operations).where(_TABLE.id == sa.bindparam("id"))
_TAKEN: Final = _ONE.with_for_update()
_INSERT: Final = sa.insert(operations)


class Operations(Transactions):
    """The part of the catalog that keeps operations."""

    def begin(self, operation: Operation) -> Operation:
        """Record an operation before it starts; see `Catalog.begin`.

        Raises
        ------
        InvalidArgument
            When parameters are no JSON, or the request id is empty, too long or has spaces at its ends.
        """
        row = _to_row(operation)
        # Whoever goes on to what is outside of the catalog records a step before, which takes this to the disk too.
        return self._note(lambda tx: _begin(tx, operation, row))

    def adopt(self, operation: Operation, owner: Owner) -> bool:
        """Make a new owner of an operation whose owner is dead; False when another process was faster."""
        # Not again when the answer was lost: the second attempt would meet the first one's owner and say False.
        return self._write_once(lambda tx: _adopt(tx, operation, owner))

    def record_step(self, operation: str, step: str, *, owner: Owner | None = None) -> None:
        """Record that a step is done, and renew the heartbeat; see `Catalog.record_step`.

        Raises
        ------
        NotFound
            When there is no such operation.
        Conflict
            When it was undone meanwhile, or is no longer the owner's, because that was believed to be dead.
        """
        # That it is settled may be forgotten: then it is settled once more.
        write = self._note if step == _SETTLED else self._write
        write(lambda tx: _record(tx, operation, {"step": checked("a step", step, 64)}, owner))

    def record_params(self, operation: str, params: Mapping[str, Any]) -> None:
        """Replace the parameters of a pending operation, and renew the heartbeat; see `Catalog.record_params`.

        Raises
        ------
        NotFound
            When there is no such operation.
        Conflict
            When it is not pending any more.
        InvalidArgument
            When the parameters are no JSON.
        """
        kept = checked_json("what the verb was called with", params)
        self._write(lambda tx: _record_params(tx, operation, kept))

    def heartbeat(self, operation: str, ttl: float) -> None:
        """Renew the heartbeat of an operation with work left, and its commit lock for ``ttl`` seconds, if it has it."""
        self._note(lambda tx: _heartbeat(tx, operation, ttl))

    def abandon(self, operation: str, error: str) -> None:
        """Close a pending operation as undone; give its lock, fences and request id free. One that is done stays done.

        Raises
        ------
        NotFound
            When there is no such operation.
        """
        self._write(lambda tx: _abandon(tx, operation, trimmed(error, 10_000)))

    def record_progress(self, operation: str, progress: Progress) -> None:
        """Record how far the step is, for those who wait for it elsewhere, and renew the heartbeat.

        Raises
        ------
        NotFound
            When there is no such operation.
        Conflict
            When it was undone meanwhile, because its owner was believed to be dead.
        """
        self._note(lambda tx: _record(tx, operation, {"progress": asdict(progress)}))

    def restoring(self, type: str, name: str, semver: str) -> Operation | None:
        """Find the pending operation that brings a version back: its ``params["semver"]`` is the version."""
        query = sa.select(operations).where(
            _TABLE.state == OperationState.PENDING,
            _TABLE.verb == Verb.RESTORE,
            _TABLE.type == type,
            _TABLE.name == name,
        )
        rows = self._read(lambda tx: tx.all(query.order_by(_TABLE.created_at, _TABLE.id)))
        return next((_to_operation(row) for row in rows if row.params.get("semver") == semver), None)

    def open_operations(self) -> list[Operation]:
        """List the operations with work left, oldest first."""
        query = sa.select(operations).where(_HAS_WORK_LEFT).order_by(_TABLE.created_at, _TABLE.id)
        return [_to_operation(row) for row in self._read(lambda tx: tx.all(query))]

    def operation(self, id: str) -> Operation:
        """Find an operation.

        Raises
        ------
        NotFound
            When there is none.
        """
        return self._read(lambda tx: _operation(tx, id))


def _begin(tx: Transaction, operation: Operation, row: dict[str, Any]) -> Operation:
    known = tx.one(_ONE, {"id": operation.id})
    if known is None and operation.request_id is not None:
        known = tx.one(sa.select(operations).where(_TABLE.request_id == operation.request_id))
    if known is not None:
        return _to_operation(known)
    tx.run(_INSERT, row)
    return operation


def _adopt(tx: Transaction, operation: Operation, owner: Owner) -> bool:
    # Later than the old one also on a clock that stands: the next one to compare must see a difference.
    now = max(tx.now, operation.heartbeat_at + timedelta(microseconds=1))
    unchanged = [column == value for column, value in _owner_columns(operation.owner).items()]
    adoption = (
        sa.update(operations)
        .where(_TABLE.id == operation.id, _TABLE.heartbeat_at == operation.heartbeat_at, *unchanged, _HAS_WORK_LEFT)
        .values({**_owner_columns(owner), _TABLE.heartbeat_at: now})
    )
    return tx.change(adoption) == 1


def _record(tx: Transaction, id: str, values: Mapping[str, Any], owner: Owner | None = None) -> None:
    own = [] if owner is None else [column == value for column, value in _owner_columns(owner).items()]
    update = sa.update(operations).where(_TABLE.id == id, _TABLE.state != OperationState.UNDONE, *own)
    if tx.change(update.values(heartbeat_at=tx.now, **values)) == 0:
        found = _operation(tx, id)
        undone = found.state is OperationState.UNDONE
        how = f"undone meanwhile ({found.error})" if undone else "taken over by another process meanwhile"
        raise Conflict(f"{found.verb} of {found.type}/{found.name} was {how}: try again")


def _record_params(tx: Transaction, id: str, params: Mapping[str, Any]) -> None:
    take_pending(tx, id)
    tx.change(sa.update(operations).where(_TABLE.id == id).values(params=params, heartbeat_at=tx.now))


def _heartbeat(tx: Transaction, id: str, ttl: float) -> None:
    if tx.change(sa.update(operations).where(_TABLE.id == id, _HAS_WORK_LEFT).values(heartbeat_at=tx.now)):
        expires_at = tx.now + timedelta(seconds=ttl)
        tx.change(sa.update(commit_locks).where(commit_locks.c.operation == id).values(expires_at=expires_at))


def _abandon(tx: Transaction, id: str, error: str) -> None:
    closing = sa.update(operations).where(_TABLE.id == id, _TABLE.state == OperationState.PENDING)
    if tx.change(closing.values(state=OperationState.UNDONE, error=error, request_id=None, heartbeat_at=tx.now)) == 0:
        _operation(tx, id)
    tx.change(sa.delete(commit_locks).where(commit_locks.c.operation == id))
    tx.change(sa.delete(fences).where(fences.c.operation == id))


def _operation(tx: Transaction, id: str) -> Operation:
    return _found(tx.one(_ONE, {"id": id}), id)


def _found(row: AnyRow | None, id: str) -> Operation:
    if row is None:
        raise NotFound(f"there is no operation {id!r} in the catalog")
    return _to_operation(row)


def take(tx: Transaction, id: str) -> Operation:
    """Lock an operation until the transaction ends.

    Raises
    ------
    NotFound
        When there is none.
    """
    return _found(tx.one(_TAKEN, {"id": id}), id)


def take_pending(tx: Transaction, id: str) -> Operation:
    """Lock an operation that has not ended until the transaction ends.

    Raises
    ------
    NotFound
        When there is none.
    Conflict
        When it is done or undone already: another process was faster.
    """
    operation = take(tx, id)
    if operation.state is not OperationState.PENDING:
        what = f"{operation.verb} of {operation.type}/{operation.name} (operation {id[:8]})"
        raise Conflict(f"{what} is {operation.state} already, by another process: read the new state and try again")
    return operation


def _owner_columns(owner: Owner) -> dict[Any, Any]:
    return {
        _TABLE.owner_node: owner.node,
        _TABLE.owner_boot: owner.boot,
        _TABLE.owner_pid: owner.pid,
        _TABLE.owner_started: owner.started,
    }


def _to_row(operation: Operation) -> dict[str, Any]:
    return {
        "id": operation.id,
        "verb": operation.verb,
        "type": operation.type,
        "name": operation.name,
        "actor": checked("the actor", operation.actor, LONGEST),
        **{column.key: value for column, value in _owner_columns(operation.owner).items()},
        "params": checked_json("what the verb was called with", operation.params),
        "request_id": _checked_request_id(operation.request_id),
        "state": operation.state,
        "step": operation.step,
        "error": operation.error,
        "result": operation.result,
        "created_at": operation.created_at,
        "heartbeat_at": operation.heartbeat_at,
        "origin": checked("the origin", operation.origin, LONGEST),
        "progress": None if operation.progress is None else asdict(operation.progress),
    }


def _checked_request_id(id: str | None) -> str | None:
    # MySQL takes "a" and "a " for the same.
    if id is not None and (not id or id != id.strip()):
        raise InvalidArgument(f"the request id {id!r} is empty or has spaces at its ends: give a plain word")
    return None if id is None else checked("the request id", id, 200)


def _to_operation(row: AnyRow) -> Operation:
    return Operation(
        id=row.id,
        verb=Verb(row.verb),
        type=row.type,
        name=row.name,
        actor=row.actor,
        owner=Owner(node=row.owner_node, boot=row.owner_boot, pid=row.owner_pid, started=row.owner_started),
        params=row.params,
        request_id=row.request_id,
        state=OperationState(row.state),
        step=row.step,
        error=row.error,
        result=row.result,
        created_at=row.created_at,
        heartbeat_at=row.heartbeat_at,
        origin=row.origin,
        progress=None if row.progress is None else Progress(**row.progress),
    )
