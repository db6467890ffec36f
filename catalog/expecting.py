"""What a change expects of the moment at which it is applied: gates judged a version as it stood beside others."""

from __future__ import annotations

from alluxio_lance.catalog.rows import require_version, semver_of
from alluxio_lance.catalog.transactions import AnyRow, Transaction
from alluxio_lance.errors import Conflict
from alluxio_lance.lifecycle.ports import Change

__all__ = ["check_expected"]


def check_expected(tx: Transaction, resource: int, change: Change, active: AnyRow | None) -> None:
    """Refuse a change whose premises are gone. The caller has locked the resource's row, and changed nothing yet.

    ``active`` is the row that the pointer stands on.

    Raises
    ------
    NotFound
        When there is no such version.
    Conflict
        When a version has another state or stage by now, or another one is active.
    """
    plain = f"{change.type}/{change.name}"
    for semver, believed in change.standing.items():
        row = require_version(tx, resource, plain, semver)
        if (row.state, row.stage) != believed:
            raise Conflict(f"{plain}@{semver} has another state or stage by now: look again, and try again")
    if change.still_active is not None:
        now = () if active is None else (semver_of(active),)
        if now != change.still_active:
            raise Conflict(f"{', '.join(now) or 'no version'} of {plain} is active by now: look again, and try again")
