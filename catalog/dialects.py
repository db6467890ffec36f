"""What differs between SQLite, PostgreSQL and MySQL: opening, locking, and which errors mean "try again". Nothing else does."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any, Final, Protocol

import sqlalchemy as sa
from sqlalchemy.pool import ConnectionPoolEntry

from alluxio_lance.catalog.folding import FOLDED
from alluxio_lance.errors import InvalidArgument, Unavailable

__all__ = ["RELAXED", "WRITES", "Database", "database_of"]

WRITES: Final = "alluxio_lance_writes"
"""The execution option that says that a transaction will write."""
RELAXED: Final = "alluxio_lance_relaxed"
"""The execution option that says that a power failure may take back what the transaction writes."""

_SYNCHRONOUS: Final = "alluxio_lance_synchronous"
_BUSY_SECONDS: Final = 30
_LOCK_SECONDS: Final = 5
"""How long a statement waits for a lock before its transaction begins anew."""
_IDLE_SECONDS: Final = 60
"""How long a transaction may do nothing before the server ends it; none of ours waits for anything but the server."""
_MIGRATION_SECONDS: Final = 300
_GUARD: Final = 7_303_014_615_312_225_893
"""The number of PostgreSQL's advisory lock that guards a migration; any number that nobody else uses."""


class Database(Protocol):
    """One kind of database."""

    extra: str
    """The extra of the package that brings its driver."""

    def url(self, url: sa.URL) -> sa.URL:
        """Choose the driver; refuse what cannot work."""
        ...

    def options(self) -> Mapping[str, Any]:
        """Give the options of ``create_engine``."""
        ...

    def prepare(self, engine: sa.Engine) -> None:
        """Set up an engine and the database behind it, before the first transaction."""
        ...

    def guard(self, connection: sa.Connection) -> Any:
        """Keep other processes from migrating; a context manager around the migration, within its transaction."""
        ...

    def is_lost(self, error: sa.exc.DBAPIError) -> bool:
        """Tell whether a transaction only lost against another one: nothing was changed, and again may work."""
        ...

    def is_gone(self, error: sa.exc.DBAPIError) -> bool:
        """Tell whether the server went away, or may not be written to any more: another connection may work."""
        ...


