"""A catalog is looked over: which tables it has, how full they are, and whether any row lacks the one it refers to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from alluxio_lance.catalog.engine import closed_on_error, create_engine, require_file, translated
from alluxio_lance.catalog.migrating import SchemaStatus, schema_status
from alluxio_lance.catalog.schema import (
    branches,
    commit_locks,
    fences,
    file_spans,
    files,
    leases,
    metadata,
    operations,
    pointers,
    resources,
    tags,
    versions,
)
from alluxio_lance.lifecycle.ports import OperationState
from alluxio_lance.values import State

__all__ = ["CatalogReport", "check"]

AnyCount = sa.Select[int]


@dataclass(frozen=True, slots=True)
class CatalogReport:
    """What a look at a catalog found."""

    url: str
    """Without its password."""
    engine: str
    """``sqlite``, ``postgresql``, ``mysql`` or ``mariadb``."""
    server: str
    """The version of the database, as it says it."""
    schema: SchemaStatus
    rows: Mapping[str, int]
    """How many by table; empty when the tables are those of another release."""
    orphans: Mapping[str, int]
    """How many rows lack the one that they refer to, by what is wrong; empty when the tables are another release's."""

    @property
    def is_sound(self) -> bool:
        """Whether the tables are current and nothing is amiss."""
        return self.schema.is_current and not any(self.orphans.values())


def check(url: str) -> CatalogReport:
    """Look a catalog over; changes nothing.

    Raises
    ------
    InvalidArgument
        When the URL names no database that can be a catalog.
    NotFound
        When an SQLite file does not exist.
    Unavailable
        When the database cannot be reached.
    """
    require_file(url)
    engine, _ = create_engine(url)
    with closed_on_error(engine):
        schema = schema_status(engine)
        with translated(engine), engine.connect() as connection:
            report = CatalogReport(
                url=engine.url.render_as_string(hide_password=True),
                engine=engine.dialect.name,
                server=".".join(map(str, engine.dialect.server_version_info or ())),
                schema=schema,
                rows=_rows(connection) if schema.is_current else {},
                orphans=_orphans(connection) if schema.is_current else {},
            )
    engine.dispose()
    return report


def _rows(connection: sa.Connection) -> dict[str, int]:
    return {
        table.name: _number(connection, sa.select(sa.func.count()).select_from(table))
        for table in sorted(metadata.sorted_tables, key=str)
    }


def _orphans(connection: sa.Connection) -> dict[str, int]:
    return {what: _number(connection, query) for what, query in _ORPHANS.items()}


def _number(connection: sa.Connection, query: AnyCount) -> int:
    return connection.execute(query).scalar_one()


def _without(table: sa.Table, other: sa.Table, refers: sa.ColumnElement[bool], key: sa.Column[Any]) -> AnyCount:
    return sa.select(sa.func.count()).select_from(table.outerjoin(other, refers)).where(key.is_(None))


_R, _V, _P = resources.c, versions.c, pointers.c
_own_version = sa.and_(_V.id == _P.version_id, _V.resource_id == _P.resource_id)
_counted = (
    sa.select(sa.func.count())
    .select_from(versions)
    .where(_V.resource_id == _R.id, _V.state != State.DELETED)
    .scalar_subquery()
)
_own_tag = sa.and_(_V.id == tags.c.version_id, _V.resource_id == tags.c.resource_id)
_own_branch = sa.and_(branches.c.resource_id == _V.resource_id, branches.c.name == _V.branch)
_own_span = sa.and_(file_spans.c.resource_id == files.c.resource_id, file_spans.c.path == files.c.path)


def _of_ended_operations(table: sa.Table) -> AnyCount:
    owned = table.outerjoin(operations, operations.c.id == table.c.operation)
    ended = sa.or_(operations.c.id.is_(None), operations.c.state != OperationState.PENDING)
    return sa.select(sa.func.count()).select_from(owned).where(ended)


_ORPHANS: Final[Mapping[str, AnyCount]] = {
    "versions without their resource": _without(versions, resources, _R.id == _V.resource_id, _R.id),
    "files without their resource": _without(files, resources, _R.id == files.c.resource_id, _R.id),
    "leases without their version": _without(leases, versions, _V.id == leases.c.version_id, _V.id),
    "pointers without their version": _without(pointers, versions, _own_version, _V.id),
    "pointers to versions that are not active": sa.select(sa.func.count())
    .select_from(pointers.join(versions, _own_version))
    .where(_V.state != State.ACTIVE),
    "active versions without their pointer": _without(versions, pointers, _P.version_id == _V.id, _P.version_id).where(
        _V.state == State.ACTIVE
    ),
    "versions without their operation": _without(
        versions, operations, operations.c.id == _V.operation, operations.c.id
    ),
    "commit locks of operations that ended": _of_ended_operations(commit_locks),
    "fences of operations that ended": _of_ended_operations(fences),
    "tags without their version": _without(tags, versions, _own_tag, _V.id),
    "versions without their branch": _without(versions, branches, _own_branch, branches.c.name).where(_V.branch != ""),
    "archived versions without their copy": sa.select(sa.func.count())
    .select_from(versions)
    .where(_V.state == State.ARCHIVED, _V.cold_location.is_(None)),
    "files that no version lists": _without(files, file_spans, _own_span, file_spans.c.path),
    "resources with a wrong count of versions": sa.select(sa.func.count())
    .select_from(resources)
    .where(_R.version_count != _counted),
}
