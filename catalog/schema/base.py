"""What all tables have in common: one metadata, one way of naming, transactions and foreign keys."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

from alluxio_lance.catalog.columns import BIG

__all__ = ["OPTIONS", "metadata", "resource_id", "version_id"]

metadata: Final = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# InnoDB has transactions and foreign keys; MySQL and MariaDB each read the options under their own name.
OPTIONS: Final[dict[str, Any]] = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_bin"))
}


def resource_id(**options: Any) -> sa.Column[int]:
    """Refer to a resource, and go with it."""
    return sa.Column("resource_id", BIG, sa.ForeignKey("resources.id", ondelete="CASCADE"), nullable=False, **options)


def version_id(**options: Any) -> sa.Column[int]:
    """Refer to a version, and go with it."""
    given = {"index": True, **options}
    return sa.Column("version_id", BIG, sa.ForeignKey("versions.id", ondelete="CASCADE"), nullable=False, **given)
