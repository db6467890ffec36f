"""Who holds versions now, and the refusal that names them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from alluxio_lance.catalog.schema import leases, resources, versions
from alluxio_lance.catalog.semver import semver_text
from alluxio_lance.catalog.transactions import AnyRow, Transaction
from alluxio_lance.errors import Leased
from alluxio_lance.lifecycle.ports import Holder

__all__ = ["check_unheld", "holders_of"]

_L, _R, _V = leases.c, resources.c, versions.c
_NAMED: Final = 5
"""Holders that a message names."""


def holders_of(tx: Transaction, type: str, name: str) -> list[Holder]:
    """List the unexpired leases on any version of a resource, oldest first."""
    numbers = [_V.major, _V.minor, _V.patch, _V.branch, _V.serial]
    query = (
        sa.select(_R.type, _R.name, *numbers, *(c for c in leases.columns if not c.foreign_keys))
        .select_from(leases)
        .join(versions, _V.id == _L.version_id)
        .join(resources, _R.id == _L.resource_id)
        .where(_R.type == type, _R.name == name, _L.expires_at > tx.now)
    )
    return [_to_holder(row) for row in tx.all(query.order_by(_L.since, _L.id))]


def check_unheld(tx: Transaction, type: str, name: str, semvers: Sequence[str] | None) -> None:
    """Refuse while somebody holds one of these versions, or, with None, any. The caller has locked the resource's row.

    Raises
    ------
    Leased
        ``details["holders"]`` is a list of mappings with ``id`` (the first eight digits), ``semver``, ``node``,
        ``pid``, ``user``, ``command``, ``since`` (ISO 8601) and ``age`` (seconds).
    """
    found = holders_of(tx, type, name)
    if holders := found if semvers is None else [holder for holder in found if holder.semver in semvers]:
        raise _leased(type, name, holders, tx.now)


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


def _to_holder(row: AnyRow) -> Holder:
    return Holder(
        id=row.id,
        type=row.type,
        name=row.name,
        semver=semver_text(row.major, row.minor, row.patch, row.branch, row.serial),
        node=row.node,
        pid=row.pid,
        user=row.user,
        command=row.command,
        since=row.since,
    )
