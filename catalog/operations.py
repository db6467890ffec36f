"""Verbs in flight, and their traces."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from alluxio_lance.catalog.columns import LONGEST
from alluxio_lance.catalog.schema import commit_locks, operations
from alluxio_lance.catalog.text import checked, checked_json, trimmed
from alluxio_lance.catalog.transactions import AnyRow, Transaction, Transactions
from alluxio_lance.errors import Conflict, InvalidArgument, NotFound
from alluxio_lance.lifecycle.ports import Operation, OperationState, Owner
from alluxio_lance.values import Verb

__all__ = ["Operations", "take", "take_pending"]

_SETTLED = "settled"
_TABLE = operations.c
# Two ranges instead of "not equal": an index finds them among millions of settled operations.
_HAS_WORK_LEFT = sa.or_(
    _TABLE.state == OperationState.PENDING,
    sa.and_(_TABLE.state == OperationState.DONE, sa.or_(_TABLE.step < _SETTLED, _TABLE.step > _SETTLED)),
)


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
        return self._write(lambda tx: _begin(tx, operation, row))

    def adopt(self, operation: Operation, owner: Owner) -> bool:
        """Make a new owner of an operation whose owner is dead; False when another process was faster."""
        # Not again when the answer was lost: the second attempt would meet the first one's owner and say False.
        return self._write_once(lambda tx: _adopt(tx, operation, owner))

    def record_step(self, operation: str, step: str) -> None:
        """Record that a step is done, and renew the heartbeat.

        Raises
        ------
        NotFound
            When there is no such operation.
        Conflict
            When it was undone meanwhile, because its owner was believed to be dead.
        """
        self._write(lambda tx: _record_step(tx, operation, checked("a step", step, 64)))

    def heartbeat(self, operation: str, ttl: float) -> None:
        """Renew the heartbeat of an operation with work left, and its commit lock for ``ttl`` seconds, if it has it."""
        self._write(lambda tx: _heartbeat(tx, operation, ttl))

    def abandon(self, operation: str, error: str) -> None:
        """Close a pending operation as undone and give its lock and request id free; one that is done stays done.

        Raises
        ------
        NotFound
            When there is no such operation.
        """
        self._write(lambda tx: _abandon(tx, operation, trimmed(error, 10_000)))

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
    same = _TABLE.id == operation.id
    if operation.request_id is not None:
        same = sa.or_(same, _TABLE.request_id == operation.request_id)
    if (known := tx.one(sa.select(operations).where(same))) is not None:
        return _to_operation(known)
    tx.run(sa.insert(operations), row)
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


def _record_step(tx: Transaction, id: str, step: str) -> None:
    update = sa.update(operations).where(_TABLE.id == id, _TABLE.state != OperationState.UNDONE)
    if tx.change(update.values(step=step, heartbeat_at=tx.now)) == 0:
        found = _operation(tx, id)
        raise Conflict(f"{found.verb} of {found.type}/{found.name} was undone meanwhile ({found.error}): try again")


def _heartbeat(tx: Transaction, id: str, ttl: float) -> None:
    if tx.change(sa.update(operations).where(_TABLE.id == id, _HAS_WORK_LEFT).values(heartbeat_at=tx.now)):
        expires_at = tx.now + timedelta(seconds=ttl)
        tx.change(sa.update(commit_locks).where(commit_locks.c.operation == id).values(expires_at=expires_at))


def _abandon(tx: Transaction, id: str, error: str) -> None:
    closing = sa.update(operations).where(_TABLE.id == id, _TABLE.state == OperationState.PENDING)
    if tx.change(closing.values(state=OperationState.UNDONE, error=error, request_id=None, heartbeat_at=tx.now)) == 0:
        _operation(tx, id)
    tx.change(sa.delete(commit_locks).where(commit_locks.c.operation == id))


def _operation(tx: Transaction, id: str) -> Operation:
    row = tx.one(sa.select(operations).where(_TABLE.id == id))
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
    tx.all(sa.select(_TABLE.id).where(_TABLE.id == id).with_for_update())
    return _operation(tx, id)


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
    )
