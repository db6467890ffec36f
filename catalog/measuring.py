"""What was measured on versions after they were made."""

from __future__ import annotations

import sqlalchemy as sa

from alluxio_lance.catalog.rows import require_listed
from alluxio_lance.catalog.schema import versions
from alluxio_lance.catalog.text import checked_json
from alluxio_lance.catalog.transactions import Transaction
from alluxio_lance.lifecycle.ports import Change

__all__ = ["add_metrics"]


def add_metrics(tx: Transaction, resource: int, change: Change) -> None:
    """Add, replace and (None) remove metrics. The caller has locked the resource's row.

    Raises
    ------
    NotFound
        When there is no such version.
    InvalidArgument
        When they are no JSON.
    """
    for semver, measured in change.metrics.items():
        row = require_listed(tx, resource, f"{change.type}/{change.name}", semver)
        merged = {**(row.metrics or {}), **measured}
        kept = checked_json("metrics", {key: value for key, value in merged.items() if value is not None})
        tx.change(sa.update(versions).where(versions.c.id == row.id).values(metrics=kept))
