"""From rows to the values that every face of the system speaks in."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

from alluxio_lance.catalog.schema import events, pointers, resources, tags, versions
from alluxio_lance.catalog.semver import SEMVER, numbers, semver_text
from alluxio_lance.catalog.transactions import AnyRow, Transaction
from alluxio_lance.errors import NotFound
from alluxio_lance.values import Event, Outcome, State, Verb, Version

__all__ = [
    "RESOURCES",
    "VERSIONS",
    "active_of",
    "no_version",
    "require_listed",
    "require_version",
    "resource_id",
    "semver_of",
    "served",
    "to_event",
    "to_version",
]

_R, _V = resources.c, versions.c

# In the same statement as the version: a look by its name would otherwise be two. No tag has a comma in it.
_TAGS: Final = (
    sa.select(sa.func.aggregate_strings(tags.c.name, ","))
    .where(tags.c.version_id == _V.id)
    .correlate(versions)
    .scalar_subquery()
    .label("v_tags")
)
# A version with what its resource says about it; the columns are prefixed, since both tables have some of the same name.
_VERSION_COLUMNS: Final[list[sa.ColumnElement[Any]]] = [*(c.label(f"v_{c.key}") for c in versions.columns), _TAGS]
_RESOURCE_COLUMNS: Final = [column.label(f"r_{column.key}") for column in resources.columns]
VERSIONS: Final = sa.select(*_VERSION_COLUMNS, *_RESOURCE_COLUMNS).join_from(
    versions, resources, _V.resource_id == _R.id
)
RESOURCES: Final = (
    sa.select(*_RESOURCE_COLUMNS, *_VERSION_COLUMNS)
    .select_from(resources)
    .outerjoin(pointers, pointers.c.resource_id == _R.id)
    .outerjoin(versions, versions.c.id == pointers.c.version_id)
)
"""Every resource, deleted ones too, with its active version."""
_POINTED: Final = VERSIONS.join(pointers, pointers.c.version_id == _V.id).where(
    pointers.c.resource_id == sa.bindparam("resource")
)
_SERVED: Final = (
    VERSIONS.join(pointers, pointers.c.version_id == _V.id)
    .where(pointers.c.resource_id == _R.id, _R.type == sa.bindparam("type"), _R.name == sa.bindparam("name"))
    .where(_R.hidden.is_(False), _V.state != State.DELETED)
)
_ONE: Final = sa.select(versions).where(_V.resource_id == sa.bindparam("resource"), SEMVER)


def resource_id(tx: Transaction, type: str, name: str, *, deleted: bool = False) -> int | None:
    """Find a resource that is not deleted; with ``deleted`` one in either state."""
    query = sa.select(_R.id).where(_R.type == type, _R.name == name)
    found: int | None = tx.value(query if deleted else query.where(_R.hidden.is_(False)))
    return found


def active_of(tx: Transaction, resource: int, *conditions: sa.ColumnElement[bool]) -> AnyRow | None:
    """Find the row of `VERSIONS` that the pointer stands on."""
    return tx.one(_POINTED.where(*conditions) if conditions else _POINTED, {"resource": resource})


def served(tx: Transaction, type: str, name: str) -> AnyRow | None:
    """Find the row of `VERSIONS` that the pointer of a resource stands on, if both are there: nothing else is asked for as often."""
    return tx.one(_SERVED, {"type": type, "name": name})


def require_version(tx: Transaction, resource: int, plain: str, semver: str) -> AnyRow:
    """Find a row of ``versions`` in whichever state; ``plain`` is TYPE/NAME.

    Raises
    ------
    NotFound
        When the resource, whose row the caller has locked, has no such version.
    """
    row = tx.one(_ONE, {"resource": resource, **numbers(semver)._asdict()})
    if row is None:
        raise no_version(plain, semver)
    return row


def no_version(plain: str, semver: str) -> NotFound:
    """Make the error for a version that a resource does not have."""
    return NotFound(f"{plain} has no version {semver}: see `alluxio-lance show {plain}`")


def require_listed(tx: Transaction, resource: int, plain: str, semver: str) -> AnyRow:
    """Find a row of ``versions`` that is not deleted.

    Raises
    ------
    NotFound
        When there is none.
    """
    row = require_version(tx, resource, plain, semver)
    if row.state == State.DELETED:
        raise NotFound(f"{plain}@{semver} is deleted: take that back with `alluxio-lance undelete {plain}@{semver}`")
    return row


def semver_of(row: AnyRow) -> str:
    """Write the semantic version of a row of `VERSIONS`."""
    return semver_text(row.v_major, row.v_minor, row.v_patch, row.v_branch, row.v_serial)


def to_version(row: AnyRow) -> Version:
    """Read a row of `VERSIONS`."""
    return Version(
        type=row.r_type,
        name=row.r_name,
        semver=semver_of(row),
        version=row.v_lance_version,
        branch=row.v_branch,
        content_hash=row.v_content_hash,
        state=State(row.v_state),
        location=row.r_location,
        num_rows=row.v_num_rows,
        num_bytes=row.v_num_bytes,
        schema=bytes(row.v_arrow_schema),
        message=row.v_message,
        metadata=row.v_metadata,
        provenance=row.v_provenance,
        created_at=row.v_created_at,
        created_by=row.v_created_by,
        operation=row.v_operation,
        stage=row.v_stage,
        tags=tuple(sorted(row.v_tags.split(","))) if row.v_tags else (),
        metrics=row.v_metrics or {},
        cold_bytes=row.v_cold_bytes,
        archived_at=row.v_archived_at,
        read_at=row.v_read_at,
        purge_at=row.v_purge_at,
    )


def to_event(row: AnyRow) -> Event:
    """Read an audit row."""
    said = {column.key: getattr(row, column.key) for column in events.columns}
    return Event(**said | {"verb": Verb(row.verb), "outcome": Outcome(row.outcome)})
