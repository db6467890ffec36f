"""Leases of all nodes: who reads what, so that nothing is taken away under a reader."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from alluxio_lance.catalog.columns import LONGEST
from alluxio_lance.catalog.holders import holders_of
from alluxio_lance.catalog.reads import is_due, remember_read
from alluxio_lance.catalog.schema import fences, leases, resources, versions
from alluxio_lance.catalog.selecting import unknown_resource
from alluxio_lance.catalog.semver import SEMVER, numbers
from alluxio_lance.catalog.text import trimmed
from alluxio_lance.catalog.transactions import Transaction, Transactions
from alluxio_lance.errors import NotFound, Restoring
from alluxio_lance.lifecycle.ports import Holder
from alluxio_lance.values import State

__all__ = ["Leases"]

_L, _R, _V = leases.c, resources.c, versions.c
_AT_ONCE: Final = 500
"""Values in one IN: SQLite's limit was 999 for long."""

# Built once: every reader that begins waits for them, and to build them takes longer than to run them.
_LOCKED: Final = (
    sa.select(_R.id, _R.hidden)
    .where(_R.type == sa.bindparam("type"), _R.name == sa.bindparam("name"))
    .with_for_update()
)
_STALE: Final = sa.or_(
    sa.exists().where(_L.resource_id == sa.bindparam("resource"), _L.expires_at <= sa.bindparam("now")),
    sa.exists().where(_L.id == sa.bindparam("lease")),
)
_WANTED: Final = (
    sa.select(_V.id, _V.state, _V.read_at, fences.c.operation, _STALE.label("stale"))
    .join_from(versions, fences, fences.c.version_id == _V.id, isouter=True)
    .where(_V.resource_id == sa.bindparam("resource"), SEMVER, _V.state != State.DELETED)
)
"""A version that somebody wants to read, who has fenced it, and whether there are leases to be removed first."""
_INSERT: Final = sa.insert(leases)


class Leases(Transactions):
    """The part of the catalog that keeps leases."""

    def hold(self, holder: Holder, ttl: float) -> None:
        """Record a reader for ``ttl`` seconds, and that the version was read; the same id again prolongs its lease.

        Raises
        ------
        NotFound
            When the version is gone or deleted.
        Restoring
            When it is archived, or about to go.
        """
        # A power failure ends the readers, too.
        self._note(lambda tx: _hold(tx, holder, ttl))

    def renew(self, ids: Sequence[str], ttl: float) -> None:
        """Let leases live for another ``ttl`` seconds; unknown ids are ignored."""
        self._note(lambda tx: _renew(tx, ids, ttl))

    def release(self, ids: Sequence[str]) -> None:
        """End leases; unknown ids are ignored."""
        # What a power failure takes back ends by itself, when its time is over.
        self._note(lambda tx: _release(tx, ids))

    def holders(self, type: str, name: str) -> list[Holder]:
        """List the unexpired leases on any version of a resource, oldest first."""
        return self._read(lambda tx: holders_of(tx, type, name))


def _hold(tx: Transaction, holder: Holder, ttl: float) -> None:
    # Locked: a hold and a deletion or a fence see each other, whichever comes first.
    resource = tx.one(_LOCKED, {"type": holder.type, "name": holder.name})
    if resource is None:
        raise unknown_resource(tx, holder.type, holder.name)
    version = tx.one(
        _WANTED, {"resource": resource.id, "lease": holder.id, "now": tx.now, **numbers(holder.semver)._asdict()}
    )
    what = f"{holder.type}/{holder.name}@{holder.semver}"
    if resource.hidden or version is None:
        raise NotFound(f"{what} is gone or deleted: see `alluxio-lance list`")
    if version.state == State.ARCHIVED:
        raise Restoring(f"{what} is in the cold tier: open it again, and it comes back", progress=0.0)
    if version.operation is not None:
        raise Restoring(
            f"{what} is about to go to the cold tier: open it again in a while, and it comes back", progress=0.0
        )
    if version.stale:
        # Dead nodes release nothing: their leases end here at the latest.
        tx.change(sa.delete(leases).where(_L.resource_id == resource.id, _L.expires_at <= tx.now))
        tx.change(sa.delete(leases).where(_L.id == holder.id))
    if is_due(version.read_at, tx.now):
        remember_read(tx, version.id)
    tx.run(_INSERT, _to_row(holder, resource.id, version.id, tx.now + timedelta(seconds=ttl)))


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
