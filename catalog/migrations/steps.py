"""Steps of migrations that may be done already: MySQL keeps what was done to its tables when a migration dies half way.

They look first: MySQL knows no CREATE INDEX IF NOT EXISTS.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.schema import CreateColumn

__all__ = ["add_column", "add_columns", "add_index", "drop_index", "replace_uniques", "rows_kept"]


def add_column(table: str, column: sa.Column[Any]) -> None:
    """Add a column."""
    add_columns(table, column)


def add_columns(table: str, *columns: sa.Column[Any]) -> None:
    """Add columns, all at once where the database can: MySQL may go over the whole table for each change."""
    found = {known["name"] for known in sa.inspect(op.get_bind()).get_columns(table)}
    missing = [column for column in columns if column.name not in found]
    dialect = op.get_bind().dialect
    if missing and dialect.name in ("mysql", "mariadb"):
        added = ", ".join(f"ADD COLUMN {CreateColumn(column).compile(dialect=dialect)}" for column in missing)
        op.execute(f"ALTER TABLE {table} {added}")
        return
    for column in missing:
        op.add_column(table, column)


def add_index(table: str, name: str, columns: Sequence[str]) -> None:
    """Add an index; the name is final."""
    if name not in _indexes(table):
        op.create_index(op.f(name), table, list(columns))


def drop_index(table: str, name: str) -> None:
    """Drop an index; the name is final."""
    if name in _indexes(table):
        op.drop_index(op.f(name), table)


def replace_uniques(table: str, new: Mapping[str, Sequence[str]], old: Sequence[str]) -> None:
    """Add constraints that let no two rows agree in some columns, by their names, and drop others; names are final."""
    found = _uniques(table)
    # All at once: SQLite makes the table anew.
    with op.batch_alter_table(table) as batch:
        for name in new.keys() - found:
            batch.create_unique_constraint(op.f(name), list(new[name]))
        for name in found & set(old):
            batch.drop_constraint(op.f(name), type_="unique")


@contextmanager
def rows_kept(*tables: str) -> Iterator[None]:
    """Keep the rows that refer to a table which is made anew within the block.

    SQLite can change a table's constraints only by making it anew, and when it drops the old one it deletes its rows,
    and so what refers to them. (Foreign keys cannot be switched off within a transaction.)
    """
    if op.get_bind().dialect.name != "sqlite":
        yield
        return
    for table in tables:
        op.execute(f"CREATE TEMPORARY TABLE kept_{table} AS SELECT * FROM {table}")  # noqa: S608 - names of ours
    yield
    for table in tables:
        op.execute(f"DELETE FROM {table}")  # noqa: S608 - names of ours
        op.execute(f"INSERT INTO {table} SELECT * FROM kept_{table}")  # noqa: S608 - names of ours
        op.execute(f"DROP TABLE kept_{table}")


def _uniques(table: str) -> set[str]:
    return {str(found["name"]) for found in sa.inspect(op.get_bind()).get_unique_constraints(table)}


def _indexes(table: str) -> set[str | None]:
    return {found["name"] for found in sa.inspect(op.get_bind()).get_indexes(table)}
