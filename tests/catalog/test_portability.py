"""What keeps the catalog the same on PostgreSQL and MySQL, seen without a server; and that SQLite uses its indexes."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.schema import CreateTable

from alluxio_lance.catalog.dialects import database_of
from alluxio_lance.catalog.schema import metadata
from alluxio_lance.errors import Conflict, Internal, Unavailable
from alluxio_lance.lifecycle.ports import Catalog
from alluxio_lance.values import Verb


@pytest.fixture
def catalog_url(tmp_path) -> str:
    """SQLite, whatever else the contract runs on."""
    return f"sqlite:///{tmp_path}/catalog.db"


_LONGEST_KEY = 3072
"""Bytes, InnoDB."""


@pytest.mark.parametrize("dialect", [mysql.dialect(), postgresql.dialect()], ids=["mysql", "postgresql"])
@pytest.mark.parametrize("table", metadata.sorted_tables, ids=str)
def test_text_compares_by_code_points_everywhere(table, dialect):
    """Every text has a binary collation, every moment its microseconds, every table transactions."""
    ddl = str(CreateTable(table).compile(dialect=dialect))
    texts = ddl.count("VARCHAR")
    if dialect.name == "mysql":
        assert ddl.count("COLLATE utf8mb4_bin") == texts + ddl.count("LONGTEXT") + 1
        assert "ENGINE=InnoDB" in ddl
        assert ddl.count("DATETIME") == ddl.count("DATETIME(6)")
    else:
        assert ddl.count('COLLATE "C"') == texts
        assert "WITH TIME ZONE" not in ddl
    assert "TIMESTAMP WITH TIME ZONE" not in ddl


def _keys() -> list[tuple[str, list[sa.Column]]]:
    keys = []
    for table in metadata.sorted_tables:
        keys += [(str(constraint.name), list(constraint.columns)) for constraint in table.constraints]
        keys += [(str(index.name), list(index.columns)) for index in table.indexes]
    # Sets come in another order in every process, and two that share the tests must list the same ones.
    return sorted(keys, key=lambda key: key[0])


@pytest.mark.parametrize(("name", "columns"), _keys())
def test_keys_fit_into_mysql(name, columns):
    """No key is longer than InnoDB takes, and no name longer than PostgreSQL's 63 characters."""
    size = sum(4 * column.type.length if isinstance(column.type, sa.String) else 8 for column in columns)
    assert size <= _LONGEST_KEY
    assert len(name) <= 63


class _DriverError(Exception):
    """Stands for the errors of drivers whose server cannot be made to fail on demand."""

    def __init__(self, *args, sqlstate=None, sqlite_errorcode=None):
        super().__init__(*args)
        self.sqlstate, self.sqlite_errorcode = sqlstate, sqlite_errorcode


@pytest.mark.parametrize(
    ("url", "error", "lost"),
    [
        ("sqlite:///x", _DriverError("database is locked", sqlite_errorcode=517), True),
        ("sqlite:///x", _DriverError("database is locked", sqlite_errorcode=261), True),
        ("sqlite:///x", _DriverError("database is locked", sqlite_errorcode=5), False),
        ("postgresql+psycopg://h/x", _DriverError("deadlock detected", sqlstate="40P01"), True),
        ("postgresql://h/x", _DriverError("could not serialize access", sqlstate="40001"), True),
        ("postgresql://h/x", _DriverError("disk full", sqlstate="53100"), False),
        ("mysql+pymysql://h/x", _DriverError(1213, "Deadlock found"), True),
        ("mariadb://h/x", _DriverError(1020, "Record has changed since last read"), True),
        ("postgresql://h/x", _DriverError("canceling statement due to lock timeout", sqlstate="55P03"), True),
        ("mysql://h/x", _DriverError(1205, "Lock wait timeout exceeded"), True),
        ("mysql://h/x", _DriverError(1062, "Duplicate entry"), False),
        ("mysql://h/x", _DriverError(), False),
    ],
)
def test_lost_transactions_are_told_from_failed_ones(url, error, lost):
    """Only what another attempt can mend is tried again."""
    wrapped = sa.exc.OperationalError("SELECT 1", {}, error)
    assert database_of(sa.make_url(url)).is_lost(wrapped) is lost


def _failing(kind: type[sa.exc.DBAPIError], driver: _DriverError, times: int):
    attempts = []

    def work(tx):
        attempts.append(tx)
        if len(attempts) <= times:
            raise kind("INSERT", {}, driver)
        return len(attempts)

    return work, attempts


@pytest.mark.parametrize("kind", [sa.exc.IntegrityError, sa.exc.OperationalError])
def test_a_lost_transaction_is_tried_again(catalog, kind):
    """Taken keys and outdated snapshots mean that somebody was faster: look again, a bounded number of times."""
    lost = _DriverError("lost", sqlite_errorcode=517)
    work, _ = _failing(kind, lost, 3)
    assert catalog._write(work) == 4
    work, attempts = _failing(kind, lost, 1000)
    with pytest.raises(Conflict, match="lost against others again and again"):
        catalog._write(work)
    assert len(attempts) == 8


