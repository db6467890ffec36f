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
from alluxio_lance.values import Verb

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
            match=r"written by a newer release .* \(schema '9999', this one knows '0003'\): upgrade alluxio",
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
    assert upgrade(catalog_url) == SchemaStatus("0001", "0003", is_known=True)
    with DatabaseCatalog.open(catalog_url) as catalog:
        report = catalog.verify_audit()
        assert (report.fault, report.rows, report.head) == (None, 1003, 1003)
        first, second = catalog.events(limit=2)
        assert (first.request_id, second.request_id, first.origin, first.outcome) == (None, "r-2", "", "done")
        assert first.name == "ä"
        assert catalog.last_event() == 1003


KEPT = {
    "active": "1.2.0",
    "metadata": {"k": 1},
    "versions": ["1.2.0", "1.0.0"],
    "deleted": ["1.1.0"],
    "count": 2,
    "holders": ["1.2.0"],
    "files": ["a", "b"],
    "hidden": ["1.0.0"],
    "purge": "2026-01-02 03:04:05.678901+00:00",
    "due": [["datasets", "going", None]],
    "lock": None,
}
"""What is left of the second release's rows: all, and what was being deleted is due to be purged."""


def test_what_the_second_release_wrote_is_kept(catalog_url, desk_of):
    """Resources, versions, pointers, files, leases, locks; and the catalog works on with them, down and up again."""
    migrate(catalog_url, "0001")
    old_rows(catalog_url, 3)
    migrate(catalog_url, "0002")
    upgrader.governed_rows(catalog_url)
    for _ in range(2):
        with DatabaseCatalog.open(catalog_url) as catalog:
            assert json.loads(json.dumps(upgrader.kept(catalog))) == KEPT
            assert difference(catalog) == []
        migrate(catalog_url, "0002", command.downgrade)
    with DatabaseCatalog.open(catalog_url) as catalog:
        desk = desk_of(catalog)
        desk.numbers = iter([4])
        desk.add("1.3.0", "kept", files=0)
        # Who knows which of them listed what: the files stay until all of them are gone.
        desk.commit(desk.change(Verb.PURGE, "kept", remove_versions=("1.0.0", "1.1.0")))
        assert sorted(catalog.known_files("datasets", "kept")) == ["a", "b"]
        desk.commit(desk.change(Verb.PURGE, "kept", remove_versions=("1.2.0",)))
        assert catalog.known_files("datasets", "kept") == {}


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


STARTS = [("empty", 0, 6, 0), ("0001", 3, 4, 0), ("0002", 3, 3, 0), ("0002", 3, 3, 1), ("0002", 3, 3, 2)]
"""From where, how many audit rows there are, and before which statements MariaDB dies: of 0003 before each."""


@pytest.mark.parametrize(("start", "head", "step", "first"), STARTS)
def test_a_migration_killed_at_any_statement_is_completed_by_the_next_process(catalog_url, start, head, step, first):
    """From nothing, and from both releases before with rows: whatever the moment of the death, nothing is lost."""
    # On the others all is one transaction: a few deaths show it. MariaDB keeps each change of a table.
    every = step if catalog_url.startswith("mariadb") else 12
    done = subprocess.run(
        [sys.executable, upgrader.__file__, catalog_url, start, str(every), str(first)],
        capture_output=True,
        text=True,
        timeout=290,
        check=False,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    died = [line for line in done.stdout.splitlines() if not line.startswith("{")]
    shown = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(died) > 2
    # One end was not a death.
    assert len(shown) == len(died) + 1
    kept = KEPT if start == "0002" else None
    wanted = {"fault": None, "head": head, "difference": "[]", "kept": kept}
    assert [line for line in shown if line != wanted] == []


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
