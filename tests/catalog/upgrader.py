"""Dies by SIGKILL before the statements of the migrations in turn: python upgrader.py URL START STEP FIRST.

The database must be empty. Only before every so many statements (STEP), from one of them on (FIRST). Each death is that of a child process. START is where it begins
each time: ``empty``, ``0001`` (the first release, with three audit rows) or ``0002`` (the second one, with something of
everything). After each one line tells what the next process makes of it: JSON with the audit trail's fault and head, how
the tables differ from the schema, and what is left of the rows.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from datetime import UTC, datetime

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


def governed_rows(url: str) -> None:
    """Write what the second release would have written: two resources, one of them hidden, and all that refers to them."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        user = connection.dialect.identifier_preparer.quote("user")
        blob = "'a'::bytea" if connection.dialect.name == "postgresql" else "x'61'"
        for statement in _GOVERNED:
            connection.exec_driver_sql(statement.replace("{user}", user).replace("{blob}", blob))
    engine.dispose()


def kept(catalog: DatabaseCatalog) -> dict | None:
    """Tell what the catalog knows of these rows; None when they were not written."""
    resource = catalog.resource("datasets", "kept")
    if resource is None:
        return None
    hidden = catalog.resource("datasets", "going", deleted=True)
    return {
        "active": resource.active.semver,
        "metadata": resource.active.metadata,
        "versions": [version.semver for version in catalog.versions("datasets", "kept")],
        "deleted": [version.semver for version in catalog.versions("datasets", "kept", deleted=True)],
        "count": resource.versions,
        "holders": [holder.semver for holder in catalog.holders("datasets", "kept")],
        "files": sorted(catalog.known_files("datasets", "kept")),
        "hidden": [version.semver for version in catalog.versions("datasets", "going", deleted=True)],
        "purge": None if hidden is None else str(hidden.purge_at),
        "due": catalog.purgeable(datetime(2026, 2, 1, tzinfo=UTC)),
        "lock": catalog.try_lock("datasets", "going", "3" * 32, 1, steal_from="2" * 32),
    }


def _version(id: int, resource: int, minor: int, state: str) -> str:
    return (
        "INSERT INTO versions (id, resource_id, major, minor, patch, lance_version, content_hash, state, num_rows, "
        "num_bytes, arrow_schema, message, metadata, provenance, created_at, created_by, operation) VALUES "
        f"({id}, {resource}, 1, {minor}, 0, {minor + 1}, '{id:064x}', '{state}', 1, 1, {{blob}}, 'ä', '{{\"k\": 1}}', '{{}}', "
        f"'{WHEN}', 'ada@n', '{id:032x}')"
    )


_GOVERNED = [
    *(
        "INSERT INTO resources (id, type, name, kind, location, hidden, version_count, created_at, updated_at) VALUES "
        f"({id}, 'datasets', '{name}', 'dataset', 'datasets/{name}.lance', {hidden}, {count}, '{WHEN}', '{WHEN}')"
        for id, name, hidden, count in ((1, "kept", "false", 3), (2, "going", "true", 1))
    ),
    _version(1, 1, 0, "registered"),
    _version(2, 1, 1, "deleted"),
    _version(3, 1, 2, "active"),
    _version(4, 2, 0, "registered"),
    "INSERT INTO pointers (resource_id, version_id) VALUES (1, 3)",
    *(
        f"INSERT INTO files (resource_id, path, size, hash) VALUES ({resource}, '{path}', 1, '{'0' * 64}')"
        for resource, path in ((1, "a"), (1, "b"), (2, "a"))
    ),
    (
        "INSERT INTO leases (id, resource_id, version_id, node, pid, {user}, command, since, expires_at) VALUES "
        f"('{'1' * 32}', 1, 3, 'n', 1, 'u', 'c', '{WHEN}', '2100-01-01 00:00:00.000000')"
    ),
    (
        "INSERT INTO commit_locks (type, name, operation, expires_at) VALUES "
        f"('datasets', 'going', '{'2' * 32}', '{WHEN}')"
    ),
]


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


def prepare(url: str, start: str) -> None:
    """Bring an empty database to where it starts from, with rows."""
    if start == "empty":
        return
    migrate(url, "0001")
    old_rows(url, 3)
    if start == "0002":
        migrate(url, start)
        governed_rows(url)


def main(url: str, start: str, step: int, first: int) -> None:
    """Die, look, wipe, and die a step later."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for allowed in range(first, 200, step):
        prepare(url, start)
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
                "kept": kept(catalog),
            }
            metadata.drop_all(catalog.engine)
            with catalog.engine.begin() as connection:
                connection.exec_driver_sql(f"DROP TABLE {VERSION_TABLE}")
        os.write(1, json.dumps(shown).encode() + b"\n")
        if os.WTERMSIG(status) == signal.SIGTERM:
            break


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