class _SQLite:
    """One file; writers take turns from the first statement on, readers never wait."""

    extra = "server"

    def url(self, url: sa.URL) -> sa.URL:
        """Refuse a database in memory: each connection would see its own."""
        if not url.database or url.database == ":memory:" or url.query.get("mode") == "memory":
            raise InvalidArgument(
                "an SQLite catalog needs a file, since its connections share it: give sqlite:////absolute/path/catalog.db"
            )
        return url.set(drivername="sqlite+pysqlite")

    def options(self) -> Mapping[str, Any]:
        """Wait for other writers for a while."""
        return {"connect_args": {"timeout": _BUSY_SECONDS, "check_same_thread": False}}

    def prepare(self, engine: sa.Engine) -> None:
        """Take transactions into our own hands, and switch the file to a write-ahead log."""
        sa.event.listen(engine, "connect", _configure_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
        _use_write_ahead_log(engine)

    @contextmanager
    def guard(self, connection: sa.Connection) -> Iterator[None]:
        """Nothing to do: a write transaction keeps all other writers out, and changes of tables are part of it."""
        yield

    def is_lost(self, error: sa.exc.DBAPIError) -> bool:
        """Only an outdated snapshot or a recovery; plain "busy" has waited long enough already."""
        return getattr(error.orig, "sqlite_errorcode", None) in (
            sqlite3.SQLITE_BUSY_SNAPSHOT,
            sqlite3.SQLITE_BUSY_RECOVERY,
        )

    def is_gone(self, error: sa.exc.DBAPIError) -> bool:
        """A file has no server."""
        return False


def _configure_sqlite(connection: sqlite3.Connection, entry: ConnectionPoolEntry) -> None:  # noqa: ARG001 - the event gives it
    # The driver's own transactions begin too late, at the first write: read-then-write would fail instead of waiting.
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON")
    # SQLite's own knows the letters of ASCII only.
    connection.create_function(FOLDED, 1, _folded, deterministic=True)
    # `_begin_sqlite` chooses how it is.
    connection.execute("PRAGMA synchronous = FULL")


def _folded(text: str | None) -> str | None:
    return None if text is None else text.lower()


def _begin_sqlite(connection: sa.Connection) -> None:
    options = connection.get_execution_options()
    if not options.get(WRITES, False):
        connection.exec_driver_sql("BEGIN")
        return
    # With a write-ahead log, less than FULL may lose an acknowledged commit when the power fails, and breaks nothing: the
    # log is whole up to some commit. It can be chosen only between transactions, and stays with the connection.
    wanted = "NORMAL" if options.get(RELAXED, False) else "FULL"
    if connection.info.get(_SYNCHRONOUS, "FULL") != wanted:
        connection.exec_driver_sql(f"PRAGMA synchronous = {wanted}")
        connection.info[_SYNCHRONOUS] = wanted
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _use_write_ahead_log(engine: sa.Engine) -> None:
    """Switch the file, which SQLite does not let wait for others by itself."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            with _raw(engine) as connection:
                (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as error:
            # The low byte: busy has several extended codes.
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(random.uniform(0.01, 0.05))  # noqa: S311 - no secret
        else:
            break
    if mode != "wal":
        raise Unavailable(
            f"SQLite cannot keep a write-ahead log at {engine.url.database} (mode {mode!r}): put the catalog on a local disk",
            what="catalog",
        )


@contextmanager
def _raw(engine: sa.Engine) -> Iterator[sqlite3.Connection]:
    connection = engine.raw_connection()
    try:
        driver = connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        yield driver
    finally:
        connection.close()


class _Server:
    """A database server.

    Transactions see what is committed, statement by statement (READ COMMITTED), on both kinds of server. Writers lock
    the rows that they decide by, and what they read behind such a lock must be what the holder before left: under
    REPEATABLE READ, which is MySQL's own choice, it would be an older snapshot, and MySQL would lock gaps between rows
    as well, over which writers of different resources deadlock. Where several statements read, each is whole in itself.
    """

    extra: str
    drivers: Mapping[str, str]
    settings: str
    """A statement for each new connection."""
    connect_args: Mapping[str, Any]
    """What tells the driver when a server that is silent counts as gone."""

    def url(self, url: sa.URL) -> sa.URL:
        """Choose the driver that the extra brings, unless the URL names one."""
        return url.set(drivername=self.drivers.get(url.drivername, url.drivername))

    def options(self) -> Mapping[str, Any]:
        """Look whether a connection still lives before it is used: servers restart."""
        return {
            "pool_pre_ping": True,
            "pool_recycle": 1800,
            "isolation_level": "READ COMMITTED",
            "connect_args": dict(self.connect_args),
        }

    def prepare(self, engine: sa.Engine) -> None:
        """Have each new connection set up."""
        sa.event.listen(engine, "connect", self._set_up)

    def _set_up(self, connection: Any, entry: ConnectionPoolEntry) -> None:
        with closing(connection.cursor()) as cursor:
            cursor.execute(self.settings)
        connection.commit()


class _PostgreSQL(_Server):
    extra = "postgresql"
    drivers: Mapping[str, str] = {"postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}
    # A node that vanishes in the middle of a transaction must not hold its locks for ever.
    settings = (
        f"SET lock_timeout = '{_LOCK_SECONDS}s'; SET idle_in_transaction_session_timeout = '{_IDLE_SECONDS}s'; "
        "SET tcp_keepalives_idle = 30; SET timezone = 'UTC'"
    )
    connect_args: Mapping[str, Any] = {
        "connect_timeout": 10,
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": 30_000,
    }

    @contextmanager
    def guard(self, connection: sa.Connection) -> Iterator[None]:
        """Hold an advisory lock until the transaction ends; changes of tables are part of it."""
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_MIGRATION_SECONDS}s'")
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_GUARD)))
        yield

    def is_lost(self, error: sa.exc.DBAPIError) -> bool:
        """Lost serialisation, deadlock, and a lock that took too long."""
        return getattr(error.orig, "sqlstate", None) in ("40001", "40P01", "55P03")

    def is_gone(self, error: sa.exc.DBAPIError) -> bool:
        """A dead connection, a server that starts or stops, and one that became a standby (25006)."""
        state = getattr(error.orig, "sqlstate", None)
        if error.connection_invalidated or (state is None and isinstance(error, sa.exc.OperationalError)):
            return True
        return state is not None and (state.startswith("08") or state in ("57P01", "57P02", "57P03", "25006", "53300"))


class _MySQL(_Server):
    extra = "mysql"
    drivers: Mapping[str, str] = {"mysql": "mysql+pymysql", "mariadb": "mariadb+pymysql"}
    # Strict: a text that does not fit is an error, and never cut. Only MariaDB reads the comment.
    settings = (
        "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO', "
        f"time_zone = '+00:00', group_concat_max_len = 1048576, innodb_lock_wait_timeout = {_LOCK_SECONDS} "
        f"/*M!100300 , idle_transaction_timeout = {_IDLE_SECONDS} */"
    )
    # The longest silence of a living server is that of a migration.
    connect_args: Mapping[str, Any] = {"connect_timeout": 10, "read_timeout": 2 * _MIGRATION_SECONDS}

    @contextmanager
    def guard(self, connection: sa.Connection) -> Iterator[None]:
        """Hold a named lock; changes of tables commit by themselves here, so the transaction would not do."""
        name = sa.func.concat("alluxio-lance:", sa.func.md5(sa.func.database()))
        if connection.scalar(sa.select(sa.func.get_lock(name, _MIGRATION_SECONDS))) != 1:
            raise Unavailable(
                "another process has been migrating the catalog for 5 minutes: try again later", what="catalog"
            )
        try:
            yield
        finally:
            connection.execute(sa.select(sa.func.release_lock(name)))

    def is_lost(self, error: sa.exc.DBAPIError) -> bool:
        """Deadlock, a lock that took too long, and MariaDB's "record has changed since last read"."""
        return _code(error) in (1213, 1205, 1020)

    def is_gone(self, error: sa.exc.DBAPIError) -> bool:
        """A dead connection, a server that starts or stops or is full, and one that became a replica (1290, 1836)."""
        return error.connection_invalidated or _code(error) in _GONE_CODES


_GONE_CODES: Final = frozenset(
    {1040, 1053, 1077, 1079, 1158, 1159, 1160, 1161, 1290, 1836, 1927, 2002, 2003, 2006, 2013, 2055, 4031}
)


def _code(error: sa.exc.DBAPIError) -> Any:
    arguments: tuple[Any, ...] = getattr(error.orig, "args", ())
    return arguments[0] if arguments else None


_DATABASES: Final[Mapping[str, Database]] = {
    "sqlite": _SQLite(),
    "postgresql": _PostgreSQL(),
    "postgres": _PostgreSQL(),
    "mysql": _MySQL(),
    "mariadb": _MySQL(),
}


def database_of(url: sa.URL) -> Database | None:
    """Find the kind of database that a URL names; None when it is not one of ours."""
    return _DATABASES.get(url.drivername.partition("+")[0])
