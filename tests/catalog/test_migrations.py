"""Migrations, on each kind of database: they lead to the schema, keep what is there, and survive a death half way."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command

from alluxio_lance.catalog import DatabaseCatalog, migrating
from alluxio_lance.catalog.engine import create_engine
from alluxio_lance.catalog.migrating import VERSION_TABLE, SchemaStatus, schema_status, upgrade
from alluxio_lance.catalog.schema import metadata
from alluxio_lance.errors import NotFound, Unavailable

_spec = importlib.util.spec_from_file_location("upgrader", Path(__file__).with_name("upgrader.py"))
upgrader = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(upgrader)
difference, migrate, old_rows = upgrader.difference, upgrader.migrate, upgrader.old_rows


@pytest.fixture
def catalog_url(empty_url) -> str:
    """Here every database begins without tables."""
    return empty_url


def test_the_migrations_lead_to_the_schema(catalog):
    """No difference between the migrated database and schema.py; and the comparison would see one."""
    assert difference(catalog) == []
    with catalog.engine.begin() as connection:
        (index,) = [index for index in metadata.tables["versions"].indexes if "content_hash" in index.columns]
        index.drop(connection)
        connection.execute(sa.text("ALTER TABLE files ADD COLUMN surplus INTEGER"))
    assert sorted(change[0] for change in difference(catalog)) == ["add_index", "remove_column"]


def test_the_migrations_can_be_taken_back(catalog_url, catalog):
    """Down to nothing and up again leads to the same schema."""
    for verb, target in ((command.downgrade, "base"), (command.upgrade, "head")):
        migrate(catalog_url, target, verb)
        left = set(sa.inspect(catalog.engine).get_table_names())
        assert left == ({VERSION_TABLE} if target == "base" else {VERSION_TABLE, *metadata.tables})
    assert difference(catalog) == []


def test_opening_again_keeps_what_is_there(catalog_url, catalog, desk):
    """A second process sees what the first one wrote, and an upgrade of a current database does nothing."""
    made = desk.add("1.0.0")
    upgrade(catalog_url)
    with DatabaseCatalog.open(catalog_url) as second:
        assert second.resource("datasets", "cifar10").active == made


def test_upgrade_makes_an_empty_database_a_catalog(catalog_url):
    """What `alluxio-lance catalog upgrade` runs is enough."""
    upgrade(catalog_url)
    engine = sa.create_engine(catalog_url)
    assert set(sa.inspect(engine).get_table_names()) == {VERSION_TABLE, *metadata.tables}
    engine.dispose()


def test_many_processes_open_an_empty_database_at_once(catalog_url):
    """One of them migrates, the others wait; none fails."""
    script = "import sys; sys.stdin.readline()\nfrom alluxio_lance.catalog import DatabaseCatalog\nDatabaseCatalog.open(sys.argv[1]).close()"
    arguments = [sys.executable, "-c", script, catalog_url]
    running = [subprocess.Popen(arguments, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate("go\n", timeout=60)[1] for process in running] == [""] * 3
    with DatabaseCatalog.open(catalog_url) as catalog:
        assert catalog.last_event() == 0


def test_a_newer_schema_is_refused(catalog_url, catalog):
    """A database of a later release is left alone; the sentence says what to do."""
    with catalog.engine.begin() as connection:
        connection.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    for call in (lambda: DatabaseCatalog.open(catalog_url), lambda: upgrade(catalog_url)):
        with pytest.raises(
            Unavailable,
            match=r"written by a newer release .* \(schema '9999', this one knows '0002'\): upgrade alluxio",
        ):
            call()


def test_a_migration_that_another_process_did_meanwhile_is_not_done_again(catalog_url, monkeypatch):
    """Between the first look and the guard somebody else may have been faster."""
    upgrade(catalog_url)
    look, answers = migrating._is_current, iter([False])
    monkeypatch.setattr(migrating, "_is_current", lambda *args: next(answers, None) is not False and look(*args))
    monkeypatch.setattr(migrating.command, "upgrade", None)
    DatabaseCatalog.open(catalog_url).close()
    assert next(answers, "asked twice") == "asked twice"


def test_audit_rows_of_the_first_release_are_chained(catalog_url):
    """The upgrade keeps them, takes request ids from their operations, and the next row follows upon them."""
    migrate(catalog_url, "0001")
    old_rows(catalog_url, 1003)
    assert upgrade(catalog_url) == SchemaStatus("0001", "0002", is_known=True)
    with DatabaseCatalog.open(catalog_url) as catalog:
        report = catalog.verify_audit()
        assert (report.fault, report.rows, report.head) == (None, 1003, 1003)
        first, second = catalog.events(limit=2)
        assert (first.request_id, second.request_id, first.origin, first.outcome) == (None, "r-2", "", "done")
        assert first.name == "ä"
        assert catalog.last_event() == 1003


def test_rows_that_were_missing_before_the_chain_are_still_missing(catalog_url):
    """The upgrade does not launder an older loss: the check names it."""
    migrate(catalog_url, "0001")
    old_rows(catalog_url, 5)
    engine = sa.create_engine(catalog_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM events WHERE sequence = 5")
    engine.dispose()
    with DatabaseCatalog.open(catalog_url) as catalog:
        assert catalog.verify_audit().fault.sequence == 5


def test_a_migration_killed_at_any_statement_is_completed_by_the_next_process(catalog_url):
    """From nothing, and from the first release with rows: whatever the moment of the death, nothing is lost."""
    # On the others all is one transaction: a few deaths show it. MariaDB keeps each table that was made.
    step = 1 if catalog_url.startswith("mariadb") else 5
    done = subprocess.run(
        [sys.executable, upgrader.__file__, catalog_url, str(step)],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    died = [line for line in done.stdout.splitlines() if not line.startswith("{")]
    shown = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    changes = {"CREATE TABLE IF", "INSERT INTO counters", "ALTER TABLE counters", "UPDATE counters SET", "COMMIT"}
    assert step > 1 or changes <= set(died)
    assert len(died) > 5
    # Two runs, on an empty database and on an old one, each with one end that was not a death.
    assert len(shown) == len(died) + 2
    assert {(line["fault"], line["difference"]) for line in shown} == {(None, "[]")}
    assert {line["head"] for line in shown} == {0, 3}


def test_without_leave_to_migrate_nothing_is_made(catalog_url):
    """An empty database stays empty, an old one old; each sentence names the command."""
    with pytest.raises(NotFound, match="there is no catalog at"):
        DatabaseCatalog.open(catalog_url, migrate=False)
    migrate(catalog_url, "0001")
    with pytest.raises(Unavailable, match=r"older release .* \(schema '0001', .*: run `alluxio-lance catalog upgrade`"):
        DatabaseCatalog.open(catalog_url, migrate=False)
    engine, _ = create_engine(catalog_url)
    assert schema_status(engine).found == "0001"
    engine.dispose()
    upgrade(catalog_url)
    with DatabaseCatalog.open(catalog_url, migrate=False) as catalog:
        assert catalog.last_event() == 0
