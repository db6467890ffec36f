"""The kinds of columns, the same on SQLite, PostgreSQL and MySQL. Migrations use them too: what is released stays."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql

__all__ = [
    "BIG",
    "BLOB",
    "BRANCH",
    "DIGITS",
    "ID",
    "JSON",
    "LABEL",
    "LONGEST",
    "LONG_TEXT",
    "NAME",
    "SEMVER",
    "STATE",
    "TIME",
    "UtcDateTime",
    "exact",
]

LONGEST: Final = 500
"""Characters of the longest column that is part of a key (MySQL keys end at 3072 bytes, four per character)."""


def exact(length: int) -> sa.types.TypeEngine[str]:
    """Text that is compared and sorted by its code points: upper and lower case differ on every database."""
    return (
        sa.String(length)
        .with_variant(postgresql.VARCHAR(length, collation="C"), "postgresql")
        .with_variant(mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")
    )


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """A moment, kept as UTC without a zone and with microseconds; Python sees it with its zone."""

    impl = sa.DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        """MySQL keeps whole seconds unless told otherwise."""
        if dialect.name in ("mysql", "mariadb"):
            return dialect.type_descriptor(mysql.DATETIME(fsp=6))
        return dialect.type_descriptor(sa.DateTime())

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Turn a moment of any zone into UTC."""
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Say that it is UTC."""
        return None if value is None else value.replace(tzinfo=UTC)


# SQLite counts up only columns whose type is exactly INTEGER (which has 64 bits there).
BIG: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
ID: Final = exact(32)
DIGITS: Final = exact(64)
NAME: Final = exact(200)
STATE: Final = exact(16)
LABEL: Final = exact(100)
"""A stage, a tag, or the key of a label."""
BRANCH: Final = exact(63)
SEMVER: Final = exact(120)
"""MAJOR.MINOR.PATCH-BRANCH.N at its longest has 104 characters."""
TIME: Final = UtcDateTime()
JSON: Final = sa.JSON()
# MySQL's plain TEXT and BLOB end at 64 KiB.
LONG_TEXT: Final = sa.Text().with_variant(
    mysql.LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb"
)
BLOB: Final = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")
