"""Units of work: one transaction each, tried again when it lost against another one."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import sqlalchemy as sa

from alluxio_lance.catalog.dialects import WRITES, Database
from alluxio_lance.catalog.engine import translated
from alluxio_lance.errors import Conflict, Unavailable

__all__ = ["AnyQuery", "AnyRow", "Clock", "Transaction", "Transactions", "utc_now"]

T = TypeVar("T")

Clock = Callable[[], datetime]
AnyRow = sa.Row[*tuple[Any, ...]]
AnyQuery = sa.Select[*tuple[Any, ...]]
_ATTEMPTS: Final = 8


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

    def change(self, statement: sa.Update | sa.Delete) -> int:
        """Run a statement and return how many rows it matched."""
        return self.run(statement).rowcount

    def one(self, statement: AnyQuery) -> AnyRow | None:
        """Return the first row, if there is one."""
        return self.run(statement).first()

    def all(self, statement: AnyQuery) -> list[AnyRow]:
        """Return all rows."""
        return list(self.run(statement).all())

    def value(self, statement: AnyQuery) -> Any:
        """Return the first column of the first row, if there is one."""
        return self.run(statement).scalar()


class Transactions:
    """The part that all parts of the catalog stand on: an engine, a clock, and how to read and write."""

    def __init__(self, engine: sa.Engine, database: Database, clock: Clock) -> None:
        self._engine = engine
        self._writer = engine.execution_options(**{WRITES: True})
        self._database = database
        self._clock = clock
        self._closed = False

    def _read(self, work: Callable[[Transaction], T]) -> T:
        return self._once(self._engine, work)

    def _write(self, work: Callable[[Transaction], T]) -> T:
        """Run a unit of work that writes; it may run several times and must not touch anything but the database.

        Raises
        ------
        Conflict
            When it lost against other transactions again and again.
        """
        for attempt in range(_ATTEMPTS):
            try:
                return self._once(self._writer, work)
            except _LostError as lost:
                error = lost
            # Jitter, so that the two do not meet again.
            time.sleep(random.uniform(0, 0.005 * 2**attempt))  # noqa: S311 - no secret
        raise Conflict("the catalog is so busy that a change lost against others again and again: try again") from error

    def _once(self, engine: sa.Engine, work: Callable[[Transaction], T]) -> T:
        if self._closed:
            raise Unavailable("the catalog is closed: open it again", what="catalog")
        with translated(engine):
            try:
                with engine.begin() as connection:
                    return work(Transaction(connection, self._clock()))
            except sa.exc.DBAPIError as error:
                if self._is_lost(error):
                    raise _LostError from error
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
