"""The tables of what is going on: operations with their locks and fences, leases of readers, offices of the cluster."""

from __future__ import annotations

import sqlalchemy as sa

from alluxio_lance.catalog.columns import BIG, ID, JSON, LABEL, LONG_TEXT, LONGEST, NAME, SEMVER, STATE, TIME, exact
from alluxio_lance.catalog.schema.base import OPTIONS, metadata, resource_id, version_id

__all__ = ["commit_locks", "fences", "leases", "offices", "operations"]

operations = sa.Table(
    "operations",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("verb", exact(32), nullable=False),
    sa.Column("type", NAME, nullable=False),
    sa.Column("name", NAME, nullable=False),
    sa.Column("actor", exact(LONGEST), nullable=False),
    sa.Column("owner_node", exact(LONGEST), nullable=False),
    sa.Column("owner_boot", exact(LONGEST), nullable=False),
    sa.Column("owner_pid", BIG, nullable=False),
    sa.Column("owner_started", BIG, nullable=False),
    sa.Column("params", JSON, nullable=False),
    # Unique while it is there: an undone operation gives it free.
    sa.Column("request_id", NAME, nullable=True),
    sa.Column("state", STATE, nullable=False),
    sa.Column("step", exact(64), nullable=False),
    sa.Column("error", LONG_TEXT, nullable=True),
    sa.Column("result", SEMVER, nullable=True),
    sa.Column("created_at", TIME, nullable=False),
    sa.Column("heartbeat_at", TIME, nullable=False),
    sa.Column("origin", exact(LONGEST), nullable=False),
    sa.Column("progress", JSON, nullable=True),
    sa.UniqueConstraint("request_id"),
    sa.Index(None, "state", "step"),
    **OPTIONS,
)

# By type and name, not by resource: registering takes the lock before there is a resource.
commit_locks = sa.Table(
    "commit_locks",
    metadata,
    sa.Column("type", NAME, primary_key=True),
    sa.Column("name", NAME, primary_key=True),
    sa.Column("operation", ID, nullable=False, index=True),
    sa.Column("expires_at", TIME, nullable=False),
    **OPTIONS,
)

# Its own table, and not a column of versions: of a million versions a few are fenced, and all fences of an operation end at once.
fences = sa.Table(
    "fences",
    metadata,
    version_id(primary_key=True, autoincrement=False, index=False),
    sa.Column("operation", ID, nullable=False, index=True),
    **OPTIONS,
)

leases = sa.Table(
    "leases",
    metadata,
    sa.Column("id", ID, primary_key=True),
    resource_id(),
    version_id(),
    sa.Column("node", exact(LONGEST), nullable=False),
    sa.Column("pid", BIG, nullable=False),
    sa.Column("user", exact(LONGEST), nullable=False),
    sa.Column("command", LONG_TEXT, nullable=False),
    sa.Column("since", TIME, nullable=False),
    sa.Column("expires_at", TIME, nullable=False),
    sa.Index(None, "resource_id", "expires_at"),
    **OPTIONS,
)

offices = sa.Table(
    "offices",
    metadata,
    sa.Column("name", LABEL, primary_key=True),
    sa.Column("holder", exact(LONGEST), nullable=False),
    sa.Column("expires_at", TIME, nullable=False),
    **OPTIONS,
)
