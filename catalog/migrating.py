"""Migrations, run by the program itself: an empty or old database is brought up to date when it is opened."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from alluxio_lance.catalog.dialects import WRITES, Database
from alluxio_lance.catalog.engine import closed_on_error, create_engine, translated
from alluxio_lance.catalog.schema import metadata
from alluxio_lance.errors import NotFound, Unavailable

__all__ = ["VERSION_TABLE", "SchemaStatus", "bring_up_to_date", "require_current", "schema_status", "upgrade"]

VERSION_TABLE: Final = "catalog_schema"
"""Where the revision is kept; not Alembic's usual name, which another program may use in the same database."""

_one_at_a_time = threading.Lock()
"""Alembic keeps what it works on in its module: two threads would mix their databases up."""


@dataclass(frozen=True, slots=True)
class SchemaStatus:
    """Which tables a database has, and which this release wants."""

    found: str | None
    """The revision; None when there is no catalog."""
    wanted: str
    is_known: bool
    """False when a newer release wrote it."""

    @property
    def is_current(self) -> bool:
        """Whether this release can work with it as it is."""
        return self.found == self.wanted


def upgrade(url: str) -> SchemaStatus:
    """Bring the database at a URL up to date, and tell how it was before.

    Raises
    ------
    Unavailable
        When it cannot be reached, or a newer release wrote it.
    """
    engine, database = create_engine(url)
    with closed_on_error(engine):
        before = schema_status(engine)
        bring_up_to_date(engine, database)
    engine.dispose()
    return before


def schema_status(engine: sa.Engine) -> SchemaStatus:
    """Look which tables a database has; changes nothing.

    Raises
    ------
    Unavailable
        When it cannot be reached.
    """
    with translated(engine), engine.connect() as connection:
        return _status(connection, ScriptDirectory.from_config(_config()))


def require_current(engine: sa.Engine) -> None:
    """Refuse a database that this release cannot work with as it is.

    Raises
    ------
    NotFound
        When it holds no catalog.
    Unavailable
        When an older or newer release wrote it.
    """
    status = schema_status(engine)
    where = _where(engine)
    if status.found is None:
        raise NotFound(f"there is no catalog at {where}: begin one with `alluxio-lance catalog upgrade`")
    _require_known(status, where)
    if not status.is_current:
        raise Unavailable(
            f"the catalog at {where} was written by an older release of alluxio-lance (schema {status.found!r}, this one "
            f"wants {status.wanted!r}): run `alluxio-lance catalog upgrade`",
            what="catalog",
        )


def bring_up_to_date(engine: sa.Engine, database: Database) -> None:
    """Run the migrations that are missing, while other processes that want the same wait.

    Raises
    ------
    Unavailable
        When a newer release wrote the database.
    """
    config = _config()
    script = ScriptDirectory.from_config(config)
    with translated(engine):
        with engine.begin() as connection:
            is_current = _is_current(connection, script)
        if is_current:
            return
        with (
            _one_at_a_time,
            engine.execution_options(**{WRITES: True}).begin() as connection,
            database.guard(connection),
        ):
            # Asked again behind the guard: another process may have done it while we waited.
            if not _is_current(connection, script):
                _require_no_strangers(connection)
                config.attributes.update(connection=connection, version_table=VERSION_TABLE)
                command.upgrade(config, "head")


def _config() -> Config:
    config = Config()
    # Alembic reads a percent sign as the start of an interpolation.
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _is_current(connection: sa.Connection, script: ScriptDirectory) -> bool:
    status = _status(connection, script)
    _require_known(status, _where(connection.engine))
    return status.is_current


def _status(connection: sa.Connection, script: ScriptDirectory) -> SchemaStatus:
    found = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_revision()
    known = {revision.revision for revision in script.walk_revisions()}
    wanted = script.get_current_head()
    assert wanted is not None
    return SchemaStatus(found, wanted, found is None or found in known)


def _require_known(status: SchemaStatus, where: str) -> None:
    if not status.is_known:
        raise Unavailable(
            f"the catalog at {where} was written by a newer release of alluxio-lance (schema {status.found!r}, this one knows "
            f"{status.wanted!r}): upgrade alluxio-lance on this node",
            what="catalog",
        )


def _require_no_strangers(connection: sa.Connection) -> None:
    """Tell somebody else's tables from those that a migration left half made, which it goes on with.

    Alembic makes its own table before all others. Only MySQL can leave it empty: its tables come into being one by one.
    """
    tables = set(sa.inspect(connection).get_table_names())
    if VERSION_TABLE not in tables and (strange := sorted(tables & metadata.tables.keys())):
        raise Unavailable(
            f"the database at {_where(connection.engine)} belongs to another program (table {strange[0]} already exists): "
            "give the catalog a database of its own",
            what="catalog",
        )


def _where(engine: sa.Engine) -> str:
    return engine.url.render_as_string(hide_password=True)
