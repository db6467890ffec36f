"""Promotions: each attempt to move a version along an edge of the stage graph, with the reports of its gates."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from alluxio_lance.catalog.columns import LONGEST
from alluxio_lance.catalog.schema import promotions
from alluxio_lance.catalog.text import checked, trimmed
from alluxio_lance.catalog.transactions import AnyRow, Transaction, Transactions
from alluxio_lance.errors import Conflict, InvalidArgument, NotFound
from alluxio_lance.governance import Decision, GateResult, Promotion, PromotionState, Verdict

__all__ = ["Promotions", "forget_promotions", "write_promotion"]

_P = promotions.c
_PREFIX: Final = re.compile(r"[0-9a-f]{8,32}", re.ASCII)


class Promotions(Transactions):
    """The part of the catalog that keeps promotions."""

    def save_promotion(self, promotion: Promotion) -> None:
        """Write a promotion; one with the same id is replaced.

        Raises
        ------
        Conflict
            When it ended meanwhile.
        InvalidArgument
            When a text cannot be kept.
        """
        self._write(lambda tx: write_promotion(tx, promotion))

    def promotion(self, id: str) -> Promotion:
        """Find a promotion by its id or at least eight of its first digits.

        Raises
        ------
        NotFound
            When there is none.
        InvalidArgument
            When the text is no such prefix, or several promotions begin with it.
        """
        if not _PREFIX.fullmatch(id):
            raise InvalidArgument(f"{id!r} is no id of a promotion: give at least its first eight hexadecimal digits")
        # "g" follows the last hexadecimal digit.
        query = sa.select(promotions).where(_P.id >= id, _P.id < f"{id}g").order_by(_P.id).limit(2)
        rows = self._read(lambda tx: tx.all(query))
        if not rows:
            raise NotFound(f"there is no promotion {id}: see `alluxio-lance promotions`")
        if len(rows) > 1:
            raise InvalidArgument(f"several promotions begin with {id}: give more digits")
        return _to_promotion(rows[0])

    def promotions(
        self,
        type: str | None = None,
        name: str | None = None,
        *,
        state: PromotionState | None = None,
        limit: int = 1000,
    ) -> list[Promotion]:
        """List promotions, newest first."""
        query = sa.select(promotions).order_by(_P.created_at.desc(), _P.id.desc()).limit(limit)
        for column, wanted in ((_P.type, type), (_P.name, name), (_P.state, state)):
            if wanted is not None:
                query = query.where(column == wanted)
        return [_to_promotion(row) for row in self._read(lambda tx: tx.all(query))]


def write_promotion(tx: Transaction, promotion: Promotion) -> None:
    """Write a promotion, or replace the one with its id; the same once more changes nothing.

    Raises
    ------
    Conflict
        When it ended meanwhile.
    """
    row = tx.one(sa.select(promotions).where(_P.id == promotion.id).with_for_update())
    values = _to_row(promotion)
    if row is None:
        tx.run(sa.insert(promotions), values)
        return
    known = _to_promotion(row)
    if known.state is not PromotionState.WAITING and _to_row(known) != values:
        raise Conflict(
            f"promotion {promotion.id[:8]} of {promotion.type}/{promotion.name}@{promotion.semver} to {promotion.to} is "
            f"{known.state} by now: look at it again"
        )
    tx.change(sa.update(promotions).where(_P.id == promotion.id).values(values))


def forget_promotions(tx: Transaction, type: str, name: str, semver: str | None = None) -> None:
    """Remove the promotions of a resource that goes, or of one of its versions."""
    gone = sa.delete(promotions).where(_P.type == type, _P.name == name)
    tx.change(gone if semver is None else gone.where(_P.semver == semver))


def _to_row(promotion: Promotion) -> dict[str, Any]:
    return {
        "id": promotion.id,
        "type": promotion.type,
        "name": promotion.name,
        "semver": promotion.semver,
        "stage_from": promotion.origin,
        "stage_to": checked("the stage", promotion.to, 100),
        "reason": checked("the reason", promotion.reason),
        "requested_by": checked("who asked for it", promotion.requested_by, LONGEST),
        "state": promotion.state,
        "results": [_to_json(asdict(result)) for result in promotion.results],
        "decisions": [asdict(decision) | {"at": decision.at.isoformat()} for decision in promotion.decisions],
        "created_at": promotion.created_at,
        "decided_at": promotion.decided_at,
    }


def _to_json(value: Any) -> Any:
    """Make a value that every database keeps: what a gate reports comes from anywhere."""
    if isinstance(value, str):
        return trimmed(value, 100_000)
    if isinstance(value, Mapping):
        return {trimmed(str(key), 1000): _to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json(item) for item in value]
    is_plain = value is None or isinstance(value, bool | int | float)
    is_finite = not isinstance(value, float) or abs(value) < float("inf")
    return value if is_plain and is_finite else str(value)


def _to_promotion(row: AnyRow) -> Promotion:
    return Promotion(
        id=row.id,
        type=row.type,
        name=row.name,
        semver=row.semver,
        origin=row.stage_from,
        to=row.stage_to,
        reason=row.reason,
        requested_by=row.requested_by,
        state=PromotionState(row.state),
        results=tuple(GateResult(**result | {"verdict": Verdict(result["verdict"])}) for result in row.results),
        decisions=tuple(Decision(**made | {"at": datetime.fromisoformat(made["at"])}) for made in row.decisions),
        created_at=row.created_at,
        decided_at=row.decided_at,
    )
