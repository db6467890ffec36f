"""Steps of migrations that may be done already: MySQL keeps what was done to its tables when a migration dies half way.

They look first: MySQL knows no CREATE INDEX IF NOT EXISTS.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

__all__ = ["add_column", "add_index", "drop_index"]


def add_column(table: str, column: sa.Column[Any]) -> None:
    """Add a column."""
    if column.name not in {found["name"] for found in sa.inspect(op.get_bind()).get_columns(table)}:
        op.add_column(table, column)


def add_index(table: str, name: str, columns: Sequence[str]) -> None:
    """Add an index; the name is final."""
    if name not in _indexes(table):
        op.create_index(op.f(name), table, list(columns))


def drop_index(table: str, name: str) -> None:
    """Drop an index; the name is final."""
    if name in _indexes(table):
        op.drop_index(op.f(name), table)


def _indexes(table: str) -> set[str | None]:
    return {found["name"] for found in sa.inspect(op.get_bind()).get_indexes(table)}
