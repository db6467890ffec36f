"""The tables. The migrations lead to exactly this; a test compares the two."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

from alluxio_lance.catalog.chain import GENESIS
from alluxio_lance.catalog.columns import BIG, BLOB, DIGITS, ID, JSON, LONG_TEXT, LONGEST, NAME, TIME, exact

__all__ = [
    "commit_locks",
    "counters",
    "events",
    "files",
    "leases",
    "metadata",
    "operations",
    "pointers",
    "resources",
    "versions",
]

metadata: Final = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# InnoDB has transactions and foreign keys; MySQL and MariaDB each read the options under their own name.
_OPTIONS: Final[dict[str, Any]] = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_bin"))
}


def _resource_id(**options: Any) -> sa.Column[int]:
    return sa.Column("resource_id", BIG, sa.ForeignKey("resources.id", ondelete="CASCADE"), nullable=False, **options)


def _version_id() -> sa.Column[int]:
    return sa.Column("version_id", BIG, sa.ForeignKey("versions.id", ondelete="CASCADE"), nullable=False, index=True)


resources = sa.Table(
    "resources",
    metadata,
    sa.Column("id", BIG, primary_key=True),
    sa.Column("type", NAME, nullable=False),
    sa.Column("name", NAME, nullable=False),
    sa.Column("kind", exact(16), nullable=False),
    sa.Column("location", exact(LONGEST), nullable=False),
    # Set by the first half of a deletion: out of sight, but its table may still be there.
    sa.Column("hidden", sa.Boolean, nullable=False),
    # Kept by every commit, so that a list need not count.
    sa.Column("version_count", BIG, nullable=False),
    sa.Column("created_at", TIME, nullable=False),
    sa.Column("updated_at", TIME, nullable=False),
    sa.UniqueConstraint("type", "name"),
    **_OPTIONS,
)

versions = sa.Table(
    "versions",
    metadata,
    sa.Column("id", BIG, primary_key=True),
    _resource_id(),
    sa.Column("major", sa.Integer, nullable=False),
    sa.Column("minor", sa.Integer, nullable=False),
    sa.Column("patch", sa.Integer, nullable=False),
    sa.Column("lance_version", BIG, nullable=False),
    sa.Column("content_hash", DIGITS, nullable=False),
    sa.Column("state", exact(16), nullable=False),
    sa.Column("num_rows", BIG, nullable=False),
    sa.Column("num_bytes", BIG, nullable=False),
    sa.Column("arrow_schema", BLOB, nullable=False),
    sa.Column("message", LONG_TEXT, nullable=False),
    sa.Column("metadata", JSON, nullable=False),
    sa.Column("provenance", JSON, nullable=False),
    sa.Column("created_at", TIME, nullable=False),
    sa.Column("created_by", exact(LONGEST), nullable=False),
    sa.Column("operation", ID, nullable=False),
    sa.UniqueConstraint("resource_id", "major", "minor", "patch"),
    sa.UniqueConstraint("resource_id", "lance_version"),
    sa.Index(None, "resource_id", "content_hash"),
    **_OPTIONS,
)

# Its own table, and not a column of resources, since two tables that refer to each other cannot be made in one go.
pointers = sa.Table(
    "pointers",
    metadata,
    _resource_id(primary_key=True, autoincrement=False),
    _version_id(),
    **_OPTIONS,
)

files = sa.Table(
    "files",
    metadata,
    _resource_id(primary_key=True, autoincrement=False),
    sa.Column("path", exact(LONGEST), primary_key=True),
    sa.Column("size", BIG, nullable=False),
    sa.Column("hash", DIGITS, nullable=False),
    **_OPTIONS,
)

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
    sa.Column("state", exact(16), nullable=False),
    sa.Column("step", exact(64), nullable=False),
    sa.Column("error", LONG_TEXT, nullable=True),
    sa.Column("result", exact(32), nullable=True),
    sa.Column("created_at", TIME, nullable=False),
    sa.Column("heartbeat_at", TIME, nullable=False),
    sa.UniqueConstraint("request_id"),
    sa.Index(None, "state", "step"),
    **_OPTIONS,
)

# By type and name, not by resource: registering takes the lock before there is a resource.
commit_locks = sa.Table(
    "commit_locks",
    metadata,
    sa.Column("type", NAME, primary_key=True),
    sa.Column("name", NAME, primary_key=True),
    sa.Column("operation", ID, nullable=False, index=True),
    sa.Column("expires_at", TIME, nullable=False),
    **_OPTIONS,
)

# No foreign key: the audit rows outlive what they tell of.
events = sa.Table(
    "events",
    metadata,
    sa.Column("sequence", BIG, primary_key=True, autoincrement=False),
    sa.Column("at", TIME, nullable=False),
    sa.Column("verb", exact(32), nullable=False),
    sa.Column("type", NAME, nullable=False),
    sa.Column("name", NAME, nullable=False),
    sa.Column("actor", exact(LONGEST), nullable=False),
    sa.Column("operation", ID, nullable=False),
    sa.Column("before", exact(64), nullable=True),
    sa.Column("after", exact(64), nullable=True),
    sa.Column("semver", exact(32), nullable=True),
    sa.Column("message", LONG_TEXT, nullable=False),
    sa.Column("origin", exact(LONGEST), nullable=False),
    sa.Column("request_id", NAME, nullable=True),
    sa.Column("outcome", exact(16), nullable=False),
    # The link of the chain, see chain.py.
    sa.Column("hash", DIGITS, nullable=False),
    sa.Index(None, "type", "name", "outcome", "sequence"),
    sa.Index(None, "outcome", "sequence"),
    **_OPTIONS,
)

# A database's own counters hand numbers out before the commit: a watcher that saw 8 would miss a 7 that is committed later.
# The row of this one stays locked until the commit, so numbers become visible in their order.
counters = sa.Table(
    "counters",
    metadata,
    sa.Column("name", exact(32), primary_key=True),
    sa.Column("value", BIG, nullable=False),
    # That of the row with the number `value`.
    sa.Column("hash", DIGITS, nullable=False, server_default=GENESIS),
    **_OPTIONS,
)

leases = sa.Table(
    "leases",
    metadata,
    sa.Column("id", ID, primary_key=True),
    _resource_id(),
    _version_id(),
    sa.Column("node", exact(LONGEST), nullable=False),
    sa.Column("pid", BIG, nullable=False),
    sa.Column("user", exact(LONGEST), nullable=False),
    sa.Column("command", LONG_TEXT, nullable=False),
    sa.Column("since", TIME, nullable=False),
    sa.Column("expires_at", TIME, nullable=False),
    sa.Index(None, "resource_id", "expires_at"),
    **_OPTIONS,
)
