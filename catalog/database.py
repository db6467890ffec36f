"""The catalog in a database: its parts joined, and the way to open it."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

import sqlalchemy as sa

from alluxio_lance.catalog.auditing import Auditing
from alluxio_lance.catalog.changing import Changing
from alluxio_lance.catalog.engine import closed_on_error, create_engine, require_file
from alluxio_lance.catalog.fences import Fences
from alluxio_lance.catalog.history import History
from alluxio_lance.catalog.leases import Leases
from alluxio_lance.catalog.locks import Locks
from alluxio_lance.catalog.migrating import bring_up_to_date, require_current
from alluxio_lance.catalog.offices import Offices
from alluxio_lance.catalog.operations import Operations
from alluxio_lance.catalog.promotions import Promotions
from alluxio_lance.catalog.reading import Reading
from alluxio_lance.catalog.reads import Reads
from alluxio_lance.catalog.rulebook import RuleBook
from alluxio_lance.catalog.tokens import Tokens
from alluxio_lance.catalog.transactions import PATIENCE, Clock, utc_now

if TYPE_CHECKING:
    from alluxio_lance.lifecycle.ports import Catalog

__all__ = ["DatabaseCatalog"]


class DatabaseCatalog(
    Operations,
    Locks,
    Reading,
    Reads,
    History,
    Changing,
    Fences,
    Leases,
    Promotions,
    RuleBook,
    Tokens,
    Offices,
    Auditing,
):
    """The metadata database: the only truth of state. Every method is one transaction.

    Implements `alluxio_lance.lifecycle.ports.Catalog` on SQLite, PostgreSQL and MySQL (MariaDB). Threads may share it.
    Every method raises `Unavailable` when the database does not answer, and `Conflict` when a change lost against other
    processes again and again. A connection that was lost is made anew, and the transaction runs again where that cannot
    do anything twice; no method raises for a change that went through, unless its message says that it is not known.
    """

    @classmethod
    def open(cls, url: str, *, clock: Clock = utc_now, migrate: bool = True, patience: float = PATIENCE) -> Self:
        """Open a catalog; an empty or old database is brought up to date first.

        Parameters
        ----------
        url
            ``sqlite:////absolute/path/catalog.db``, ``postgresql://user@host/database``,
            ``mysql://user@host/database`` or ``mariadb://user@host/database``.
        clock
            Where the time comes from; with a zone.
        migrate
            False leaves the tables as they are, and refuses those of another release.
        patience
            Seconds for which a method waits for a database server that is away, before it raises `Unavailable`.

        Raises
        ------
        InvalidArgument
            When the URL names no database that can be a catalog.
        NotFound
            When there is no catalog in the database, and it may not be made.
        Unavailable
            When the database cannot be reached, its driver is not installed, or another release wrote it.
        """
        if not migrate:
            require_file(url)
        engine, database = create_engine(url)
        with closed_on_error(engine):
            if migrate:
                bring_up_to_date(engine, database)
            else:
                require_current(engine)
        return cls(engine, database, clock, patience)

    @property
    def engine(self) -> sa.Engine:
        """The engine below, for people who want SQLAlchemy itself."""
        return self._engine

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


if TYPE_CHECKING:

    def _satisfies_the_port(catalog: DatabaseCatalog) -> Catalog:
        return catalog
