"""Units of work: one transaction each, tried again when it lost against another one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import sqlalchemy as sa

from alluxio_lance.catalog.dialects import RELAXED, WRITES, Database
from alluxio_lance.catalog.engine import gone, gone_in_doubt, translated
from alluxio_lance.catalog.waiting import PATIENCE, Waiting
from alluxio_lance.errors import Conflict, Internal, Unavailable

__all__ = ["PATIENCE", "AnyQuery", "AnyRow", "Clock", "Transaction", "Transactions", "utc_now"]

T = TypeVar("T")

Clock = Callable[[], datetime]
AnyRow = sa.Row[*tuple[Any, ...]]
AnyQuery = sa.Select[*tuple[Any, ...]]
Values = Mapping[str, Any] | None
"""What the bound parameters of a statement stand for: one that is built once is also compiled once."""


def utc_now() -> datetime:
    """Return the time of this machine, with its zone. Nodes of a cluster need clocks that agree to a second or two."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Transaction:
    """What the statements of one unit of work run in."""

    connection: sa.Connection
    now: datetime
    """One moment for all rows that the unit writes."""

    def run(self, statement: sa.Executable, rows: Any = None) -> sa.CursorResult[Any]:
        """Run a statement."""
        result = self.connection.execute(statement, rows)
        assert isinstance(result, sa.CursorResult)
        return result

    def change(self, statement: sa.Update | sa.Delete, values: Values = None) -> int:
        """Run a statement and return how many rows it matched."""
        return self.run(statement, values).rowcount

    def one(self, statement: AnyQuery, values: Values = None) -> AnyRow | None:
        """Return the first row, if there is one."""
        return self.run(statement, values).first()

    def all(self, statement: AnyQuery, values: Values = None) -> list[AnyRow]:
        """Return all rows."""
        return list(self.run(statement, values).all())

    def value(self, statement: AnyQuery, values: Values = None) -> Any:
        """Return the first column of the first row, if there is one."""
        return self.run(statement, values).scalar()


class Transactions:
    """The part that all parts of the catalog stand on: an engine, a clock, and how to read and write."""

    def __init__(self, engine: sa.Engine, database: Database, clock: Clock, patience: float = PATIENCE) -> None:
        self._engine = engine
        self._writer = engine.execution_options(**{WRITES: True})
        self._relaxed = engine.execution_options(**{WRITES: True, RELAXED: True})
        self._joined = threading.local()
        self._database = database
        self._clock = clock
        self._patience = patience
        self._closed = False

    def together(self, look: Callable[[], T]) -> T:
        """Let everything that ``look`` reads, in this thread, be read in one transaction; see `Catalog.together`.

        Raises
        ------
        Internal
            When it writes.
        """

        def work(tx: Transaction) -> T:
            self._joined.tx = tx
            try:
                return look()
            finally:
                self._joined.tx = None

        return look() if self._shared() is not None else self._run(self._engine, work, work)

    def _shared(self) -> Transaction | None:
        found: Transaction | None = getattr(self._joined, "tx", None)
        return found

    def _read(self, work: Callable[[Transaction], T]) -> T:
        shared = self._shared()
        return self._run(self._engine, work, work) if shared is None else work(shared)

    def _write(self, work: Callable[[Transaction], T], *, in_doubt: Callable[[Transaction], T] | None = None) -> T:
        """Run a unit of work that writes; it may run several times and must not touch anything but the database.

        Parameters
        ----------
        in_doubt
            What to run when the connection was lost while the commit was on its way, so that it may have gone through:
            by default the same work again, which suits all that ends in the same state when it is done twice.

        Raises
        ------
        Conflict
            When it lost against other transactions again and again.
        Unavailable
            When the database stays away.
        """
        return self._run(self._writer, work, in_doubt or work)

    def _note(self, work: Callable[[Transaction], T]) -> T:
        """Run a unit of work that writes what a power failure may take back; a process that is killed takes nothing.

        SQLite need not wait for the disk then. Whatever `_write` commits afterwards takes it to the disk as well.
        """
        return self._run(self._relaxed, work, work)

    def _write_once(self, work: Callable[[Transaction], T]) -> T:
        """Run a unit of work that must not be done twice.

        Raises
        ------
        Unavailable
            Also when the connection was lost while the commit was on its way: then nobody knows whether it went through.
        """
        return self._run(self._writer, work, None)

    def _run(
        self, engine: sa.Engine, work: Callable[[Transaction], T], in_doubt: Callable[[Transaction], T] | None
    ) -> T:
        waiting = Waiting(self._patience)
        with translated(engine):
            while True:
                try:
                    return self._once(engine, work)
                except _LostError as lost:
                    if not waiting.after_a_loss():
                        raise Conflict(
                            "the catalog is so busy that a change lost against others again and again: try again"
                        ) from lost.__cause__
                except _GoneError as away:
                    if away.is_in_doubt and in_doubt is None:
                        raise gone_in_doubt(engine, away.error) from away.error
                    if not waiting.for_the_server():
                        raise gone(engine, away.error) from away.error
                    if away.is_in_doubt and in_doubt is not None:
                        work = in_doubt

    def _once(self, engine: sa.Engine, work: Callable[[Transaction], T]) -> T:
        if self._closed:
            raise Unavailable("the catalog is closed: open it again", what="catalog")
        if self._shared() is not None:
            raise Internal(
                "the catalog was written to by what only reads: this is a fault of alluxio-lance, please report it"
            )
        is_committing = False
        try:
            with engine.connect() as connection, self._dropped_when_gone(connection), connection.begin():
                result = work(Transaction(connection, self._clock()))
                is_committing = True
        except sa.exc.DBAPIError as error:
            if self._is_lost(error):
                raise _LostError from error
            if self._database.is_gone(error):
                raise _GoneError(error, is_in_doubt=is_committing) from error
            raise
        return result

    @contextmanager
    def _dropped_when_gone(self, connection: sa.Connection) -> Iterator[None]:
        """Not back into the pool: a server that is no longer the one to write to may answer all the same."""
        try:
            yield
        except sa.exc.DBAPIError as error:
            if self._database.is_gone(error):
                connection.invalidate(error)
            raise

    def _is_lost(self, error: sa.exc.DBAPIError) -> bool:
        # Somebody else inserted the same key first: the second attempt finds the row and decides by it.
        return isinstance(error, sa.exc.IntegrityError) or self._database.is_lost(error)

    def close(self) -> None:
        """Let go of connections; a second call does nothing."""
        self._closed = True
        self._engine.dispose()


class _LostError(Exception):
    """The transaction was rolled back because of another one."""


class _GoneError(Exception):
    """The server went away before the transaction was at its end."""

    def __init__(self, error: sa.exc.DBAPIError, *, is_in_doubt: bool) -> None:
        super().__init__(str(error))
        self.error = error
        self.is_in_doubt = is_in_doubt
