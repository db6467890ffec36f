"""Looking: resources, versions, files and events. Nothing here writes, and nothing here waits for a writer."""

from __future__ import annotations

import sqlalchemy as sa

from alluxio_lance.catalog.rows import RESOURCES, VERSIONS, to_event, to_resource, to_version
from alluxio_lance.catalog.schema import events, files, resources, versions
from alluxio_lance.catalog.selecting import require_resource, select
from alluxio_lance.catalog.transactions import Transaction, Transactions
from alluxio_lance.lifecycle.ports import StoredFile
from alluxio_lance.lifecycle.uri import ResourceName
from alluxio_lance.values import Event, Outcome, Resource, Version

__all__ = ["Reading"]

_R, _V, _E, _F = resources.c, versions.c, events.c, files.c


class Reading(Transactions):
    """The part of the catalog that only looks."""

    def resource(self, type: str, name: str) -> Resource | None:
        """Find a resource that is not being deleted."""
        query = RESOURCES.where(_R.type == type, _R.name == name)
        row = self._read(lambda tx: tx.one(query))
        return None if row is None else to_resource(row)

    def resources(
        self, type: str | None = None, *, after: tuple[str, str] | None = None, limit: int | None = None
    ) -> list[Resource]:
        """List the resources that are not being deleted, sorted by type and name: all, or a page.

        Parameters
        ----------
        after
            Type and name of the last resource of the page before.
        limit
            How many at most.
        """
        query = RESOURCES.order_by(_R.type, _R.name).limit(limit)
        if type is not None:
            query = query.where(_R.type == type)
        if after is not None:
            query = query.where(_R.name > after[1] if after[0] == type else _follows(*after))
        return [to_resource(row) for row in self._read(lambda tx: tx.all(query))]

    def location(self, type: str, name: str) -> str | None:
        """Return the table's location relative to the store's root, also while it is being deleted."""
        query = sa.select(_R.location).where(_R.type == type, _R.name == name)
        found: str | None = self._read(lambda tx: tx.value(query))
        return found

    def find(self, name: ResourceName) -> Version:
        """Find the version that a name with a selector means.

        Raises
        ------
        NotFound
            When there is no such resource (the message names similar ones), version, stage or tag.
        NotActive
            When the active version is asked for, and there is none.
        """
        return self._read(lambda tx: to_version(select(tx, name)))

    def versions(self, type: str, name: str) -> list[Version]:
        """List the versions in every state, highest semantic version first.

        Raises
        ------
        NotFound
            When there is no such resource.
        """
        return self._read(lambda tx: _versions(tx, type, name))

    def known_files(self, type: str, name: str) -> dict[str, StoredFile]:
        """Return the files whose hashes are known, by path."""
        query = sa.select(_F.path, _F.size, _F.hash).join_from(files, resources, _F.resource_id == _R.id)
        rows = self._read(lambda tx: tx.all(query.where(_R.type == type, _R.name == name)))
        return {path: StoredFile(path=path, size=size, hash=hash) for path, size, hash in rows}

    def events(
        self,
        *,
        after: int = 0,
        type: str | None = None,
        name: str | None = None,
        limit: int = 1000,
        outcome: Outcome = Outcome.DONE,
    ) -> list[Event]:
        """List audit rows of one outcome with a sequence above ``after``, oldest first."""
        chosen = sa.and_(_E.outcome == outcome, _E.sequence > after)
        query = sa.select(events).where(chosen).order_by(_E.sequence).limit(limit)
        if type is not None:
            query = query.where(_E.type == type)
        if name is not None:
            query = query.where(_E.name == name)
        return [to_event(row) for row in self._read(lambda tx: tx.all(query))]

    def last_event(self) -> int:
        """Return the highest sequence of what was done, 0 when there is none."""
        query = sa.select(sa.func.max(_E.sequence)).where(_E.outcome == Outcome.DONE)
        found: int | None = self._read(lambda tx: tx.value(query))
        return found or 0


def _follows(type: str, name: str) -> sa.ColumnElement[bool]:
    # Not (type, name) > (…): MySQL finds no range of an index in that. The first term is for it too.
    return sa.and_(_R.type >= type, sa.or_(_R.type > type, _R.name > name))


def _versions(tx: Transaction, type: str, name: str) -> list[Version]:
    resource = require_resource(tx, type, name)
    query = VERSIONS.where(_V.resource_id == resource).order_by(_V.major.desc(), _V.minor.desc(), _V.patch.desc())
    return [to_version(row) for row in tx.all(query)]
