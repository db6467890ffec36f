"""What the lifecycle asks of the catalog and of the storage, and nothing more."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, TextIO

import pyarrow as pa

from alluxio_lance.incoming import Source
from alluxio_lance.lifecycle.uri import ResourceName
from alluxio_lance.manager import OnProgress
from alluxio_lance.values import Event, Outcome, Resource, State, Verb, Version

__all__ = [
    "AuditFault",
    "AuditReport",
    "Catalog",
    "Change",
    "Denial",
    "Draft",
    "Fault",
    "Holder",
    "Operation",
    "OperationState",
    "Owner",
    "Snapshot",
    "Source",
    "Store",
    "StoredFile",
    "TableReader",
    "Write",
]


# -- operations -------------------------------------------------------------------------------------------------------


class OperationState(StrEnum):
    """How an operation ended, if it did."""

    PENDING = "pending"
    DONE = "done"
    UNDONE = "undone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The process that works on an operation, so that another can tell whether it still lives."""

    node: str
    boot: str
    """The node's boot id and pid namespace: within another one every pid means somebody else."""
    pid: int
    started: int
    """The process' start time in clock ticks since boot (field 22 of /proc/PID/stat): pids are reused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One verb in flight, or its trace."""

    id: str
    """32 hexadecimal digits."""
    verb: Verb
    type: str
    name: str
    actor: str
    owner: Owner
    params: Mapping[str, Any]
    """What the verb was called with, as JSON values: enough to finish it after a crash."""
    request_id: str | None = None
    state: OperationState = OperationState.PENDING
    step: str = "begun"
    error: str | None = None
    result: str | None = None
    """The semantic version that it made or was about."""
    created_at: datetime
    heartbeat_at: datetime
    """Renewed by the owner while it works; with a dead owner it stands still."""


# -- changes of the catalog --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A file of a table, by its content. Files never change once written, so a hash once computed holds."""

    path: str
    """Relative to the table."""
    size: int
    hash: str
    """BLAKE3, 64 hexadecimal digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What the storage knows about one Lance version."""

    version: int
    schema: bytes
    """The Arrow schema as an IPC message."""
    num_rows: int
    num_bytes: int
    files: tuple[StoredFile, ...]
    content_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A version about to be written into the catalog."""

    semver: tuple[int, int, int]
    snapshot: Snapshot
    message: str
    metadata: Mapping[str, Any]
    provenance: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Everything that one verb changes in the catalog, applied in one transaction or not at all."""

    verb: Verb
    type: str
    name: str
    actor: str
    message: str
    origin: str = ""
    """From where the call came, for the audit row; empty when unknown."""
    about: str | None = None
    """The semantic version that the audit row names; the draft's when there is one."""
    location: str | None = None
    """The table's location, relative to the store's root: creates the resource row when there is none."""
    draft: Draft | None = None
    states: Mapping[str, State] = field(default_factory=dict)
    """New states of versions that exist, by semantic version."""
    activate: str | None = None
    """The semantic version that the pointer moves to (may be the draft's); its state becomes active, and that of the
    version active before becomes registered unless ``states`` says otherwise."""
    base: str | None = None
    """When set, the pointer moves only if the version active now is still this one: a long update must not undo a
    rollback that happened meanwhile. The draft is committed all the same, as registered."""
    deactivate: bool = False
    """The pointer goes away: no version is active afterwards."""
    remove: bool = False
    """Resource, versions and files leave the catalog; only the audit rows stay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A reader that holds a version."""

    id: str
    """The lease token, 32 hexadecimal digits."""
    type: str
    name: str
    semver: str
    node: str
    pid: int
    user: str
    command: str
    since: datetime


# -- the audit trail ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """A call that was refused, for the audit trail."""

    verb: Verb
    type: str
    name: str
    actor: str
    message: str
    """Why it was refused."""
    origin: str = ""
    request_id: str | None = None
    semver: str | None = None


class Fault(StrEnum):
    """What was done to the audit trail behind the catalog's back."""

    CHANGED = "changed"
    REMOVED = "removed"
    REORDERED = "reordered"
    INSERTED = "inserted"
    TRUNCATED = "truncated"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFault:
    """The first place where the audit trail is not what was written."""

    kind: Fault
    sequence: int
    """The row where it begins."""
    expected: str
    """What would stand there in an intact trail, in words."""
    found: str
    """What stands there, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """What a check of the audit trail found."""

    rows: int
    """How many rows were checked and found intact."""
    head: int
    """The sequence of the last row, as the catalog's own counter has it."""
    head_hash: str
    """Its hash. Who keeps it elsewhere can tell later that nothing up to this row was rewritten."""
    fault: AuditFault | None


