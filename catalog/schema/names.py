"""The tables of what people call things: tags of versions, labels and branches of resources."""

from __future__ import annotations

import sqlalchemy as sa

from alluxio_lance.catalog.columns import BRANCH, LABEL, LONGEST, SEMVER, TIME, exact
from alluxio_lance.catalog.schema.base import OPTIONS, metadata, resource_id, version_id

__all__ = ["branches", "labels", "tags"]

tags = sa.Table(
    "tags",
    metadata,
    resource_id(primary_key=True, autoincrement=False),
    sa.Column("name", LABEL, primary_key=True),
    version_id(),
    **OPTIONS,
)

labels = sa.Table(
    "labels",
    metadata,
    resource_id(primary_key=True, autoincrement=False),
    sa.Column("name", LABEL, primary_key=True),
    sa.Column("value", exact(LONGEST), nullable=False),
    **OPTIONS,
)

branches = sa.Table(
    "branches",
    metadata,
    resource_id(primary_key=True, autoincrement=False),
    sa.Column("name", BRANCH, primary_key=True),
    sa.Column("base", SEMVER, nullable=False),
    sa.Column("created_at", TIME, nullable=False),
    sa.Column("created_by", exact(LONGEST), nullable=False),
    **OPTIONS,
)
