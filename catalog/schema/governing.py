"""The tables of who may do what, and of what has to hold before it is done: promotions, rules, tokens."""

from __future__ import annotations

import sqlalchemy as sa

from alluxio_lance.catalog.columns import BIG, ID, JSON, LABEL, LONG_TEXT, LONGEST, NAME, SEMVER, STATE, TIME, exact
from alluxio_lance.catalog.schema.base import OPTIONS, metadata

__all__ = ["promotions", "rules", "tokens"]

promotions = sa.Table(
    "promotions",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("type", NAME, nullable=False),
    sa.Column("name", NAME, nullable=False),
    sa.Column("semver", SEMVER, nullable=False),
    sa.Column("stage_from", LABEL, nullable=True),
    sa.Column("stage_to", LABEL, nullable=False),
    sa.Column("reason", LONG_TEXT, nullable=False),
    sa.Column("requested_by", exact(LONGEST), nullable=False),
    sa.Column("state", STATE, nullable=False),
    sa.Column("results", JSON, nullable=False),
    sa.Column("decisions", JSON, nullable=False),
    sa.Column("created_at", TIME, nullable=False, index=True),
    sa.Column("decided_at", TIME, nullable=True),
    sa.Index(None, "type", "name", "created_at"),
    sa.Index(None, "state", "created_at"),
    **OPTIONS,
)

# All revisions: the audit trail names them by their number, and somebody will ask what stood in one.
rules = sa.Table(
    "rules",
    metadata,
    sa.Column("revision", BIG, primary_key=True, autoincrement=False),
    sa.Column("text", LONG_TEXT, nullable=False),
    sa.Column("changed_at", TIME, nullable=False),
    sa.Column("changed_by", exact(LONGEST), nullable=False),
    **OPTIONS,
)

tokens = sa.Table(
    "tokens",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("name", exact(LONGEST), nullable=False),
    sa.Column("roles", JSON, nullable=False),
    sa.Column("digest", exact(LONGEST), nullable=False),
    sa.Column("created_by", exact(LONGEST), nullable=False),
    sa.Column("created_at", TIME, nullable=False),
    sa.Column("expires_at", TIME, nullable=True),
    sa.Column("revoked_at", TIME, nullable=True),
    sa.Column("used_at", TIME, nullable=True),
    **OPTIONS,
)
