"""Looking: resources, versions, files. Nothing here writes, and nothing here waits for a writer."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from alluxio_lance.catalog.listing import one_resource, page_of_resources
from alluxio_lance.catalog.rows import VERSIONS, semver_of, to_version
from alluxio_lance.catalog.schema import branches, files, resources, versions
from alluxio_lance.catalog.selecting import listed, require_resource, select
from alluxio_lance.catalog.semver import semver_text
from alluxio_lance.catalog.transactions import Transaction, Transactions
from alluxio_lance.lifecycle.ports import Branch, ColdCopy, StoredFile
from alluxio_lance.lifecycle.uri import ResourceName
from alluxio_lance.values import Resource, State, Version

__all__ = ["Reading"]

_R, _V, _F, _B = resources.c, versions.c, files.c, branches.c
_LOCATION: Final = sa.select(_R.location).where(_R.type == sa.bindparam("type"), _R.name == sa.bindparam("name"))
_BY_LINE = (_V.branch, _V.major.desc(), _V.minor.desc(), _V.patch.desc(), _V.serial.desc())
_ALL: Final = VERSIONS.where(_V.resource_id == sa.bindparam("resource")).order_by(*_BY_LINE)
_LISTED: Final = _ALL.where(_V.state != State.DELETED)


class Reading(Transactions):
    """The part of the catalog that only looks."""

    def resource(self, type: str, name: str, *, deleted: bool = False) -> Resource | None:
        """Find a resource that is not deleted; with ``deleted`` one that is."""
        return self._read(lambda tx: one_resource(tx, type, name, deleted=deleted))

    def resources(
        self,
        type: str | None = None,
        *,
        after: tuple[str, str] | None = None,
        limit: int | None = None,
        search: str | None = None,
        labels: Mapping[str, str] | None = None,
        deleted: bool = False,
    ) -> list[Resource]:
        """List the resources that are not deleted, sorted by type and name: all, or a page.

        Parameters
        ----------
        after
            Type and name of the last resource of the page before.
        limit
            How many at most.
        search
            A text in the name, or in the message of any version that is not deleted, in whichever case.
        labels
            Labels that must all be there.
        deleted
            Those that are deleted, instead.
        """
        return self._read(
            lambda tx: page_of_resources(
                tx, type, after=after, limit=limit, search=search, labels=labels, deleted=deleted
            )
        )

    def location(self, type: str, name: str) -> str | None:
        """Return the table's location relative to the store's root, also while it waits to be purged."""
        found: str | None = self._read(lambda tx: tx.value(_LOCATION, {"type": type, "name": name}))
        return found

    def find(self, name: ResourceName, *, deleted: bool = False) -> Version:
        """Find the version that a name with a selector means; with ``deleted`` among what is deleted.

        Raises
        ------
        NotFound
            When there is no such resource (the message names similar ones), version, stage, tag or branch.
        NotActive
            When the active version is asked for, and there is none.
        """
        return self._read(lambda tx: to_version(select(tx, name, deleted=deleted)))

    def versions(self, type: str, name: str, *, branch: str | None = None, deleted: bool = False) -> list[Version]:
        """List the versions of all lines, the main one first, highest semantic version first.

        Parameters
        ----------
        branch
            List this line only; the empty text is the main one.
        deleted
            The deleted versions instead; of a deleted resource all are.

        Raises
        ------
        NotFound
            When there is no such resource.
        """
        return self._read(lambda tx: _versions(tx, type, name, branch, deleted=deleted))

    def branches(self, type: str, name: str) -> list[Branch]:
        """List the branches of a resource by name."""
        query = sa.select(branches).join_from(branches, resources, _B.resource_id == _R.id)
        chosen = query.where(_R.type == type, _R.name == name).order_by(_B.name)
        return [
            Branch(name=row.name, base=row.base, created_at=row.created_at, created_by=row.created_by)
            for row in self._read(lambda tx: tx.all(chosen))
        ]

    def cold_copies(self, type: str, name: str) -> dict[str, ColdCopy]:
        """Return what lies in the cold tier, by semantic version, whatever the version's state."""
        query = VERSIONS.where(_R.type == type, _R.name == name, _V.cold_location.is_not(None)).order_by(*_BY_LINE)
        return {
            semver_of(row): ColdCopy(location=row.v_cold_location, num_bytes=row.v_cold_bytes)
            for row in self._read(lambda tx: tx.all(query))
        }

    def purgeable(self, now: datetime) -> list[tuple[str, str, str | None]]:
        """List what is deleted and due to be purged: type, name, and semantic version (None: the whole resource)."""
        return self._read(lambda tx: _purgeable(tx, now))

    def known_files(self, type: str, name: str) -> dict[str, StoredFile]:
        """Return the files whose hashes are known, by path."""
        query = sa.select(_F.path, _F.size, _F.hash).join_from(files, resources, _F.resource_id == _R.id)
        rows = self._read(lambda tx: tx.all(query.where(_R.type == type, _R.name == name)))
        return {path: StoredFile(path=path, size=size, hash=hash) for path, size, hash in rows}


def _versions(tx: Transaction, type: str, name: str, branch: str | None, *, deleted: bool) -> list[Version]:
    resource = require_resource(tx, type, name, deleted=deleted)
    query = _ALL.where(listed(resource, deleted=True)) if deleted else _LISTED
    if branch is not None:
        query = query.where(_V.branch == branch)
    return [to_version(row) for row in tx.all(query, {"resource": resource.id})]


def _purgeable(tx: Transaction, now: datetime) -> list[tuple[str, str, str | None]]:
    whole = sa.select(_R.type, _R.name).where(_R.purge_at <= now, _R.hidden).order_by(_R.type, _R.name)
    single = (
        sa.select(_R.type, _R.name, _V.major, _V.minor, _V.patch, _V.branch, _V.serial)
        .join_from(versions, resources, _V.resource_id == _R.id)
        .where(_V.purge_at <= now, _V.state == State.DELETED, _R.hidden.is_(False))
        .order_by(_R.type, _R.name, _V.purge_at, _V.id)
    )
    resources_: list[tuple[str, str, str | None]] = [(type, name, None) for type, name in tx.all(whole)]
    return resources_ + [(type, name, semver_text(*parts)) for type, name, *parts in tx.all(single)]
