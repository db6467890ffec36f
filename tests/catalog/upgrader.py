"""Dies by SIGKILL before each statement of the migrations in turn: python upgrader.py URL STEP. The database must be empty.

With a STEP above 1 only before every so many statements. Each death is that of a child process, first on an empty database, then on one of the first release with three audit
rows. After each one line tells what the next process makes of it: JSON with the statement that was never run (null when
the migrations went through), the audit trail's fault and head, and how the tables differ from the schema.
"""

from __future__ import annotations

import json
import os
import signal
import sys

import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from alluxio_lance.catalog import DatabaseCatalog, migrating
from alluxio_lance.catalog.engine import create_engine
from alluxio_lance.catalog.migrating import VERSION_TABLE, upgrade
from alluxio_lance.catalog.schema import metadata

OPTIONS = {"compare_type": True, "compare_server_default": True, "version_table": VERSION_TABLE}
CHANGES = ("CREATE", "ALTER", "INSERT", "UPDATE", "DROP", "COMMIT")
WHEN = "2026-01-02 03:04:05.678901"


def difference(catalog: DatabaseCatalog) -> list:
    """Compare the database with schema.py."""
    with catalog.engine.connect() as connection:
        return compare_metadata(MigrationContext.configure(connection, opts=OPTIONS), metadata)


def migrate(url: str, target: str, verb=command.upgrade) -> None:
    """Run the migrations to a revision, up or down."""
    engine, _ = create_engine(url)
    config = migrating._config()
    with engine.begin() as connection:
        config.attributes.update(connection=connection, version_table=VERSION_TABLE)
        verb(config, target)
    engine.dispose()


def old_rows(url: str, count: int) -> None:
    """Write audit rows, and the operation behind the second one, as the first release wrote them."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for n in range(1, count + 1):
            connection.exec_driver_sql(
                "INSERT INTO events (sequence, at, verb, type, name, actor, operation, semver, message) VALUES "
                f"({n}, '{WHEN}', 'update', 'datasets', 'ä', 'ada@n', '{n:032x}', '1.{n}.0', 'why')"
            )
        connection.exec_driver_sql(
            "INSERT INTO operations (id, verb, type, name, actor, owner_node, owner_boot, owner_pid, owner_started, "
            "params, request_id, state, step, created_at, heartbeat_at) VALUES "
            f"('{2:032x}', 'update', 'datasets', 'ä', 'ada@n', 'n', 'b', 1, 1, '{{}}', 'r-2', 'done', 'settled', "
            f"'{WHEN}', '{WHEN}')"
        )
        connection.exec_driver_sql(f"UPDATE counters SET value = {count}")
    engine.dispose()


def upgrade_until(url: str, allowed: int) -> None:
    """Migrate, but die before the changing statement number ``allowed``."""
    seen = 0

    def count(statement: str) -> None:
        nonlocal seen
        words = statement.split()
        if words[0] not in CHANGES:
            return
        if seen == allowed:
            os.write(1, " ".join(words[:3]).encode() + b"\n")
            os.kill(os.getpid(), signal.SIGKILL)
        seen += 1

    sa.event.listen(sa.Engine, "before_cursor_execute", lambda _c, _k, statement, *_: count(statement))
    sa.event.listen(sa.Engine, "commit", lambda _: count("COMMIT"))
    upgrade(url)
    os.kill(os.getpid(), signal.SIGTERM)


def main(url: str, step: int) -> None:
    """Die, look, wipe, and die a step later."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for rows in (0, 3):
        for allowed in range(0, 200, step):
            if rows:
                migrate(url, "0001")
                old_rows(url, rows)
            child = os.fork()
            if child == 0:
                upgrade_until(url, allowed)
            _, status = os.waitpid(child, 0)
            with DatabaseCatalog.open(url) as catalog:
                report = catalog.verify_audit()
                shown = {
                    "fault": None if report.fault is None else str(report.fault),
                    "head": report.head,
                    "difference": str(difference(catalog)),
                }
                metadata.drop_all(catalog.engine)
                with catalog.engine.begin() as connection:
                    connection.exec_driver_sql(f"DROP TABLE {VERSION_TABLE}")
            os.write(1, json.dumps(shown).encode() + b"\n")
            if os.WTERMSIG(status) == signal.SIGTERM:
                break


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
