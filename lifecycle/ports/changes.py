"""What one verb changes in the catalog, all of it or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from alluxio_lance.governance import Promotion
from alluxio_lance.lifecycle.ports.operations import Operation
from alluxio_lance.values import State, Verb

__all__ = ["Branch", "Change", "ColdCopy", "Draft", "Holder", "Snapshot", "StoredFile"]


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
    branch: str = ""
    """The branch that it lies on; its semantic version is that of the base, and ``serial`` counts on from 1."""
    serial: int = 0
    message: str
    metadata: Mapping[str, Any]
    provenance: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdCopy:
    """Where a version lies in the cold tier."""

    location: str
    """Relative to the cold tier's root."""
    num_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """A line of versions beside the main one."""

    name: str
    base: str
    """The semantic version at which it began."""
    created_at: datetime
    created_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Everything that one verb changes in the catalog, applied in one transaction or not at all."""

    verb: Verb
    type: str
    name: str
    actor: str
    message: str
    origin: str = ""
    """From where the call came, for the audit row; empty: as the operation says."""
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
    standing: Mapping[str, tuple[State, str | None]] = field(default_factory=dict)
    """Versions that must still have this state and this stage when the change is applied: else `Conflict`, and nothing
    is changed."""
    still_active: tuple[str, ...] | None = None
    """When set, the version that must still be active (empty: none may be): else `Conflict`, and nothing is changed."""
    deactivate: bool = False
    """The pointer goes away: no version is active afterwards."""
    remove: bool = False
    """Resource, versions and files leave the catalog; only the audit rows stay."""
    reinstate: tuple[str, ...] = ()
    """Versions that get back the state that they had before they became archived or deleted (one step back)."""
    remove_versions: tuple[str, ...] = ()
    """Versions that leave the catalog, with what is recorded of files that no other version lists."""
    unheld: tuple[str, ...] = ()
    """Versions that no reader may hold when this is applied, on any node: else `Leased`, and nothing is changed."""
    wholly_unheld: bool = False
    """The same for all versions of the resource."""
    hide_until: datetime | None = None
    """The whole resource goes out of sight, to be purged at this time."""
    purge_at: datetime | None = None
    """When the versions that become deleted are to be purged."""
    unhide: bool = False
    """A hidden resource comes back."""
    cold: Mapping[str, ColdCopy | None] = field(default_factory=dict)
    """By semantic version: where its copy in the cold tier lies now; None: there is none any more."""
    stages: Mapping[str, str | None] = field(default_factory=dict)
    """New stages, by semantic version; None takes the stage away."""
    stage_holders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By stage: the versions that hold it as far as the caller knows. When others do by now it is `Conflict`, and nothing
    is changed: of two promotions at once to a stage with one holder the second one has to look again."""
    tags: Mapping[str, str | None] = field(default_factory=dict)
    """By tag: the semantic version that has it from now on; None removes it."""
    move_tags: bool = False
    """Tags may leave another version for this; else that is `AlreadyExists`."""
    metrics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By semantic version: metrics to add or replace; a value of None removes one."""
    labels: Mapping[str, str | None] = field(default_factory=dict)
    """Labels of the resource to set; None removes one."""
    branch: Branch | None = None
    """A branch to add; `AlreadyExists` when the name is taken."""
    remove_branch: str | None = None
    """A branch to remove; its versions go by ``remove_versions``."""
    promotion: Promotion | None = None
    """A promotion to write, in the same transaction; one with the same id is replaced."""

    @classmethod
    def of(cls, operation: Operation, message: str) -> Self:
        """Begin the change that an operation makes: whose it is, and to what."""
        return cls(
            verb=operation.verb, type=operation.type, name=operation.name, actor=operation.actor, message=message
        )


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
