"""Audit rows say from where, upon which request and with which outcome, and are chained by hashes, old rows too."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from alluxio_lance.catalog.chain import FIELDS, GENESIS, link
from alluxio_lance.catalog.columns import BIG, TIME, exact
from alluxio_lance.catalog.migrations.steps import add_column, add_index, drop_index

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_PAGE = 1000

_TYPES: dict[str, Any] = {"sequence": BIG, "at": TIME}
_events = sa.table("events", *(sa.column(name, _TYPES.get(name, sa.String())) for name in (*FIELDS, "hash")))
_counters = sa.table("counters", sa.column("name", sa.String), sa.column("value", BIG), sa.column("hash", sa.String))
_operations = sa.table("operations", sa.column("id", sa.String), sa.column("request_id", sa.String))


def upgrade() -> None:
    """Add the columns, chain the rows that are there, and from then on insist on a hash.

    Each step may find itself done already, see steps.py.
    """
    connection = op.get_bind()
    add_column("events", sa.Column("origin", exact(500), nullable=False, server_default=""))
    add_column("events", sa.Column("request_id", exact(200), nullable=True))
    add_column("events", sa.Column("outcome", exact(16), nullable=False, server_default="done"))
    add_column("events", sa.Column("hash", exact(64), nullable=True))
    add_column("counters", sa.Column("hash", exact(64), nullable=False, server_default=GENESIS))
    _chain(connection)
    # Without defaults: a process of an older release must not write rows outside of the chain.
    with op.batch_alter_table("events") as batch:
        batch.alter_column("hash", existing_type=exact(64), nullable=False)
        batch.alter_column("origin", existing_type=exact(500), existing_nullable=False, server_default=None)
        batch.alter_column("outcome", existing_type=exact(16), existing_nullable=False, server_default=None)
    add_index("events", "ix_events_outcome_sequence", ["outcome", "sequence"])
    add_index("events", "ix_events_type_name_outcome_sequence", ["type", "name", "outcome", "sequence"])
    drop_index("events", "ix_events_type_name_sequence")


def _chain(connection: sa.Connection) -> None:
    head = _counters.c.name == "events"
    connection.execute(sa.select(_counters.c.value).where(head).with_for_update())
    asked = sa.select(_operations.c.request_id).where(_operations.c.id == _events.c.operation).scalar_subquery()
    connection.execute(sa.update(_events).values(request_id=asked))
    rest = sa.update(_events).where(_events.c.sequence == sa.bindparam("row")).values(hash=sa.bindparam("link"))
    last, hash = 0, GENESIS
    while rows := connection.execute(_page_after(last)).mappings().all():
        chained = []
        for row in rows:
            last, hash = row["sequence"], link(hash, dict(row))
            chained.append({"row": last, "link": hash})
        connection.execute(rest, chained)
    # The number stays: where rows were cut off before there was a chain, a check of the trail shall say so.
    connection.execute(sa.update(_counters).where(head).values(hash=hash))


def _page_after(last: int) -> sa.Select[*tuple[Any, ...]]:
    return sa.select(_events).where(_events.c.sequence > last).order_by(_events.c.sequence).limit(_PAGE)


def downgrade() -> None:
    """Drop the columns; the rows stay."""
    add_index("events", "ix_events_type_name_sequence", ["type", "name", "sequence"])
    drop_index("events", "ix_events_type_name_outcome_sequence")
    drop_index("events", "ix_events_outcome_sequence")
    with op.batch_alter_table("events") as batch:
        for column in ("hash", "outcome", "request_id", "origin"):
            batch.drop_column(column)
    with op.batch_alter_table("counters") as batch:
        batch.drop_column("hash")
