"""The tables of what is governed: resources, their versions, where each pointer stands, and their files."""

from __future__ import annotations

import sqlalchemy as sa

from alluxio_lance.catalog.columns import (
    BIG,
    BLOB,
    BRANCH,
    DIGITS,
    ID,
    JSON,
    LABEL,
    LONG_TEXT,
    LONGEST,
    NAME,
    STATE,
    TIME,
    exact,
)
from alluxio_lance.catalog.schema.base import OPTIONS, metadata, resource_id, version_id

__all__ = ["file_spans", "files", "pointers", "resources", "versions"]

resources = sa.Table(
    "resources",
    metadata,
    sa.Column("id", BIG, primary_key=True),
    sa.Column("type", NAME, nullable=False),
    sa.Column("name", NAME, nullable=False),
    sa.Column("kind", STATE, nullable=False),
    sa.Column("location", exact(LONGEST), nullable=False),
    # Deleted: out of sight, but its name is taken and its table still there until it is purged.
    sa.Column("hidden", sa.Boolean, nullable=False),
    # How many versions are not deleted. Kept by every commit, so that a list need not count.
    sa.Column("version_count", BIG, nullable=False),
    sa.Column("created_at", TIME, nullable=False),
    sa.Column("updated_at", TIME, nullable=False),
    sa.Column("purge_at", TIME, nullable=True, index=True),
    sa.UniqueConstraint("type", "name"),
    **OPTIONS,
)

versions = sa.Table(
    "versions",
    metadata,
    sa.Column("id", BIG, primary_key=True),
    resource_id(),
    sa.Column("major", sa.Integer, nullable=False),
    sa.Column("minor", sa.Integer, nullable=False),
    sa.Column("patch", sa.Integer, nullable=False),
    sa.Column("lance_version", BIG, nullable=False),
    sa.Column("content_hash", DIGITS, nullable=False),
    sa.Column("state", STATE, nullable=False),
    sa.Column("num_rows", BIG, nullable=False),
    sa.Column("num_bytes", BIG, nullable=False),
    sa.Column("arrow_schema", BLOB, nullable=False),
    sa.Column("message", LONG_TEXT, nullable=False),
    sa.Column("metadata", JSON, nullable=False),
    sa.Column("provenance", JSON, nullable=False),
    sa.Column("created_at", TIME, nullable=False),
    sa.Column("created_by", exact(LONGEST), nullable=False),
    sa.Column("operation", ID, nullable=False),
    # Empty and 0 on the main line.
    sa.Column("branch", BRANCH, nullable=False),
    sa.Column("serial", sa.Integer, nullable=False),
    sa.Column("stage", LABEL, nullable=True),
    # When it took the stage; of one resource and stage no two are the same.
    sa.Column("staged_at", TIME, nullable=True),
    sa.Column("metrics", JSON, nullable=True),
    # What it was before it became archived, and before it became deleted: a version may be both, one after the other.
    sa.Column("archived_from", STATE, nullable=True),
    sa.Column("deleted_from", STATE, nullable=True),
    sa.Column("archived_at", TIME, nullable=True),
    sa.Column("cold_location", exact(LONGEST), nullable=True),
    sa.Column("cold_bytes", BIG, nullable=True),
    sa.Column("read_at", TIME, nullable=True),
    sa.Column("purge_at", TIME, nullable=True, index=True),
    # The branch stands first: what is asked for most, the highest version of one line, is one step in the index.
    sa.UniqueConstraint("resource_id", "branch", "major", "minor", "patch", "serial"),
    sa.UniqueConstraint("resource_id", "branch", "lance_version"),
    sa.Index(None, "resource_id", "content_hash"),
    sa.Index(None, "resource_id", "stage", "staged_at"),
    **OPTIONS,
)

# Its own table, and not a column of resources, since two tables that refer to each other cannot be made in one go.
pointers = sa.Table(
    "pointers",
    metadata,
    resource_id(primary_key=True, autoincrement=False),
    version_id(),
    **OPTIONS,
)

files = sa.Table(
    "files",
    metadata,
    resource_id(primary_key=True, autoincrement=False),
    sa.Column("path", exact(LONGEST), primary_key=True),
    sa.Column("size", BIG, nullable=False),
    sa.Column("hash", DIGITS, nullable=False),
    **OPTIONS,
)

# Which versions list a file, as ranges of Lance versions of one line: most files of a version are those of the one
# before, and a row for each file of each version would be a million rows for a thousand updates. See spans.py.
file_spans = sa.Table(
    "file_spans",
    metadata,
    resource_id(primary_key=True, autoincrement=False),
    sa.Column("branch", BRANCH, primary_key=True),
    sa.Column("path", exact(LONGEST), primary_key=True),
    sa.Column("first", BIG, primary_key=True, autoincrement=False),
    sa.Column("last", BIG, nullable=False),
    sa.Index(None, "resource_id", "branch", "last"),
    **OPTIONS,
)
