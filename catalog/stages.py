"""Which version holds which stage, and since when: of several holders a selector means the one that took it last."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from alluxio_lance.catalog.fences import check_unfenced
from alluxio_lance.catalog.rows import require_listed, require_version
from alluxio_lance.catalog.schema import versions
from alluxio_lance.catalog.semver import semver_text
from alluxio_lance.catalog.text import checked
from alluxio_lance.catalog.transactions import Transaction
from alluxio_lance.errors import Conflict
from alluxio_lance.governance import ACTIVATION, PromotionState
from alluxio_lance.lifecycle.ports import Change
from alluxio_lance.values import State

__all__ = ["move_stages"]

_V = versions.c


def move_stages(tx: Transaction, resource: int, operation: str, change: Change) -> None:
    """Give stages and take them away. The caller has locked the resource's row.

    Raises
    ------
    NotFound
        When there is no such version.
    Conflict
        When the version of the promotion is in another stage by now, when others hold a stage than ``stage_holders``
        says, or when another operation has fenced a version.
    """
    plain = f"{change.type}/{change.name}"
    _check_origin(tx, resource, change, plain)
    for held, believed in change.stage_holders.items():
        _check_holders(tx, resource, plain, held, believed)
    for semver, stage in change.stages.items():
        if stage is None:
            row = require_version(tx, resource, plain, semver)
            values: dict[str, Any] = {"stage": None, "staged_at": None}
        else:
            row = require_listed(tx, resource, plain, semver)
            check_unfenced(tx, operation, row.id, f"{plain}@{semver}")
            values = {"stage": checked("the stage", stage, 100), "staged_at": _moment(tx, resource, stage)}
        tx.change(sa.update(versions).where(_V.id == row.id).values(values))


def _check_origin(tx: Transaction, resource: int, change: Change, plain: str) -> None:
    promotion = change.promotion
    if promotion is None or promotion.state is not PromotionState.DONE or promotion.to == ACTIVATION:
        return
    now = require_version(tx, resource, plain, promotion.semver).stage
    if now != promotion.origin:
        raise Conflict(
            f"{plain}@{promotion.semver} is in {now or 'no stage'} by now, and no longer in {promotion.origin or 'none'}: "
            "promote it from there"
        )


def _check_holders(tx: Transaction, resource: int, plain: str, stage: str, believed: tuple[str, ...]) -> None:
    query = sa.select(_V.major, _V.minor, _V.patch, _V.branch, _V.serial).where(
        _V.resource_id == resource, _V.stage == stage, _V.state != State.DELETED
    )
    holders = {semver_text(*row) for row in tx.all(query)}
    if holders != set(believed):
        raise Conflict(
            f"{stage} of {plain} is held by {', '.join(sorted(holders)) or 'no version'} by now: look again, and try again"
        )


def _moment(tx: Transaction, resource: int, stage: str) -> datetime:
    # Behind the one who took it before also when the clocks of two nodes differ.
    query = sa.select(sa.func.max(_V.staged_at)).where(_V.resource_id == resource, _V.stage == stage)
    last: datetime | None = tx.value(query)
    return tx.now if last is None else max(tx.now, last + timedelta(microseconds=1))
