"""Leases of all nodes: who reads what, so that nothing is taken away under a reader."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from alluxio_lance.catalog.columns import LONGEST
from alluxio_lance.catalog.operations import take_pending
from alluxio_lance.catalog.rows import semver_is, semver_text
from alluxio_lance.catalog.schema import leases, resources, versions
from alluxio_lance.catalog.selecting import unknown_resource
from alluxio_lance.catalog.text import trimmed
from alluxio_lance.catalog.transactions import AnyRow, Transaction, Transactions
from alluxio_lance.errors import Leased, NotFound
from alluxio_lance.lifecycle.ports import Holder
from alluxio_lance.values import State

__all__ = ["Leases"]

_L, _R, _V = leases.c, resources.c, versions.c
_AT_ONCE: Final = 500
"""Values in one IN: SQLite's limit was 999 for long."""
_NAMED: Final = 5
"""Holders that a message names."""


class Leases(Transactions):
    """The part of the catalog that keeps leases, and takes resources out of sight that nobody holds."""

    def hold(self, holder: Holder, ttl: float) -> None:
        """Record a reader for ``ttl`` seconds; the same id again prolongs its lease.

        Raises
        ------
        NotFound
            When the version is gone or being deleted.
        """
        self._write(lambda tx: _hold(tx, holder, ttl))

    def renew(self, ids: Sequence[str], ttl: float) -> None:
        """Let leases live for another ``ttl`` seconds; unknown ids are ignored."""
        self._write(lambda tx: _renew(tx, ids, ttl))

    def release(self, ids: Sequence[str]) -> None:
        """End leases; unknown ids are ignored."""
        self._write(lambda tx: _release(tx, ids))

    def holders(self, type: str, name: str) -> list[Holder]:
        """List the unexpired leases on any version of a resource, oldest first."""
        return self._read(lambda tx: _holders(tx, type, name))

    def hide(self, operation: str, type: str, name: str) -> None:
        """Take a resource out of sight, the first half of a deletion; again changes nothing.

        Raises
        ------
        NotFound
            When there is no such resource, or no such operation.
        Conflict
            When the operation is not pending any more.
        Leased
            While any version is held; ``details["holders"]`` is a list of mappings with ``id`` (the first eight
            digits), ``semver``, ``node``, ``pid``, ``user``, ``command``, ``since`` (ISO 8601) and ``age`` (seconds).
        """
        self._write(lambda tx: _hide(tx, operation, type, name))


def _taken(tx: Transaction, type: str, name: str) -> AnyRow | None:
    """Lock a resource's row: a hold and a deletion see each other, whichever comes first."""
    return tx.one(sa.select(_R.id, _R.hidden).where(_R.type == type, _R.name == name).with_for_update())


def _hold(tx: Transaction, holder: Holder, ttl: float) -> None:
    resource = _taken(tx, holder.type, holder.name)
    if resource is None:
        raise unknown_resource(tx, holder.type, holder.name)
    version = tx.value(
        sa.select(_V.id).where(_V.resource_id == resource.id, semver_is(holder.semver), _V.state != State.DELETED)
    )
    if resource.hidden or version is None:
        what = f"{holder.type}/{holder.name}@{holder.semver}"
        raise NotFound(f"{what} is gone or being deleted: see `alluxio-lance list`")
    # Dead nodes release nothing: their leases end here at the latest.
    tx.change(sa.delete(leases).where(_L.resource_id == resource.id, _L.expires_at <= tx.now))
    tx.change(sa.delete(leases).where(_L.id == holder.id))
    tx.run(sa.insert(leases), _to_row(holder, resource.id, version, tx.now + timedelta(seconds=ttl)))


def _renew(tx: Transaction, ids: Sequence[str], ttl: float) -> None:
    expires_at = tx.now + timedelta(seconds=ttl)
    for some in _chunks(ids):
        tx.change(sa.update(leases).where(_L.id.in_(some)).values(expires_at=expires_at))


def _release(tx: Transaction, ids: Sequence[str]) -> None:
    for some in _chunks(ids):
        tx.change(sa.delete(leases).where(_L.id.in_(some)))


def _chunks(ids: Sequence[str]) -> list[Sequence[str]]:
    # In one order everywhere, so that two transactions cannot wait for each other.
    ordered = sorted(ids)
    return [ordered[start : start + _AT_ONCE] for start in range(0, len(ordered), _AT_ONCE)]


def _holders(tx: Transaction, type: str, name: str) -> list[Holder]:
    columns = [_R.type, _R.name, _V.major, _V.minor, _V.patch, *(c for c in leases.columns if not c.foreign_keys)]
    query = (
        sa.select(*columns)
        .select_from(leases)
        .join(versions, _V.id == _L.version_id)
        .join(resources, _R.id == _L.resource_id)
        .where(_R.type == type, _R.name == name, _L.expires_at > tx.now)
    )
    return [_to_holder(row) for row in tx.all(query.order_by(_L.since, _L.id))]


def _hide(tx: Transaction, operation: str, type: str, name: str) -> None:
    take_pending(tx, operation)
    resource = _taken(tx, type, name)
    if resource is None:
        raise unknown_resource(tx, type, name)
    if holders := _holders(tx, type, name):
        raise _leased(type, name, holders, tx.now)
    tx.change(sa.update(resources).where(_R.id == resource.id).values(hidden=True, updated_at=tx.now))


def _leased(type: str, name: str, holders: Sequence[Holder], now: datetime) -> Leased:
    named = [_sentence(holder, now) for holder in holders[:_NAMED]]
    if len(holders) > _NAMED:
        named.append(f"{len(holders) - _NAMED} more")
    return Leased(
        f"{type}/{name} is being read by {'; '.join(named)}: end these readers, or wait until they have ended",
        holders=[_details(holder, now) for holder in holders],
    )


def _sentence(holder: Holder, now: datetime) -> str:
    process = f"process {holder.pid} of {holder.user} on {holder.node} ({holder.command or 'unknown command'})"
    return f"{process}, which has held {holder.semver} for {_age(holder, now)} s"


def _age(holder: Holder, now: datetime) -> int:
    # The reader's clock may be ahead of ours.
    return max(0, round((now - holder.since).total_seconds()))


def _details(holder: Holder, now: datetime) -> dict[str, Any]:
    return {
        # Not the whole token: who has it can read.
        "id": holder.id[:8],
        "semver": holder.semver,
        "node": holder.node,
        "pid": holder.pid,
        "user": holder.user,
        "command": holder.command,
        "since": holder.since.isoformat(),
        "age": _age(holder, now),
    }


def _to_row(holder: Holder, resource: int, version: int, expires_at: datetime) -> dict[str, Any]:
    return {
        "id": holder.id,
        "resource_id": resource,
        "version_id": version,
        "node": trimmed(holder.node, LONGEST),
        "pid": holder.pid,
        "user": trimmed(holder.user, LONGEST),
        "command": trimmed(holder.command, 2000),
        "since": holder.since,
        "expires_at": expires_at,
    }


def _to_holder(row: AnyRow) -> Holder:
    return Holder(
        id=row.id,
        type=row.type,
        name=row.name,
        semver=semver_text(row.major, row.minor, row.patch),
        node=row.node,
        pid=row.pid,
        user=row.user,
        command=row.command,
        since=row.since,
    )