class Catalog(Protocol):
    """The metadata database: the only truth of state. Every method is one transaction."""

    # operations

    def begin(self, operation: Operation) -> Operation:
        """Record an operation before it starts.

        When ``request_id`` is known already the operation recorded then comes back instead, whatever its state.
        An undone operation gives its request id free again.
        """
        ...

    def adopt(self, operation: Operation, owner: Owner) -> bool:
        """Make a new owner of a pending or unsettled operation whose owner is dead.

        Compare and set: False when owner or heartbeat are no longer those of ``operation``, because another process
        adopted it first or its owner lives after all. The commit lock, held by the operation's id, goes with it.
        """
        ...

    def record_step(self, operation: str, step: str) -> None:
        """Record that a step is done, and renew the heartbeat. ``settled`` is the last step of a done operation."""
        ...

    def heartbeat(self, operation: str, ttl: float) -> None:
        """Renew the heartbeat of a pending operation, and its commit lock, if it has it, for ``ttl`` seconds."""
        ...

    def abandon(self, operation: str, error: str) -> None:
        """Close a pending operation as undone and give its lock free."""
        ...

    def open_operations(self) -> list[Operation]:
        """List the operations with work left: pending, or done but not at step ``settled``; oldest first."""
        ...

    def operation(self, id: str) -> Operation:
        """Find an operation; `NotFound` when there is none."""
        ...

    # the commit lock of a resource

    def try_lock(
        self, type: str, name: str, operation: str, ttl: float, *, steal_from: str | None = None
    ) -> str | None:
        """Take the commit lock of a resource for an operation.

        Returns None when taken (or held by this operation already), else the id of the operation that holds it. An
        expired lock is free. ``steal_from`` names a holder that the caller knows to be dead: its lock is taken over.
        """
        ...

    def unlock(self, type: str, name: str, operation: str) -> None:
        """Give the lock free, if this operation holds it."""
        ...

    # looking

    def resource(self, type: str, name: str) -> Resource | None:
        """Find a resource that is not being deleted."""
        ...

    def resources(
        self, type: str | None = None, *, after: tuple[str, str] | None = None, limit: int | None = None
    ) -> list[Resource]:
        """List the resources that are not being deleted, sorted by type and name.

        ``limit`` makes it a page, which begins behind the type and name that ``after`` gives.
        """
        ...

    def location(self, type: str, name: str) -> str | None:
        """Return the table's location relative to the store's root, also while it is being deleted."""
        ...

    def find(self, name: ResourceName) -> Version:
        """Find the version that a name with a selector means.

        Semantic prefixes mean the highest version that is not archived or deleted, a content hash the active version
        if it fits, else the newest that does. Raises `NotFound` (which resource or version) or `NotActive`.
        """
        ...

    def versions(self, type: str, name: str) -> list[Version]:
        """List the versions, highest semantic version first; `NotFound` when there is no such resource."""
        ...

    def known_files(self, type: str, name: str) -> dict[str, StoredFile]:
        """Return the files whose hashes are known, by path."""
        ...

    def events(
        self,
        *,
        after: int = 0,
        type: str | None = None,
        name: str | None = None,
        limit: int = 1000,
        outcome: Outcome = Outcome.DONE,
    ) -> list[Event]:
        """List audit rows of one outcome with a sequence above ``after``, oldest first."""
        ...

    def last_event(self) -> int:
        """Return the highest sequence of what was done, 0 when there is none."""
        ...

    # the audit trail

    def deny(self, denial: Denial) -> None:
        """Write an audit row about a call that was refused."""
        ...

    def verify_audit(self) -> AuditReport:
        """Check every audit row against the chain of hashes, up to the first fault."""
        ...

    def export_audit(self, out: TextIO) -> int:
        """Write every audit row as a line of JSON, oldest first; return how many."""
        ...

    # changing

    def commit(self, operation: str, change: Change, *, locked: bool) -> Version | None:
        """Apply a change, write its audit row, close the operation as done and give its lock free: one transaction.

        Returns the draft's version, else the one that ``about`` names, else None. Raises `Conflict` when ``locked`` and the lock is
        no longer this operation's (then nothing was changed), `AlreadyExists` when a semantic version is taken.
        """
        ...

    def hide(self, operation: str, type: str, name: str) -> None:
        """Take a resource out of sight, the first half of a deletion; `Leased` while any of its versions is held."""
        ...

    # leases of all nodes

    def hold(self, holder: Holder, ttl: float) -> None:
        """Record a reader; `NotFound` when the version is gone or being deleted."""
        ...

    def renew(self, ids: Sequence[str], ttl: float) -> None:
        """Let leases live for another ``ttl`` seconds."""
        ...

    def release(self, ids: Sequence[str]) -> None:
        """End leases; unknown ids are ignored."""
        ...

    def holders(self, type: str, name: str) -> list[Holder]:
        """List the unexpired leases on any version of a resource, oldest first."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


# -- storage -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """What every write tells the storage about itself; it ends up in the table's own transaction properties."""

    operation: str
    actor: str
    message: str
    on_progress: OnProgress | None = None


