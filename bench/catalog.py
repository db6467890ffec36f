"""How much a million versions cost the catalog: each look beside the same look at a catalog with almost nothing in it.

Run it as ``python -m alluxio_lance.bench.catalog [--versions N] [--rounds N] [--engine NAME …]``. The versions are made
by the database itself, past the catalog's own ways; the looks and commits go through them. Both catalogs live on the
same server and take turns call by call, so that whatever else the machine does meets both.
"""

from __future__ import annotations

import argparse
import gc
import random
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from alluxio_lance.bench.servers import SERVERS
from alluxio_lance.catalog import DatabaseCatalog
from alluxio_lance.errors import NotFound
from alluxio_lance.lifecycle.ports import Change, Draft, Operation, Owner, Snapshot
from alluxio_lance.lifecycle.uri import ResourceName, parse_selector
from alluxio_lance.values import Verb

__all__ = ["main"]

_EACH: Final = 100
"""Versions of an ordinary resource."""
_PATCHES: Final = 10
"""Versions that share a minor number: what ``@1.4`` chooses from."""
_PAGE: Final = 100
_LIMIT_RATIO: Final = 3.0
_LIMIT_PAGE: Final = 0.05
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """A catalog, and how many resources are in it: ``datasets/r0`` is the big one, the others have `_EACH` versions."""

    catalog: DatabaseCatalog
    resources: int
    big: int
    """Versions of the big one."""

    def some(self) -> str:
        """Name an ordinary resource."""
        return f"r{random.randrange(1, self.resources)}"  # noqa: S311 - no secret


@dataclass(frozen=True, slots=True)
class Result:
    """One look at both catalogs: seconds of each call."""

    look: str
    small: list[float]
    large: list[float]

    @property
    def ratio(self) -> float:
        """How many times longer the large catalog takes, at the 99th percentile."""
        return _p99(self.large) / _p99(self.small)

    @property
    def is_fast(self) -> bool:
        """Whether the look meets what is promised of it."""
        if self.look.startswith("find"):
            return self.ratio < _LIMIT_RATIO
        return not self.look.startswith("list") or _p99(self.large) < _LIMIT_PAGE


def _find(shelf: Shelf, name: str, selector: str) -> None:
    shelf.catalog.find(ResourceName("datasets", name, parse_selector(selector)))


def _miss(shelf: Shelf) -> None:
    try:
        _find(shelf, "x1", "active")
    except NotFound:
        return
    raise AssertionError("x1 was found")


