"""Migrations, run by the program itself: an empty or old database is brought up to date when it is opened."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from alluxio_lance.catalog.dialects import WRITES, Database
from alluxio_lance.catalog.engine import closed_on_error, create_engine, translated
from alluxio_lance.errors import Unavailable

__all__ = ["VERSION_TABLE", "bring_up_to_date", "upgrade"]

VERSION_TABLE: Final = "catalog_schema"
"""Where the revision is kept; not Alembic's usual name, which another program may use in the same database."""

_one_at_a_time = threading.Lock()
"""Alembic keeps what it works on in its module: two threads would mix their databases up."""


def upgrade(url: str) -> None:
    """Bring the database at a URL up to date.

    Raises
    ------
    Unavailable
        When it cannot be reached, or a newer release wrote it.
    """
    engine, database = create_engine(url)
    with closed_on_error(engine):
        bring_up_to_date(engine, database)
    engine.dispose()


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
                config.attributes.update(connection=connection, version_table=VERSION_TABLE)
                command.upgrade(config, "head")


def _config() -> Config:
    config = Config()
    # Alembic reads a percent sign as the start of an interpolation.
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _is_current(connection: sa.Connection, script: ScriptDirectory) -> bool:
    found = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_revision()
    known = {revision.revision for revision in script.walk_revisions()}
    if found is not None and found not in known:
        where = connection.engine.url.render_as_string(hide_password=True)
        raise Unavailable(
            f"the catalog at {where} was written by a newer release of alluxio-lance (schema {found!r}, this one knows "
            f"{script.get_current_head()!r}): upgrade alluxio-lance on this node",
            what="catalog",
        )
    return found == script.get_current_head()
