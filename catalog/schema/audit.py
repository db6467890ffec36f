"""The tables of the audit trail: its rows, and the counter that numbers and chains them."""

from __future__ import annotations

import sqlalchemy as sa

from alluxio_lance.catalog.chain import GENESIS
from alluxio_lance.catalog.columns import BIG, DIGITS, ID, LONG_TEXT, LONGEST, NAME, SEMVER, STATE, TIME, exact
from alluxio_lance.catalog.schema.base import OPTIONS, metadata

__all__ = ["counters", "events"]

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
    sa.Column("semver", SEMVER, nullable=True),
    sa.Column("message", LONG_TEXT, nullable=False),
    sa.Column("origin", exact(LONGEST), nullable=False),
    sa.Column("request_id", NAME, nullable=True),
    sa.Column("outcome", STATE, nullable=False),
    # The link of the chain, see chain.py.
    sa.Column("hash", DIGITS, nullable=False),
    sa.Index(None, "type", "name", "outcome", "sequence"),
    sa.Index(None, "outcome", "sequence"),
    # What was done to one version: few rows, whatever their type.
    sa.Index(None, "name", "semver", "verb", "outcome"),
    **OPTIONS,
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
    **OPTIONS,
)