@pytest.mark.parametrize(
    ("failure", "error", "message"),
    [
        (sa.exc.OperationalError("x", {}, _DriverError("disk I/O error\nmore")), Unavailable, r"\(disk I/O error\)"),
        (sa.exc.DatabaseError("x", {}, _DriverError("malformed")), Unavailable, "malformed"),
        (sa.exc.InterfaceError("x", {}, _DriverError()), Unavailable, r"\(_DriverError\)"),
        (sa.exc.ProgrammingError("x", {}, _DriverError("no such column")), Internal, "please report it"),
        (sa.exc.ProgrammingError("x", {}, _DriverError("gone"), connection_invalidated=True), Unavailable, "gone"),
        (sa.exc.TimeoutError("all connections are busy"), Unavailable, "all connections are busy"),
        (sa.exc.NoSuchColumnError("v_x"), Internal, "v_x"),
    ],
)
def test_the_databases_errors_become_ours(catalog, failure, error, message):
    """Nobody above the catalog meets an exception of SQLAlchemy; what is down and what is a fault of ours differ."""

    def work(_):
        raise failure

    with pytest.raises(error, match=message) as caught:
        catalog._read(work)
    assert caught.value.__cause__ is failure


def _plans(catalog: Catalog, call) -> list[str]:
    """Run a call and explain how SQLite ran each of its statements."""
    ran = []
    listener = lambda _c, _k, statement, parameters, *_: ran.append((statement, parameters))  # noqa: E731 - removed again
    sa.event.listen(catalog.engine, "before_cursor_execute", listener)
    call()
    sa.event.remove(catalog.engine, "before_cursor_execute", listener)
    with catalog.engine.connect() as connection:
        explained = [
            connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
            for statement, parameters in ran
            if statement.startswith("SELECT")
        ]
    return [row[3] for rows in explained for row in rows]


@pytest.mark.parametrize(
    ("look", "way"),
    [
        (lambda desk: desk.find(), "SEARCH pointers USING INTEGER PRIMARY KEY"),
        (
            lambda desk: desk.find("1.2.0"),
            "(resource_id=? AND branch=? AND major=? AND minor=? AND patch=? AND serial=?)",
        ),
        (lambda desk: desk.find("1"), "(resource_id=? AND branch=? AND major=?)"),
        (lambda desk: desk.find("1.2"), "(resource_id=? AND branch=? AND major=? AND minor=?)"),
        (lambda desk: desk.find("v1"), "(resource_id=? AND branch=? AND lance_version=?)"),
        (lambda desk: desk.find("sha-00000001"), "(resource_id=? AND content_hash>? AND content_hash<?)"),
        (
            lambda desk: desk.catalog.events(type="datasets", name="cifar10"),
            "(type=? AND name=? AND outcome=? AND sequence>?)",
        ),
        (lambda desk: desk.catalog.holders("datasets", "cifar10"), "(resource_id=? AND expires_at>?)"),
        (lambda desk: desk.catalog.resource("datasets", "cifar10"), "(type=? AND name=?)"),
        (lambda desk: desk.catalog.resources(), "SCAN resources USING INDEX"),
        (lambda desk: desk.catalog.open_operations(), "(state=? AND step>?)"),
        (lambda desk: desk.catalog.resources("datasets", after=("datasets", "a"), limit=9), "(type=? AND name>?)"),
        (lambda desk: desk.catalog.events(), "(outcome=? AND sequence>?)"),
        (lambda desk: desk.catalog.last_event(), "SEARCH events"),
        (
            lambda desk: desk.find("golden"),
            "SEARCH tags USING INDEX sqlite_autoindex_tags_1 (resource_id=? AND name=?)",
        ),
        (lambda desk: desk.find("production"), "(resource_id=? AND stage=?)"),
        (lambda desk: desk.find("exp"), "(resource_id=? AND branch=?)"),
        (lambda desk: desk.find("1.2.0-exp.1"), "branch=? AND major=? AND minor=? AND patch=? AND serial=?)"),
        (
            lambda desk: desk.catalog.last_change("datasets", "cifar10", "1.2.0", Verb.ARCHIVE),
            "(name=? AND semver=? AND verb=? AND outcome=?)",
        ),
        (lambda desk: desk.catalog.purgeable(desk.clock.now), "(purge_at<?)"),
        (lambda desk: desk.catalog.promotions("datasets", "cifar10"), "(type=? AND name=?)"),
        (lambda desk: desk.catalog.promotions(state="waiting"), "(state=?)"),
        (lambda desk: desk.catalog.restoring("datasets", "cifar10", "1.2.0"), "(state=?)"),
        (lambda desk: desk.catalog.note_read("datasets", "cifar10", "1.2.0"), "(type=? AND name=?)"),
    ],
)
def test_looking_uses_indexes(catalog, desk, look, way):
    """No look walks through all versions, leases, operations or events, however many there are."""
    desk.add("1.2.0")
    desk.branch("exp", "1.2.0")
    desk.commit(desk.change(stages={"1.2.0": "production"}, tags={"golden": "1.2.0"}))
    plans = _plans(catalog, lambda: look(desk))
    assert plans
    assert any(way in plan for plan in plans)
    walked = [plan for plan in plans if plan.startswith("SCAN") and not plan.startswith("SCAN resources USING INDEX")]
    assert walked == []
