"""From a URL to an engine, and from the database's errors to ours."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from alluxio_lance.catalog.dialects import Database, database_of
from alluxio_lance.errors import AlluxioLanceError, Internal, InvalidArgument, NotFound, Unavailable

__all__ = ["closed_on_error", "create_engine", "gone", "gone_in_doubt", "require_file", "translated"]

_URLS = "sqlite:////absolute/path/catalog.db, postgresql://user@host/database or mysql://user@host/database"


def create_engine(text: str) -> tuple[sa.Engine, Database]:
    """Make an engine; connects to SQLite, which has settings that are kept in the file.

    Raises
    ------
    InvalidArgument
        When the URL names no database that can be a catalog.
    Unavailable
        When the driver is not installed, or the file cannot be opened.
    """
    url, database = _parsed(text)
    url = database.url(url)
    try:
        engine = sa.create_engine(url, **database.options())
    except ImportError as error:
        raise Unavailable(
            f"the driver of {url.drivername} is not installed: pip install 'alluxio-lance[{database.extra}]'",
            what="catalog",
        ) from error
    with closed_on_error(engine), translated(engine):
        database.prepare(engine)
    return engine, database


def _parsed(text: str) -> tuple[sa.URL, Database]:
    try:
        url = sa.make_url(text)
    except sa.exc.ArgumentError as error:
        # The text may hold a password: it is not repeated.
        raise InvalidArgument(f"the catalog's URL cannot be read: give {_URLS}") from error
    database = database_of(url)
    if database is None:
        raise InvalidArgument(f"a catalog cannot be kept in {url.drivername!r}: give {_URLS}")
    return url, database


@contextmanager
def closed_on_error(engine: sa.Engine) -> Iterator[None]:
    """Let go of the connections when the block fails."""
    try:
        yield
    except BaseException:
        engine.dispose()
        raise


@contextmanager
def translated(engine: sa.Engine) -> Iterator[None]:
    """Turn the database's errors into ours.

    Raises
    ------
    Unavailable
        When the database cannot be reached, is locked for too long, full, or no catalog at all.
    Internal
        When a statement was wrong.
    """
    try:
        yield
    except AlluxioLanceError:
        raise
    except (sa.exc.SQLAlchemyError, sqlite3.Error) as error:
        raise _ours(error, engine) from error


def _ours(error: sa.exc.SQLAlchemyError | sqlite3.Error, engine: sa.Engine) -> AlluxioLanceError:
    cause = getattr(error, "orig", None) or error
    where = engine.url.render_as_string(hide_password=True)
    if _is_down(error):
        return gone(engine, error)
    return Internal(
        f"the catalog at {where} refused a statement ({_first_line(cause)}) - this is a fault of alluxio-lance, please report it"
    )


def gone(engine: sa.Engine, error: Exception) -> Unavailable:
    """Build the error of a database that does not answer."""
    cause = getattr(error, "orig", None) or error
    where = engine.url.render_as_string(hide_password=True)
    return Unavailable(
        f"the catalog at {where} does not answer ({_first_line(cause)}): check that it runs", what="catalog"
    )


def gone_in_doubt(engine: sa.Engine, error: Exception) -> Unavailable:
    """Build the error of a database that went away while a commit was on its way."""
    return Unavailable(
        f"{gone(engine, error).message}; the last change may have gone through: look before you repeat it",
        what="catalog",
        in_doubt=True,
    )


def require_file(text: str) -> None:
    """Refuse an SQLite file that does not exist: connecting would make it.

    Raises
    ------
    NotFound
        When there is none.
    """
    url, _ = _parsed(text)
    if url.get_backend_name() == "sqlite" and not (url.database and Path(url.database).is_file()):
        raise NotFound(f"there is no catalog at {url.database}: check the path, or begin one with `alluxio-lance up`")


def _is_down(error: sa.exc.SQLAlchemyError | sqlite3.Error) -> bool:
    if isinstance(error, sa.exc.DBAPIError):
        # "Not a database" and "malformed" are plain DatabaseErrors, the parent of all kinds.
        plain = type(error) is sa.exc.DatabaseError
        return (
            plain or error.connection_invalidated or isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError)
        )
    return isinstance(error, sa.exc.TimeoutError | sqlite3.DatabaseError)


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