class TableReader(Protocol):
    """One version of a table, open for reading."""

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema."""
        ...

    @property
    def num_rows(self) -> int:
        """The number of rows."""
        ...

    def batches(self, columns: Sequence[str], *, batch_bytes: int = 8 << 20) -> Iterator[pa.RecordBatch]:
        """Stream all rows in order; batches have about ``batch_bytes``."""
        ...

    def close(self) -> None:
        """Let go of the table; a second call does nothing."""
        ...


class Store(Protocol):
    """Where the tables are. ``location`` is relative to the store's root, such as ``datasets/cifar10.lance``."""

    def absolute(self, location: str) -> str:
        """Return what to give to ``lance.dataset``."""
        ...

    def source(self, data: Any, *, format: str | None, options: Mapping[str, Any]) -> Source:
        """Open data of any accepted kind for reading; `InvalidArgument` says what is accepted."""
        ...

    def create(self, location: str, source: Source, write: Write) -> int:
        """Write the first version of a table and return its Lance version; `AlreadyExists` when a table is there."""
        ...

    def append(self, location: str, source: Source, write: Write) -> int:
        """Add rows. `InvalidArgument` when the schema does not fit."""
        ...

    def overwrite(self, location: str, source: Source, write: Write) -> int:
        """Replace all rows."""
        ...

    def upsert(self, location: str, source: Source, on: Sequence[str], write: Write) -> int:
        """Replace the rows whose key matches, add the others; an empty source still makes a version."""
        ...

    def restore(self, location: str, version: int, write: Write) -> int:
        """Make a new Lance version with the content of an older one, without moving data."""
        ...

    def latest(self, location: str) -> int | None:
        """Return the newest Lance version; None when there is no table."""
        ...

    def writers(self, location: str, *, besides: Collection[int] = ()) -> dict[int, str | None]:
        """Return which operation each Lance version's transaction names, oldest first; None when it names none.

        Versions in ``besides`` are left out and not read. Empty when there is no table.
        """
        ...

    def snapshot(
        self, location: str, version: int, known: Mapping[str, StoredFile], on_progress: OnProgress | None = None
    ) -> Snapshot:
        """Describe a version; files that are not in ``known`` are hashed."""
        ...

    def mirror_tags(self, location: str, tags: Mapping[str, int | None]) -> None:
        """Set Lance tags to versions, or remove them (None). Tags that are right already are left alone."""
        ...

    def sweep(self, location: str, keep: Sequence[int]) -> int:
        """Remove Lance versions and files that no version in ``keep`` needs and return the bytes freed.

        The caller holds the commit lock. The newest Lance version stays even when it is not in ``keep``, since Lance
        cannot remove it; without any in ``keep`` the whole table is dropped.
        """
        ...

    def drop(self, location: str) -> None:
        """Remove a table with everything in its folder; a missing one is no error."""
        ...

    def open(self, location: str, version: int) -> TableReader:
        """Open a version for the sidecar; `Unavailable` or `Corrupt` when it cannot be read."""
        ...

    def dataset(self, location: str, version: int) -> Any:
        """Open a version as a ``lance.LanceDataset``, for people who want Lance itself; `NotFound` when it is gone."""
        ...
