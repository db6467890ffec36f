"""Stages, tags, labels, branches, the cold tier, deletion in two phases, promotions, rules, tokens, offices."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from alembic import op

from alluxio_lance.catalog.columns import BIG, JSON, LONG_TEXT, TIME, exact
from alluxio_lance.catalog.migrations.steps import (
    add_column,
    add_columns,
    add_index,
    drop_index,
    replace_uniques,
    rows_kept,
)

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_OPTIONS: Final[dict[str, Any]] = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_bin"))
} | {"if_not_exists": True}

_BY_BRANCH: Final = {
    f"uq_versions_resource_id_{'_'.join(columns)}": ["resource_id", *columns]
    for columns in (["branch", "major", "minor", "patch", "serial"], ["branch", "lance_version"])
}
_WITHOUT_BRANCH: Final = {
    f"uq_versions_resource_id_{'_'.join(columns)}": ["resource_id", *columns]
    for columns in (["major", "minor", "patch"], ["lance_version"])
}
_DEPENDENTS: Final = ("pointers", "leases")
"""Tables that refer to versions."""


def upgrade() -> None:
    """Add columns and tables; give what is there its values in them.

    Each step may find itself done already, see steps.py.
    """
    _add_columns()
    with rows_kept(*_DEPENDENTS):
        replace_uniques("versions", _BY_BRANCH, list(_WITHOUT_BRANCH))
        with op.batch_alter_table("versions") as batch:
            batch.alter_column("branch", existing_type=exact(63), existing_nullable=False, server_default=None)
            batch.alter_column("serial", existing_type=sa.Integer(), existing_nullable=False, server_default=None)
    add_index("versions", "ix_versions_resource_id_stage_staged_at", ["resource_id", "stage", "staged_at"])
    add_index("versions", "ix_versions_purge_at", ["purge_at"])
    add_index("resources", "ix_resources_purge_at", ["purge_at"])
    add_index("events", "ix_events_name_semver_verb_outcome", ["name", "semver", "verb", "outcome"])
    _add_tables()
    _fill()


def _add_columns() -> None:
    add_column("resources", sa.Column("purge_at", TIME, nullable=True))
    add_columns(
        "operations",
        sa.Column("origin", exact(500), nullable=False, server_default=""),
        sa.Column("progress", JSON, nullable=True),
    )
    add_columns(
        "versions",
        sa.Column("branch", exact(63), nullable=False, server_default=""),
        sa.Column("serial", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("stage", exact(100), nullable=True),
        sa.Column("staged_at", TIME, nullable=True),
        sa.Column("metrics", JSON, nullable=True),
        sa.Column("archived_from", exact(16), nullable=True),
        sa.Column("deleted_from", exact(16), nullable=True),
        sa.Column("archived_at", TIME, nullable=True),
        sa.Column("cold_location", exact(500), nullable=True),
        sa.Column("cold_bytes", BIG, nullable=True),
        sa.Column("read_at", TIME, nullable=True),
        sa.Column("purge_at", TIME, nullable=True),
    )
    # A version on a branch has a longer name. Without defaults: a process of an older release knows no branches.
    with op.batch_alter_table("operations") as batch:
        batch.alter_column("origin", existing_type=exact(500), existing_nullable=False, server_default=None)
        batch.alter_column("result", existing_type=exact(32), type_=exact(120), existing_nullable=True)
    with op.batch_alter_table("events") as batch:
        batch.alter_column("semver", existing_type=exact(32), type_=exact(120), existing_nullable=True)


def _resource() -> tuple[Any, ...]:
    return (sa.Column("resource_id", BIG, autoincrement=False, nullable=False),)


def _of_resource(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["resource_id"], ["resources.id"], name=op.f(f"fk_{table}_resource_id"), ondelete="CASCADE"
    )


def _of_version(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["version_id"], ["versions.id"], name=op.f(f"fk_{table}_version_id"), ondelete="CASCADE"
    )


def _add_tables() -> None:
    _add_names()
    _add_work()
    _add_governing()


def _add_names() -> None:
    op.create_table(
        "tags",
        *_resource(),
        sa.Column("name", exact(100), nullable=False),
        sa.Column("version_id", BIG, nullable=False),
        _of_resource("tags"),
        _of_version("tags"),
        sa.PrimaryKeyConstraint("resource_id", "name", name=op.f("pk_tags")),
        **_OPTIONS,
    )
    add_index("tags", "ix_tags_version_id", ["version_id"])
    op.create_table(
        "labels",
        *_resource(),
        sa.Column("name", exact(100), nullable=False),
        sa.Column("value", exact(500), nullable=False),
        _of_resource("labels"),
        sa.PrimaryKeyConstraint("resource_id", "name", name=op.f("pk_labels")),
        **_OPTIONS,
    )
    op.create_table(
        "branches",
        *_resource(),
        sa.Column("name", exact(63), nullable=False),
        sa.Column("base", exact(120), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("created_by", exact(500), nullable=False),
        _of_resource("branches"),
        sa.PrimaryKeyConstraint("resource_id", "name", name=op.f("pk_branches")),
        **_OPTIONS,
    )


def _add_work() -> None:
    op.create_table(
        "file_spans",
        *_resource(),
        sa.Column("branch", exact(63), nullable=False),
        sa.Column("path", exact(500), nullable=False),
        sa.Column("first", BIG, autoincrement=False, nullable=False),
        sa.Column("last", BIG, nullable=False),
        _of_resource("file_spans"),
        sa.PrimaryKeyConstraint("resource_id", "branch", "path", "first", name=op.f("pk_file_spans")),
        **_OPTIONS,
    )
    add_index("file_spans", "ix_file_spans_resource_id_branch_last", ["resource_id", "branch", "last"])
    op.create_table(
        "fences",
        sa.Column("version_id", BIG, autoincrement=False, nullable=False),
        sa.Column("operation", exact(32), nullable=False),
        _of_version("fences"),
        sa.PrimaryKeyConstraint("version_id", name=op.f("pk_fences")),
        **_OPTIONS,
    )
    add_index("fences", "ix_fences_operation", ["operation"])
    op.create_table(
        "offices",
        sa.Column("name", exact(100), nullable=False),
        sa.Column("holder", exact(500), nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_offices")),
        **_OPTIONS,
    )


def _add_governing() -> None:
    op.create_table(
        "promotions",
        sa.Column("id", exact(32), nullable=False),
        sa.Column("type", exact(200), nullable=False),
        sa.Column("name", exact(200), nullable=False),
        sa.Column("semver", exact(120), nullable=False),
        sa.Column("stage_from", exact(100), nullable=True),
        sa.Column("stage_to", exact(100), nullable=False),
        sa.Column("reason", LONG_TEXT, nullable=False),
        sa.Column("requested_by", exact(500), nullable=False),
        sa.Column("state", exact(16), nullable=False),
        sa.Column("results", JSON, nullable=False),
        sa.Column("decisions", JSON, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("decided_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_promotions")),
        **_OPTIONS,
    )
    add_index("promotions", "ix_promotions_created_at", ["created_at"])
    add_index("promotions", "ix_promotions_type_name_created_at", ["type", "name", "created_at"])
    add_index("promotions", "ix_promotions_state_created_at", ["state", "created_at"])
    op.create_table(
        "rules",
        sa.Column("revision", BIG, autoincrement=False, nullable=False),
        sa.Column("text", LONG_TEXT, nullable=False),
        sa.Column("changed_at", TIME, nullable=False),
        sa.Column("changed_by", exact(500), nullable=False),
        sa.PrimaryKeyConstraint("revision", name=op.f("pk_rules")),
        **_OPTIONS,
    )
    op.create_table(
        "tokens",
        sa.Column("id", exact(32), nullable=False),
        sa.Column("name", exact(500), nullable=False),
        sa.Column("roles", JSON, nullable=False),
        sa.Column("digest", exact(500), nullable=False),
        sa.Column("created_by", exact(500), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=True),
        sa.Column("revoked_at", TIME, nullable=True),
        sa.Column("used_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
        **_OPTIONS,
    )


def _fill() -> None:
    """What was hidden was to be purged at once; counts leave deleted versions out; each file is of all versions there are."""
    op.execute("UPDATE resources SET purge_at = updated_at WHERE hidden AND purge_at IS NULL")
    op.execute(
        "UPDATE resources SET version_count = (SELECT COUNT(*) FROM versions "
        "WHERE versions.resource_id = resources.id AND versions.state <> 'deleted')"
    )
    spans = sa.table("file_spans", *(sa.column(name) for name in ("resource_id", "branch", "path", "first", "last")))
    files = sa.table("files", sa.column("resource_id"), sa.column("path"))
    versions = sa.table("versions", sa.column("resource_id"), sa.column("lance_version"))
    last = sa.select(sa.func.max(versions.c.lance_version)).where(versions.c.resource_id == files.c.resource_id)
    newest = sa.func.coalesce(last.scalar_subquery(), 0)
    op.execute(sa.delete(spans))
    columns = ["resource_id", "branch", "path", "first", "last"]
    all_files = sa.select(files.c.resource_id, sa.literal_column("''"), files.c.path, sa.literal_column("0"), newest)
    op.execute(sa.insert(spans).from_select(columns, all_files))


def downgrade() -> None:
    """Drop them; what an older release cannot know, versions on branches, goes too."""
    for table in ("tokens", "rules", "promotions", "offices", "fences", "file_spans", "branches", "labels", "tags"):
        op.drop_table(table)
    op.execute("DELETE FROM versions WHERE branch <> ''")
    drop_index("events", "ix_events_name_semver_verb_outcome")
    drop_index("resources", "ix_resources_purge_at")
    drop_index("versions", "ix_versions_purge_at")
    with rows_kept(*_DEPENDENTS):
        replace_uniques("versions", _WITHOUT_BRANCH, list(_BY_BRANCH))
        drop_index("versions", "ix_versions_resource_id_stage_staged_at")
        with op.batch_alter_table("versions") as batch:
            for column in ("branch", "serial", "stage", "staged_at", "metrics", "archived_from", "deleted_from"):
                batch.drop_column(column)
            for column in ("archived_at", "cold_location", "cold_bytes", "read_at", "purge_at"):
                batch.drop_column(column)
    # Not in a batch: SQLite would make the table of resources anew, see rows_kept.
    op.drop_column("operations", "origin")
    op.drop_column("operations", "progress")
    op.drop_column("resources", "purge_at")
