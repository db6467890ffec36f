"""The values that every face of the system speaks in: versions, resources, events. Frozen, plain, without behaviour.

They stand outside the rooms because the embedded manager (server side) and the connected one (client side) return the
same types, and neither side may import the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

__all__ = ["Event", "Finding", "Kind", "Outcome", "Progress", "Resource", "State", "Verb", "Version"]


class Kind(StrEnum):
    """What a type of resources holds."""

    DATASET = "dataset"
    MODEL = "model"


class State(StrEnum):
    """Where a version stands in its life."""

    REGISTERED = "registered"
    ACTIVE = "active"
    DEPRECATED = "deprecated"
    ARCHIVED = "archived"
    DELETED = "deleted"


class Verb(StrEnum):
    """What was done, or tried; also what a role may allow."""

    REGISTER = "register"
    UPDATE = "update"
    ACTIVATE = "activate"
    DEPRECATE = "deprecate"
    ROLLBACK = "rollback"
    ARCHIVE = "archive"
    RESTORE = "restore"
    PROMOTE = "promote"
    APPROVE = "approve"
    """Say yes to a promotion that waits for it."""
    REJECT = "reject"
    """Say no to it; whoever may approve may reject."""
    MEASURE = "measure"
    """Attach metrics to a version."""
    TAG = "tag"
    UNTAG = "untag"
    LABEL = "label"
    BRANCH = "branch"
    UNBRANCH = "unbranch"
    MERGE = "merge"
    """Bring the newest version of a branch into the main line."""
    DELETE = "delete"
    """The first half: out of sight, purged after the grace time."""
    UNDELETE = "undelete"
    PURGE = "purge"
    """The second half: no byte is left."""
    CONFIGURE = "configure"
    """Change the rules: stages, gates, policies, hooks, roles."""
    ISSUE_TOKEN = "issue-token"  # noqa: S105 - the name of a verb
    REVOKE_TOKEN = "revoke-token"  # noqa: S105 - the name of a verb
    RECONCILE = "reconcile"
    JANITOR = "janitor"
    """Run the policies now."""
    READ = "read"
    """Look, and read data. Never an audit row of its own unless it was denied."""
    PREFETCH = "prefetch"
    EVICT = "evict"


class Outcome(StrEnum):
    """How a call ended that the audit trail tells of."""

    DONE = "done"
    DENIED = "denied"
    """It was refused, and nothing was changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One immutable state of a resource.

    ``str(version)`` is the full name, ``1.4.0+3fa9c1d2``: semantic version, plus, first eight digits of the hash.
    """

    type: str
    name: str
    semver: str
    """Semantic version, unique within the resource: ``MAJOR.MINOR.PATCH``, on a branch with the branch and a number
    behind it: ``1.4.0-exp.3``."""
    version: int
    """The version number of the Lance table; it counts within the branch."""
    branch: str = ""
    """The branch it lies on; empty on the main line."""
    content_hash: str
    """BLAKE3 of schema and data files, 64 hexadecimal digits."""
    state: State
    location: str
    """Where the table lies, as the store names it (an absolute path, or an object store URI). Archived: where it lay
    and will lie again."""
    num_rows: int
    num_bytes: int
    """Bytes of the data files that this version reads, shared ones included."""
    schema: bytes
    """The Arrow schema, as an IPC schema message (``pyarrow.ipc.read_schema`` reads it)."""
    message: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    created_at: datetime
    created_by: str
    operation: str
    """The operation that made it, 32 hexadecimal digits; the table's transaction carries the same."""
    stage: str | None = None
    """The stage it holds; None when it was never promoted, which counts as the first stage."""
    tags: tuple[str, ...] = ()
    """Its tags, sorted."""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    """What was measured on it after it was made: `measure_resource` adds to them."""
    cold_bytes: int | None = None
    """Bytes in the cold tier while it is archived."""
    archived_at: datetime | None = None
    read_at: datetime | None = None
    """When a reader last opened it, to within an hour; None: never."""
    purge_at: datetime | None = None
    """When a deleted version will be purged."""

    @property
    def uri(self) -> str:
        """The URI that names exactly this version for as long as it exists."""
        selector = self.semver if self.branch else f"v{self.version}"
        return f"alluxio://{self.type}/{self.name}@{selector}"

    def __str__(self) -> str:
        return f"{self.semver}+{self.content_hash[:8]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A named dataset or model and where its pointer stands."""

    type: str
    name: str
    kind: Kind
    active: Version | None
    """The version that ``alluxio://TYPE/NAME`` means now; None when no version is active."""
    versions: int
    """How many versions are listed."""
    created_at: datetime
    updated_at: datetime
    labels: Mapping[str, str] = field(default_factory=dict)
    """Free pairs to find and govern it by: ``{"team": "vision"}``."""
    branches: tuple[str, ...] = ()
    """The names of its branches, sorted."""
    purge_at: datetime | None = None
    """When a deleted resource will be purged; None unless it is deleted."""

    @property
    def uri(self) -> str:
        """The URI of the active version, whichever it is."""
        return f"alluxio://{self.type}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One row of the audit trail: something was done to a resource."""

    sequence: int
    """Grows by time within one catalog; a watcher resumes after the last one it saw."""
    at: datetime
    verb: Verb
    type: str
    name: str
    actor: str
    """Who did it: ``user@node``."""
    operation: str
    before: str | None
    """The full name of the active version before, if there was one."""
    after: str | None
    """The full name of the active version after, if there is one."""
    semver: str | None
    """The version that the verb made or was about; None when it was about the whole resource."""
    message: str
    """Why, in the words of who did it; why not, when it was denied."""
    origin: str = ""
    """From where the call came: ``unix:pid=123``, ``embedded``; empty when unknown."""
    request_id: str | None = None
    outcome: Outcome = Outcome.DONE
    hash: str = ""
    """The link of the audit chain, 64 hexadecimal digits: it covers this row and all before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a long verb is."""

    step: str
    """What is being done, in a word or two: ``write``, ``hash``, ``load``, ``copy``."""
    rows: int = 0
    total_rows: int | None = None
    bytes: int = 0
    total_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What reconcile did about one operation that a dead process left."""

    operation: str
    verb: Verb
    type: str
    name: str
    outcome: str
    """``completed``, ``undone``, ``settled``, or ``failed`` (it is tried again next time)."""
    reason: str = ""
