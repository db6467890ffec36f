"""What Alembic runs: migrate over the connection that the caller gives, inside the caller's transaction."""

from __future__ import annotations

from alembic import context

from alluxio_lance.catalog.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=context.config.attributes["version_table"],
    compare_server_default=True,
)
with context.begin_transaction():
    context.run_migrations()
