"""Offices of the cluster: of all nodes one holder at a time, who has to keep it."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from alluxio_lance.catalog.columns import LONGEST
from alluxio_lance.catalog.schema import offices
from alluxio_lance.catalog.text import checked
from alluxio_lance.catalog.transactions import Transaction, Transactions

__all__ = ["Offices"]

_O = offices.c


class Offices(Transactions):
    """The part of the catalog that keeps offices."""

    def lead(self, office: str, holder: str, ttl: float) -> bool:
        """Take or keep an office for ``ttl`` seconds; False while somebody else has it."""
        checked("the holder of an office", holder, LONGEST)
        return self._write(lambda tx: _lead(tx, office, holder, ttl))

    def resign(self, office: str, holder: str) -> None:
        """Give an office up, if ``holder`` has it."""
        self._write(lambda tx: tx.change(sa.delete(offices).where(_O.name == office, _O.holder == holder)))


def _lead(tx: Transaction, office: str, holder: str, ttl: float) -> bool:
    values = {"holder": holder, "expires_at": tx.now + timedelta(seconds=ttl)}
    free = sa.or_(_O.holder == holder, _O.expires_at <= tx.now)
    # One conditional statement decides; of two processes the second one finds the row of the first.
    if tx.change(sa.update(offices).where(_O.name == office, free).values(values)):
        return True
    if tx.value(sa.select(_O.holder).where(_O.name == office)) is not None:
        return False
    # When another process inserts first, the key is taken and the transaction runs again.
    tx.run(sa.insert(offices), {"name": office, **values})
    return True
