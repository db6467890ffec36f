"""Resources, versions, files, operations, locks, audit rows and leases: the first tables."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from alembic import op

from alluxio_lance.catalog.columns import BIG, BLOB, JSON, LONG_TEXT, TIME, exact
from alluxio_lance.catalog.migrations.steps import add_index

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_OPTIONS: Final[dict[str, Any]] = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_bin"))
}


def upgrade() -> None:
    """Make the tables.

    Each may be there already, see steps.py.
    """
    op.create_table(
        "commit_locks",
        sa.Column("type", exact(200), nullable=False),
        sa.Column("name", exact(200), nullable=False),
        sa.Column("operation", exact(32), nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("type", "name", name=op.f("pk_commit_locks")),
        **_OPTIONS,
        if_not_exists=True,
    )
    add_index("commit_locks", "ix_commit_locks_operation", ["operation"])
    op.create_table(
        "counters",
        sa.Column("name", exact(32), nullable=False),
        sa.Column("value", BIG, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_counters")),
        **_OPTIONS,
        if_not_exists=True,
    )
    op.create_table(
        "events",
        sa.Column("sequence", BIG, autoincrement=False, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("verb", exact(32), nullable=False),
        sa.Column("type", exact(200), nullable=False),
        sa.Column("name", exact(200), nullable=False),
        sa.Column("actor", exact(500), nullable=False),
        sa.Column("operation", exact(32), nullable=False),
        sa.Column("before", exact(64), nullable=True),
        sa.Column("after", exact(64), nullable=True),
        sa.Column("semver", exact(32), nullable=True),
        sa.Column("message", LONG_TEXT, nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_events")),
        **_OPTIONS,
        if_not_exists=True,
    )
    add_index("events", "ix_events_type_name_sequence", ["type", "name", "sequence"])
    op.create_table(
        "operations",
        sa.Column("id", exact(32), nullable=False),
        sa.Column("verb", exact(32), nullable=False),
        sa.Column("type", exact(200), nullable=False),
        sa.Column("name", exact(200), nullable=False),
        sa.Column("actor", exact(500), nullable=False),
        sa.Column("owner_node", exact(500), nullable=False),
        sa.Column("owner_boot", exact(500), nullable=False),
        sa.Column("owner_pid", BIG, nullable=False),
        sa.Column("owner_started", BIG, nullable=False),
        sa.Column("params", JSON, nullable=False),
        sa.Column("request_id", exact(200), nullable=True),
        sa.Column("state", exact(16), nullable=False),
        sa.Column("step", exact(64), nullable=False),
        sa.Column("error", LONG_TEXT, nullable=True),
        sa.Column("result", exact(32), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("heartbeat_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operations")),
        sa.UniqueConstraint("request_id", name=op.f("uq_operations_request_id")),
        **_OPTIONS,
        if_not_exists=True,
    )
    add_index("operations", "ix_operations_state_step", ["state", "step"])
    op.create_table(
        "resources",
        sa.Column("id", BIG, nullable=False),
        sa.Column("type", exact(200), nullable=False),
        sa.Column("name", exact(200), nullable=False),
        sa.Column("kind", exact(16), nullable=False),
        sa.Column("location", exact(500), nullable=False),
        sa.Column("hidden", sa.Boolean(), nullable=False),
        sa.Column("version_count", BIG, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_resources")),
        sa.UniqueConstraint("type", "name", name=op.f("uq_resources_type_name")),
        **_OPTIONS,
        if_not_exists=True,
    )
    op.create_table(
        "files",
        sa.Column("resource_id", BIG, autoincrement=False, nullable=False),
        sa.Column("path", exact(500), nullable=False),
        sa.Column("size", BIG, nullable=False),
        sa.Column("hash", exact(64), nullable=False),
        sa.ForeignKeyConstraint(
            ["resource_id"], ["resources.id"], name=op.f("fk_files_resource_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("resource_id", "path", name=op.f("pk_files")),
        **_OPTIONS,
        if_not_exists=True,
    )
    op.create_table(
        "versions",
        sa.Column("id", BIG, nullable=False),
        sa.Column("resource_id", BIG, nullable=False),
        sa.Column("major", sa.Integer(), nullable=False),
        sa.Column("minor", sa.Integer(), nullable=False),
        sa.Column("patch", sa.Integer(), nullable=False),
        sa.Column("lance_version", BIG, nullable=False),
        sa.Column("content_hash", exact(64), nullable=False),
        sa.Column("state", exact(16), nullable=False),
        sa.Column("num_rows", BIG, nullable=False),
        sa.Column("num_bytes", BIG, nullable=False),
        sa.Column("arrow_schema", BLOB, nullable=False),
        sa.Column("message", LONG_TEXT, nullable=False),
        sa.Column("metadata", JSON, nullable=False),
        sa.Column("provenance", JSON, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("created_by", exact(500), nullable=False),
        sa.Column("operation", exact(32), nullable=False),
        sa.ForeignKeyConstraint(
            ["resource_id"], ["resources.id"], name=op.f("fk_versions_resource_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_versions")),
        sa.UniqueConstraint("resource_id", "lance_version", name=op.f("uq_versions_resource_id_lance_version")),
        sa.UniqueConstraint(
            "resource_id", "major", "minor", "patch", name=op.f("uq_versions_resource_id_major_minor_patch")
        ),
        **_OPTIONS,
        if_not_exists=True,
    )
    add_index("versions", "ix_versions_resource_id_content_hash", ["resource_id", "content_hash"])
    op.create_table(
        "leases",
        sa.Column("id", exact(32), nullable=False),
        sa.Column("resource_id", BIG, nullable=False),
        sa.Column("version_id", BIG, nullable=False),
        sa.Column("node", exact(500), nullable=False),
        sa.Column("pid", BIG, nullable=False),
        sa.Column("user", exact(500), nullable=False),
        sa.Column("command", LONG_TEXT, nullable=False),
        sa.Column("since", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["resource_id"], ["resources.id"], name=op.f("fk_leases_resource_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["version_id"], ["versions.id"], name=op.f("fk_leases_version_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_leases")),
        **_OPTIONS,
        if_not_exists=True,
    )
    add_index("leases", "ix_leases_resource_id_expires_at", ["resource_id", "expires_at"])
    add_index("leases", "ix_leases_version_id", ["version_id"])
    op.create_table(
        "pointers",
        sa.Column("resource_id", BIG, autoincrement=False, nullable=False),
        sa.Column("version_id", BIG, nullable=False),
        sa.ForeignKeyConstraint(
            ["resource_id"], ["resources.id"], name=op.f("fk_pointers_resource_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.id"], name=op.f("fk_pointers_version_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("resource_id", name=op.f("pk_pointers")),
        **_OPTIONS,
        if_not_exists=True,
    )
    add_index("pointers", "ix_pointers_version_id", ["version_id"])
    # The one row that audit rows get their numbers from.
    counters = sa.table("counters", sa.column("name", sa.String), sa.column("value", sa.BigInteger))
    op.bulk_insert(counters, [{"name": "events", "value": 0}])


def downgrade() -> None:
    """Drop them, with all that is in them."""
    op.drop_table("pointers")
    op.drop_table("leases")
    op.drop_table("versions")
    op.drop_table("files")
    op.drop_table("resources")
    op.drop_table("operations")
    op.drop_table("events")
    op.drop_table("counters")
    op.drop_table("commit_locks")
