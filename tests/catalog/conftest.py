"""What the catalog's tests stand on: a database per test, a clock that moves by hand, and a desk that does the paperwork.

Every module but test_opening and test_portability is a contract: it runs on each database that ``catalog_url`` is parametrised with.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alluxio_lance.catalog import DatabaseCatalog
from alluxio_lance.catalog.semver import numbers
from alluxio_lance.errors import AlluxioLanceError
from alluxio_lance.lifecycle.ports import (
    Branch,
    Change,
    ColdCopy,
    Draft,
    Holder,
    Operation,
    Owner,
    Snapshot,
    StoredFile,
)
from alluxio_lance.lifecycle.uri import ResourceName, parse_selector
from alluxio_lance.values import State, Verb, Version

OWNER = Owner(node="node-1", boot="boot-1:4026531836", pid=41, started=1000)


@dataclass
class FakeClock:
    """Time that stands still until a test moves it."""

    now: datetime = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class Desk:
    """Fills in the forms: operations, drafts, changes."""

    catalog: DatabaseCatalog
    clock: FakeClock
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def operation(self, verb: Verb = Verb.UPDATE, name: str = "cifar10", **more: Any) -> Operation:
        given = {
            "id": uuid.uuid4().hex,
            "verb": verb,
            "type": "datasets",
            "name": name,
            "actor": "ada@node-1",
            "owner": OWNER,
            "params": {"mode": "append", "on": ["id"]},
            "created_at": self.clock.now,
            "heartbeat_at": self.clock.now,
        }
        return Operation(**{**given, **more})

    def begun(self, verb: Verb = Verb.UPDATE, name: str = "cifar10", **more: Any) -> str:
        return self.catalog.begin(self.operation(verb, name, **more)).id

    def draft(self, semver: str, *, hash: str | None = None, files: int = 2, **more: Any) -> Draft:
        number = next(self.numbers)
        snapshot = Snapshot(
            version=number,
            schema=b"schema\0" * 3,
            num_rows=10 * number,
            num_bytes=1000 * number,
            files=tuple(StoredFile(path=f"data/{i}.lance", size=i, hash=f"{i:064x}") for i in range(files)),
            content_hash=(hash or f"{number:08x}").ljust(64, "0"),
        )
        major, minor, patch, branch, serial = numbers(semver)
        given = {"message": f"makes {semver}", "metadata": {"k": [1, None]}, "provenance": {"from": "test"}}
        given |= {"branch": branch, "serial": serial}
        return Draft(semver=(major, minor, patch), snapshot=snapshot, **{**given, **more})

    def change(self, verb: Verb = Verb.UPDATE, name: str = "cifar10", **more: Any) -> Change:
        given = {"verb": verb, "type": "datasets", "name": name, "actor": "ada@node-1", "message": "because"}
        return Change(**{**given, **more})

    def commit(self, change: Change) -> Version | None:
        """Begin, lock, commit; abandon what is refused."""
        operation = self.begun(change.verb, change.name, type=change.type)
        assert self.catalog.try_lock(change.type, change.name, operation, 30) is None
        try:
            return self.catalog.commit(operation, change, locked=True)
        except AlluxioLanceError as error:
            self.catalog.abandon(operation, error.message)
            raise

    def add(
        self, semver: str, name: str = "cifar10", *, activate: bool = True, type: str = "datasets", **draft: Any
    ) -> Version:
        """Bring a version in; the first one makes the resource."""
        change = self.change(
            name=name,
            type=type,
            location=f"{type}/{name}.lance",
            draft=self.draft(semver, **draft),
            activate=semver if activate else None,
        )
        made = self.commit(change)
        assert made is not None
        return made

    def branch(self, name: str, base: str = "1.0.0", **draft: Any) -> Version:
        """Begin a branch, with its first version."""
        line = Branch(name=name, base=base, created_at=self.clock.now, created_by="ada@node-1")
        made = self.commit(self.change(Verb.BRANCH, branch=line, draft=self.draft(f"{base}-{name}.1", **draft)))
        assert made is not None
        return made

    def hide(self, name: str = "cifar10", seconds: float = 60) -> None:
        """Delete a resource that nobody holds, to be purged after a while."""
        until = self.clock.now + timedelta(seconds=seconds)
        self.commit(self.change(Verb.DELETE, name, hide_until=until, wholly_unheld=True))

    def find(self, selector: str = "active", name: str = "cifar10", *, deleted: bool = False) -> Version:
        return self.catalog.find(ResourceName("datasets", name, parse_selector(selector)), deleted=deleted)

    def states(self, name: str = "cifar10", *, deleted: bool = False) -> dict[str, str]:
        return {v.semver: v.state.value for v in self.catalog.versions("datasets", name, deleted=deleted)}

    def archive(self, *semvers: str, name: str = "cifar10") -> None:
        """Archive versions, with copies of as many bytes as each has."""
        copies = {
            semver: ColdCopy(location=f"cold/{name}/{semver}", num_bytes=self.find(semver, name).num_bytes)
            for semver in semvers
        }
        states = dict.fromkeys(semvers, State.ARCHIVED)
        self.commit(self.change(Verb.ARCHIVE, name, states=states, cold=copies, unheld=semvers, about=semvers[0]))

    def delete(self, *semvers: str, name: str = "cifar10", seconds: float = 60) -> None:
        """Delete versions, to be purged after a while."""
        until = self.clock.now + timedelta(seconds=seconds)
        states = dict.fromkeys(semvers, State.DELETED)
        self.commit(self.change(Verb.DELETE, name, states=states, purge_at=until, unheld=semvers, about=semvers[0]))

    def holder(self, semver: str = "1.0.0", **more: Any) -> Holder:
        given = {
            "id": uuid.uuid4().hex,
            "type": "datasets",
            "name": "cifar10",
            "semver": semver,
            "node": "node-7",
            "pid": 4711,
            "user": "grace",
            "command": "python train.py",
            "since": self.clock.now,
        }
        return Holder(**{**given, **more})


ENGINES = [pytest.param(kind, marks=getattr(pytest.mark, kind)) for kind in ("sqlite", "postgresql", "mariadb")]


@pytest.fixture(params=ENGINES)
def catalog_url(request, databases, tmp_path) -> Iterator[str]:
    """The URL of a database with tables and no rows, of each kind in turn."""
    with databases.clean(request.param, tmp_path) as url:
        yield url


@pytest.fixture(params=ENGINES)
def empty_url(request, databases, tmp_path) -> Iterator[str]:
    """The URL of a database without tables, of each kind in turn."""
    with databases.empty(request.param, tmp_path) as url:
        yield url


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands still."""
    return FakeClock()


@pytest.fixture
def catalog(catalog_url, clock) -> Iterator[DatabaseCatalog]:
    """An empty catalog."""
    with DatabaseCatalog.open(catalog_url, clock=clock) as opened:
        yield opened


@pytest.fixture
def desk_of(clock) -> Callable[[DatabaseCatalog], Desk]:
    """Somebody who fills in the forms for a given catalog."""
    return lambda catalog: Desk(catalog, clock)


@pytest.fixture
def desk(catalog, desk_of) -> Desk:
    """Somebody who fills in the forms for the empty catalog."""
    return desk_of(catalog)