def _commit(shelf: Shelf) -> None:
    """Bring one more version into the big resource."""
    number = 1_000_000 + int(time.monotonic_ns() // 1000 % 900_000_000)
    now = datetime.now(UTC)
    operation = Operation(
        id=uuid.uuid4().hex,
        verb=Verb.UPDATE,
        type="datasets",
        name="r0",
        actor="bench",
        owner=Owner(node="bench", boot="b", pid=1, started=1),
        params={},
        created_at=now,
        heartbeat_at=now,
    )
    snapshot = Snapshot(
        version=number, schema=b"s", num_rows=1, num_bytes=1, files=(), content_hash=uuid.uuid4().hex * 2
    )
    draft = Draft(semver=(9, 0, number), snapshot=snapshot, message="", metadata={}, provenance={})
    change = Change(
        verb=Verb.UPDATE, type="datasets", name="r0", actor="bench", message="", draft=draft, activate=f"9.0.{number}"
    )
    shelf.catalog.begin(operation)
    shelf.catalog.commit(operation.id, change, locked=False)


LOOKS: Final[Mapping[str, Callable[[Shelf], object]]] = {
    "find @active": lambda shelf: _find(shelf, shelf.some(), "active"),
    "find @1.4": lambda shelf: _find(shelf, shelf.some(), "1.4"),
    "find @active, big resource": lambda shelf: _find(shelf, "r0", "active"),
    "find @1.4, big resource": lambda shelf: _find(shelf, "r0", "1.4"),
    "find @production, big resource": lambda shelf: _find(shelf, "r0", "production"),
    "find @golden, big resource": lambda shelf: _find(shelf, "r0", "golden"),
    "find @exp, big resource": lambda shelf: _find(shelf, "r0", "exp"),
    "list, a page of 100": lambda shelf: shelf.catalog.resources(
        "datasets", after=("datasets", shelf.some()), limit=_PAGE
    ),
    "a name that is not there": _miss,
    "commit, big resource": _commit,
}


def _fill(catalog: DatabaseCatalog, versions: int) -> Shelf:
    """Make versions: a tenth of them of one resource, `_EACH` of each other one."""
    big = max(_EACH, versions // 10)
    resources = 1 + max(2, (versions - big) // _EACH)
    with catalog.engine.begin() as connection:
        now = "'2026-01-02 03:04:05.678901'"
        connection.exec_driver_sql(
            f"WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {resources}) "  # noqa: S608 - numbers of ours
            "INSERT INTO resources (id, type, name, kind, location, hidden, version_count, created_at, updated_at) "
            f"SELECT i + 1, 'datasets', 'r' || i, 'dataset', 'datasets/r' || i, false, "
            f"CASE WHEN i = 0 THEN {big} ELSE {_EACH} END, {now}, {now} FROM n"
        )
        for first, count, each in ((0, big, big), (1, (resources - 1) * _EACH, _EACH)):
            connection.execute(sa.text(_versions(connection, first, count, each, now)))
        connection.exec_driver_sql(
            "INSERT INTO pointers (resource_id, version_id) SELECT resource_id, MAX(id) FROM versions GROUP BY resource_id"
        )
        connection.exec_driver_sql("UPDATE versions SET state = 'active' WHERE id IN (SELECT version_id FROM pointers)")
        _name(connection, now)
    with catalog.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if connection.dialect.name == "postgresql":
            # The ids above were not drawn from the sequences. VACUUM and ANALYZE are what the server does by itself, later.
            for table in ("resources", "versions"):
                connection.exec_driver_sql(
                    f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT MAX(id) FROM {table}))"  # noqa: S608 - names of ours
                )
            connection.exec_driver_sql("VACUUM ANALYZE")
    return Shelf(catalog, resources, big)


def _name(connection: sa.Connection, now: str) -> None:
    """Give each resource a stage with one holder, another with many, two tags, a label, and a branch with one version."""
    chosen = "SELECT resource_id, version_id FROM pointers"
    for statement in (
        f"UPDATE versions SET stage = 'validation', staged_at = {now} WHERE patch = 0",  # noqa: S608 - numbers of ours
        f"UPDATE versions SET stage = 'production', staged_at = {now} WHERE id IN (SELECT version_id FROM pointers)",  # noqa: S608 - numbers of ours
        f"INSERT INTO tags (resource_id, version_id, name) SELECT resource_id, version_id, 'golden' FROM ({chosen}) AS p",  # noqa: S608 - numbers of ours
        f"INSERT INTO tags (resource_id, version_id, name) SELECT resource_id, version_id, 'best' FROM ({chosen}) AS p",  # noqa: S608 - numbers of ours
        "INSERT INTO labels (resource_id, name, value) SELECT id, 'team', 'vision' FROM resources",
        f"INSERT INTO branches (resource_id, name, base, created_at, created_by) SELECT id, 'exp', '1.0.0', {now}, 'bench' FROM resources",  # noqa: S608 - numbers of ours
        (
            "INSERT INTO versions (resource_id, major, minor, patch, lance_version, content_hash, state, num_rows, num_bytes, "
            "arrow_schema, message, metadata, provenance, created_at, created_by, operation, branch, serial) "
            "SELECT resource_id, major, minor, patch, 1, content_hash, 'registered', 1, 1, arrow_schema, message, metadata, "
            "provenance, created_at, created_by, operation, 'exp', 1 FROM versions WHERE minor = 0 AND patch = 0"
        ),
    ):
        connection.exec_driver_sql(statement)


def _versions(connection: sa.Connection, first: int, count: int, each: int, now: str) -> str:
    """Write the statement that makes ``count`` versions, ``each`` of the resources from ``first`` on."""
    is_sqlite = connection.dialect.name == "sqlite"
    hash = (
        "printf('%064x', i * 2654435761 % 4294967296)"
        if is_sqlite
        else "lpad(to_hex(i::bigint * 2654435761 % 4294967296), 64, '0')"
    )
    blob = "x'00'" if is_sqlite else "'\\x00'::bytea"
    return (
        f"WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {count}) "  # noqa: S608 - numbers of ours
        "INSERT INTO versions (resource_id, major, minor, patch, lance_version, content_hash, state, num_rows, num_bytes, "
        "arrow_schema, message, metadata, provenance, created_at, created_by, operation, branch, serial) "
        f"SELECT {first} + 1 + i / {each}, 1, (i % {each}) / {_PATCHES}, i % {_PATCHES}, 1 + i % {each}, {hash}, "
        f"'registered', 1, 1, {blob}, 'made', '{{}}', '{{}}', {now}, 'bench', '{'0' * 32}', '', 0 FROM n"
    )


@contextmanager
def _urls(engine: str) -> Iterator[tuple[str, str]]:
    """Give two empty databases of one kind."""
    if engine == "sqlite":
        with tempfile.TemporaryDirectory(prefix="al-bench-") as folder:
            yield f"sqlite:///{Path(folder)}/small.db", f"sqlite:///{Path(folder)}/large.db"
        return
    with SERVERS[engine]() as server:
        yield server.create(), server.create()


def measure(engine: str, versions: int, rounds: int) -> list[Result]:
    """Fill two catalogs and look at both, in turn."""
    with (
        _urls(engine) as (small_url, large_url),
        DatabaseCatalog.open(small_url) as few,
        DatabaseCatalog.open(large_url) as many,
    ):
        small = _fill(few, 3 * _EACH)
        begun = time.monotonic()
        large = _fill(many, versions)
        _say(
            f"{engine}: {versions:,} versions of {large.resources:,} resources made in {time.monotonic() - begun:.0f} s"
        )
        return [_taken(name, look, small, large, rounds) for name, look in LOOKS.items()]


def _taken(name: str, look: Callable[[Shelf], object], small: Shelf, large: Shelf, rounds: int) -> Result:
    result = Result(name, [], [])
    for shelf in (small, large):
        for _ in range(20):
            look(shelf)
    gc.disable()
    try:
        for _ in range(rounds):
            for shelf, taken in ((small, result.small), (large, result.large)):
                begun = time.perf_counter()
                look(shelf)
                taken.append(time.perf_counter() - begun)
    finally:
        gc.enable()
    return result


def _p99(taken: list[float]) -> float:
    return statistics.quantiles(taken, n=100)[98]


def _table(engine: str, results: list[Result]) -> str:
    head = f"{engine:<28} {'few: p50':>10} {'p99':>9} {'many: p50':>11} {'p99':>9} {'p99 ratio':>10}"
    lines = [
        f"{result.look:<28} {_ms(statistics.median(result.small)):>10} {_ms(_p99(result.small)):>9} "
        f"{_ms(statistics.median(result.large)):>11} {_ms(_p99(result.large)):>9} {result.ratio:>10.2f}"
        f"{'' if result.is_fast else '  too slow'}"
        for result in results
    ]
    return "\n".join([head, "-" * len(head), *lines])


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms"


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> None:
    """Measure and print a table per engine; exit code 1 when a look is slower than promised."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--versions", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--engine", action="append", choices=["sqlite", "postgresql"])
    given = parser.parse_args()
    slow = False
    for engine in given.engine or ["sqlite", "postgresql"]:
        results = measure(engine, given.versions, given.rounds)
        _say(_table(engine, results))
        slow = slow or not all(result.is_fast for result in results)
    sys.exit(slow)


if __name__ == "__main__":
    main()
