"""What only a database server does: it hands out deadlocks and time-outs, and has settings that a catalog must not inherit."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from alluxio_lance.catalog.schema import counters
from alluxio_lance.errors import Conflict

KINDS = [pytest.param(kind, marks=getattr(pytest.mark, kind)) for kind in ("postgresql", "mariadb")]


@pytest.fixture(params=KINDS)
def catalog_url(request, databases, tmp_path) -> Iterator[str]:
    """A database with tables and no rows on a server."""
    with databases.clean(request.param, tmp_path) as url:
        yield url


@pytest.fixture
def rows(catalog):
    """Two rows to lock."""
    with catalog.engine.begin() as connection:
        connection.execute(sa.insert(counters), [{"name": "a", "value": 0}, {"name": "b", "value": 0}])


def _add(tx, name: str) -> None:
    tx.change(sa.update(counters).where(counters.c.name == name).values(value=counters.c.value + 1))


def _values(catalog) -> list[int]:
    query = sa.select(counters.c.value).where(counters.c.name.in_(["a", "b"]))
    return [row.value for row in catalog._read(lambda tx: tx.all(query))]


def test_of_a_deadlock_both_get_through(catalog, rows):
    """Two transactions that lock two rows in opposite order: the one that the server ends begins anew."""
    attempts, meet = [], threading.Barrier(2)

    def work(tx, first: str, second: str) -> None:
        attempts.append(first)
        _add(tx, first)
        # Only the first time: then both hold one row and want the other.
        if attempts.count(first) == 1:
            meet.wait(20)
        _add(tx, second)

    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(catalog._write, lambda tx: work(tx, "a", "b"))
        other = pool.submit(catalog._write, lambda tx: work(tx, "b", "a"))
        one.result(60)
        other.result(60)
    assert len(attempts) > 2
    assert _values(catalog) == [2, 2]


def test_a_lock_that_is_held_for_too_long_is_a_conflict_and_then_free(catalog, rows):
    """A transaction that waits in vain begins anew a bounded number of times, and changes nothing."""
    impatient = {"postgresql": "SET LOCAL lock_timeout = '50ms'", "mariadb": "SET innodb_lock_wait_timeout = 0"}

    def work(tx) -> None:
        _add(tx, "b")
        tx.connection.exec_driver_sql(impatient[tx.connection.dialect.name])
        _add(tx, "a")

    with catalog.engine.begin() as holder:
        holder.execute(sa.update(counters).where(counters.c.name == "a").values(value=7))
        with pytest.raises(Conflict, match="lost against others again and again"):
            catalog._write(work)
    assert sorted(_values(catalog)) == [0, 7]
    catalog._write(work)
    assert sorted(_values(catalog)) == [1, 8]


SETTINGS = {
    "postgresql": {
        "SHOW transaction_isolation": "read committed",
        "SHOW lock_timeout": "5s",
        "SHOW idle_in_transaction_session_timeout": "1min",
        "SHOW timezone": "UTC",
    },
    "mariadb": {
        "SELECT @@tx_isolation": "READ-COMMITTED",
        "SELECT @@innodb_lock_wait_timeout": 5,
        "SELECT @@idle_transaction_timeout": 60,
        "SELECT @@time_zone": "+00:00",
        "SELECT @@sql_mode LIKE '%%STRICT_ALL_TABLES%%'": 1,
        "SELECT @@character_set_connection": "utf8mb4",
    },
}


def test_each_connection_is_set_up(catalog):
    """Whatever the server's own settings are, transactions of the catalog have these, also on a second connection."""
    with catalog.engine.connect() as first, catalog.engine.connect() as second:
        for connection in (first, second):
            wanted = SETTINGS[connection.dialect.name]
            assert {query: connection.exec_driver_sql(query).scalar() for query in wanted} == wanted


def test_what_stands_behind_a_lock_is_what_the_holder_left(catalog, rows):
    """A transaction that looked before it waited sees the new state afterwards: its snapshot is not older than its lock."""
    looked, waiting = threading.Event(), threading.Event()

    def late(tx) -> list[int]:
        value = sa.select(counters.c.value).where(counters.c.name == "b")
        before = tx.value(value)
        looked.set()
        assert waiting.wait(20)
        tx.one(sa.select(counters.c.name).where(counters.c.name == "a").with_for_update())
        return [before, tx.value(value)]

    with ThreadPoolExecutor(1) as pool:
        with catalog.engine.begin() as holder:
            holder.execute(sa.update(counters).values(value=7))
            result = pool.submit(catalog._write, late)
            assert looked.wait(20)
            waiting.set()
        assert result.result(20) == [0, 7]
