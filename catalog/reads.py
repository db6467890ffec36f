"""When versions were read last, to within an hour: policies go by it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa

from alluxio_lance.catalog.schema import resources, versions
from alluxio_lance.catalog.semver import semver_is
from alluxio_lance.catalog.transactions import AnyQuery, Transaction, Transactions

__all__ = ["Reads", "is_due", "remember_read"]

_R, _V = resources.c, versions.c
_RARELY: Final = timedelta(hours=1)
"""Between two writes about one version: a thousand readers shall not be a thousand writers."""


class Reads(Transactions):
    """The part of the catalog that remembers reads."""

    def note_read(self, type: str, name: str, semver: str) -> None:
        """Remember that a version was opened; a version that is gone is no error."""
        query = _version(type, name, semver)
        due = self._read(lambda tx: tx.value(query.where(_due(tx))))
        if due is not None:
            self._write(lambda tx: remember_read(tx, due))


def _version(type: str, name: str, semver: str) -> AnyQuery:
    query = sa.select(_V.id).join_from(versions, resources, _V.resource_id == _R.id)
    return query.where(_R.type == type, _R.name == name, semver_is(semver))


def _due(tx: Transaction) -> sa.ColumnElement[bool]:
    return sa.or_(_V.read_at.is_(None), _V.read_at <= tx.now - _RARELY)


def is_due(read_at: datetime | None, now: datetime) -> bool:
    """Tell whether it is time to write that a version is read, whose last read was written for ``read_at``."""
    return read_at is None or read_at <= now - _RARELY


def remember_read(tx: Transaction, version: int) -> None:
    """Write that a version is read now, unless that was written a short while ago."""
    tx.change(sa.update(versions).where(_V.id == version, _due(tx)).values(read_at=tx.now))
