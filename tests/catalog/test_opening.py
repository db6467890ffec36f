"""Opening, on SQLite: which URLs are understood, and what SQLite is told."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from alluxio_lance.catalog import DatabaseCatalog, dialects, migrating
from alluxio_lance.errors import InvalidArgument, Unavailable


@pytest.fixture
def catalog_url(tmp_path) -> str:
    """SQLite, whatever else the contract runs on."""
    return f"sqlite:///{tmp_path}/catalog.db"


@pytest.mark.parametrize(
    ("url", "error", "message"),
    [
        ("no url", InvalidArgument, "the catalog's URL cannot be read: give sqlite:////"),
        ("mongodb://user:secret@host/x", InvalidArgument, "cannot be kept in 'mongodb'"),
        ("sqlite://", InvalidArgument, "needs a file"),
        ("sqlite:///:memory:", InvalidArgument, "needs a file"),
        ("sqlite:///file:x?mode=memory&uri=true", InvalidArgument, "needs a file"),
        ("sqlite:////nowhere/at/all/catalog.db", Unavailable, "/nowhere/at/all/catalog.db does not answer"),
        ("postgresql+pg8000://host/x", Unavailable, r"pip install 'alluxio-lance\[postgresql\]'"),
        ("postgresql://u:secret@127.0.0.1:1/x", Unavailable, "does not answer"),
        ("mysql://u:secret@127.0.0.1:1/x", Unavailable, "does not answer"),
        ("mariadb://u:secret@127.0.0.1:1/x", Unavailable, "mariadb.* does not answer"),
    ],
)
def test_a_url_that_leads_to_no_catalog(url, error, message):
    """What is wrong is said in a sentence, which never has the password."""
    with pytest.raises(error, match=message) as caught:
        DatabaseCatalog.open(url)
    assert "secret" not in caught.value.message


def test_a_file_that_is_no_database_is_left_alone(tmp_path):
    """Some other file at the catalog's place is refused, and not touched."""
    path = tmp_path / "catalog.db"
    path.write_bytes(b"precious, but no database" * 100)
    with pytest.raises(Unavailable, match="file is not a database"):
        DatabaseCatalog.open(f"sqlite:///{path}")
    assert path.read_bytes() == b"precious, but no database" * 100


def test_another_programs_database_is_left_alone(tmp_path):
    """Tables of somebody else with our names are an error, and nothing is half migrated."""
    path = tmp_path / "catalog.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE events (precious)")
    connection.close()
    with pytest.raises(Unavailable, match=r"belongs to another program \(table events already exists\)"):
        DatabaseCatalog.open(f"sqlite:///{path}")
    engine = sa.create_engine(f"sqlite:///{path}")
    assert sa.inspect(engine).get_table_names() == ["events"]
    engine.dispose()


def test_a_path_with_a_percent_sign(tmp_path):
    """Alembic's interpolation does not see the path."""
    folder = tmp_path / "100% %(here)s"
    folder.mkdir()
    with DatabaseCatalog.open(f"sqlite:///{folder}/catalog.db") as catalog:
        assert catalog.resources() == []
    assert (folder / "catalog.db").exists()


def test_sqlite_keeps_what_it_acknowledged(catalog):
    """Write-ahead log, foreign keys, and a sync at every commit, on every connection."""
    with catalog.engine.connect() as first, catalog.engine.connect() as second:
        for connection in (first, second):
            told = [
                connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("journal_mode", "foreign_keys", "synchronous")
            ]
            assert told == ["wal", 1, 2]


def test_a_file_system_without_a_write_ahead_log_is_refused(tmp_path):
    """Where SQLite cannot share memory, as on network folders, it would be neither safe nor fast."""
    with pytest.raises(Unavailable, match=r"cannot keep a write-ahead log at .* \(mode 'delete'\)"):
        DatabaseCatalog.open(f"sqlite:///file:{tmp_path}/catalog.db?vfs=unix-dotfile&uri=true")


@pytest.fixture
def busy(tmp_path):
    """A database that another connection has locked, and the connection."""
    path = tmp_path / "catalog.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    yield f"sqlite:///{path}", connection
    connection.close()


def test_switching_to_the_write_ahead_log_waits_for_others(busy, monkeypatch):
    """SQLite itself does not wait here; the catalog does."""
    url, other = busy
    waits = []

    def end(seconds: float) -> None:
        waits.append(seconds)
        other.execute("ROLLBACK")

    monkeypatch.setattr(dialects, "_BUSY_SECONDS", 0)
    monkeypatch.setattr(dialects, "time", SimpleNamespace(monotonic=lambda: 0.0, sleep=end))
    DatabaseCatalog.open(url).close()
    assert len(waits) == 1


def test_a_database_that_stays_locked_is_unavailable(busy, monkeypatch):
    """After the time-out the caller is told."""
    url, _ = busy
    monkeypatch.setattr(dialects, "_BUSY_SECONDS", 0)
    with pytest.raises(Unavailable, match="database is locked"):
        DatabaseCatalog.open(url)


def test_a_writer_that_waits_too_long_is_unavailable(tmp_path, monkeypatch):
    """While another process writes, reading goes on, and a writer gets a sentence in the end."""
    monkeypatch.setattr(dialects, "_BUSY_SECONDS", 0)
    with DatabaseCatalog.open(f"sqlite:///{tmp_path}/catalog.db") as catalog:
        other = sqlite3.connect(tmp_path / "catalog.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert catalog.resources() == []
        with pytest.raises(Unavailable, match="database is locked") as caught:
            catalog.try_lock("datasets", "cifar10", "a" * 32, 30)
        assert caught.value.details == {"what": "catalog"}
        other.close()
        assert catalog.try_lock("datasets", "cifar10", "a" * 32, 30) is None


def test_a_closed_catalog_says_so(catalog):
    """Closing twice is fine; using it afterwards is not."""
    catalog.close()
    catalog.close()
    with pytest.raises(Unavailable, match="the catalog is closed"):
        catalog.resources()


def test_migrations_are_shipped(catalog):
    """The files that Alembic needs lie beside the code."""
    folder = Path(migrating.__file__).parent / "migrations"
    assert (folder / "env.py").exists()
    assert (folder / "script.py.mako").exists()
    assert list((folder / "versions").glob("0001_*.py"))
