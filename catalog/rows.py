"""From rows to the values that every face of the system speaks in."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from alluxio_lance.catalog.schema import events, pointers, resources, versions
from alluxio_lance.catalog.transactions import AnyRow, Transaction
from alluxio_lance.errors import InvalidArgument
from alluxio_lance.values import Event, Kind, Outcome, Resource, State, Verb, Version

__all__ = [
    "RESOURCES",
    "VERSIONS",
    "active_of",
    "resource_id",
    "semver_is",
    "semver_text",
    "to_event",
    "to_resource",
    "to_version",
    "triple",
]

_R, _V = resources.c, versions.c

# A version with what its resource says about it; the columns are prefixed, since both tables have some of the same name.
_VERSION_COLUMNS: Final = [column.label(f"v_{column.key}") for column in versions.columns]
_RESOURCE_COLUMNS: Final = [column.label(f"r_{column.key}") for column in resources.columns]
VERSIONS: Final = sa.select(*_VERSION_COLUMNS, *_RESOURCE_COLUMNS).join_from(
    versions, resources, _V.resource_id == _R.id
)
RESOURCES: Final = (
    sa.select(*_RESOURCE_COLUMNS, *_VERSION_COLUMNS)
    .select_from(resources)
    .outerjoin(pointers, pointers.c.resource_id == _R.id)
    .outerjoin(versions, versions.c.id == pointers.c.version_id)
    .where(_R.hidden.is_(False))
)


def semver_text(major: int, minor: int, patch: int) -> str:
    """Write a semantic version."""
    return f"{major}.{minor}.{patch}"


def triple(semver: str) -> tuple[int, int, int]:
    """Read a semantic version.

    Raises
    ------
    InvalidArgument
        When the text is not MAJOR.MINOR.PATCH.
    """
    parts = semver.split(".")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) <= 9 for part in parts):  # noqa: PLR2004 - MAJOR, MINOR, PATCH
        raise InvalidArgument(f"{semver!r} is no semantic version: give MAJOR.MINOR.PATCH, as in 1.4.0")
    major, minor, patch = map(int, parts)
    return major, minor, patch


def semver_is(semver: str) -> sa.ColumnElement[bool]:
    """Build the condition that a version is this one."""
    major, minor, patch = triple(semver)
    return sa.and_(_V.major == major, _V.minor == minor, _V.patch == patch)


def resource_id(tx: Transaction, type: str, name: str) -> int | None:
    """Find a resource that is not being deleted."""
    query = sa.select(_R.id).where(_R.type == type, _R.name == name, _R.hidden.is_(False))
    found: int | None = tx.value(query)
    return found


def active_of(tx: Transaction, resource: int) -> AnyRow | None:
    """Find the row of `VERSIONS` that the pointer stands on."""
    pointed = VERSIONS.join(pointers, pointers.c.version_id == _V.id).where(pointers.c.resource_id == resource)
    return tx.one(pointed)


def to_version(row: AnyRow) -> Version:
    """Read a row of `VERSIONS`."""
    return Version(
        type=row.r_type,
        name=row.r_name,
        semver=semver_text(row.v_major, row.v_minor, row.v_patch),
        version=row.v_lance_version,
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
    )


def to_resource(row: AnyRow) -> Resource:
    """Read a row of `RESOURCES`."""
    return Resource(
        type=row.r_type,
        name=row.r_name,
        kind=Kind(row.r_kind),
        active=None if row.v_id is None else to_version(row),
        versions=row.r_version_count,
        created_at=row.r_created_at,
        updated_at=row.r_updated_at,
    )


def to_event(row: AnyRow) -> Event:
    """Read an audit row."""
    said = {column.key: getattr(row, column.key) for column in events.columns}
    return Event(**said | {"verb": Verb(row.verb), "outcome": Outcome(row.outcome)})
