"""The catalog: the metadata database, on SQLite, PostgreSQL or MySQL."""

from __future__ import annotations

from alluxio_lance.catalog.database import DatabaseCatalog

__all__ = ["DatabaseCatalog"]
