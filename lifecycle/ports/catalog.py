"""What the lifecycle asks of the metadata database."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, TextIO, TypeVar

from alluxio_lance.governance import Promotion, PromotionState, Rules, Token
from alluxio_lance.lifecycle.ports.audit import AuditReport, Denial, Note
from alluxio_lance.lifecycle.ports.changes import Branch, Change, ColdCopy, Holder, StoredFile
from alluxio_lance.lifecycle.ports.operations import Operation, Owner
from alluxio_lance.lifecycle.uri import ResourceName
from alluxio_lance.values import Event, Outcome, Progress, Resource, Verb, Version

__all__ = ["Catalog"]

T = TypeVar("T")


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

    def record_step(self, operation: str, step: str, *, owner: Owner | None = None) -> None:
        """Record that a step is done, and renew the heartbeat. ``settled`` is the last step of a done operation.

        Raises `Conflict` when it was undone meanwhile, or when ``owner`` is given and another process has adopted it:
        whoever stood still for too long must not go on to what cannot be undone.
        """
        ...

    def record_params(self, operation: str, params: Mapping[str, Any]) -> None:
        """Replace what a pending operation was called with by the same and what it found out since.

        For what has to be known to finish it after a crash and cannot be found any more then: where it began.
        """
        ...

    def heartbeat(self, operation: str, ttl: float) -> None:
        """Renew the heartbeat of a pending operation, and its commit lock, if it has it, for ``ttl`` seconds."""
        ...

    def abandon(self, operation: str, error: str) -> None:
        """Close a pending operation as undone and give its lock and its fences free."""
        ...

    def record_progress(self, operation: str, progress: Progress) -> None:
        """Record how far the step is, for those who wait for it elsewhere, and renew the heartbeat."""
        ...

    def restoring(self, type: str, name: str, semver: str) -> Operation | None:
        """Find the pending operation that brings a version back from the cold tier."""
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

    def together(self, look: Callable[[], T]) -> T:
        """Let everything that ``look`` reads from the catalog, in this thread, be read in one transaction.

        It may run several times, and must not write. On SQLite it sees one moment; on a server each method sees its own,
        as it would without.
        """
        ...

    def resource(self, type: str, name: str, *, deleted: bool = False) -> Resource | None:
        """Find a resource that is not deleted; with ``deleted`` one that is, and waits to be purged."""
        ...

    def resources(
        self,
        type: str | None = None,
        *,
        after: tuple[str, str] | None = None,
        limit: int | None = None,
        search: str | None = None,
        labels: Mapping[str, str] | None = None,
        deleted: bool = False,
    ) -> list[Resource]:
        """List the resources that are not deleted (or, with ``deleted``, those that are), sorted by type and name.

        ``limit`` makes it a page, which begins behind the type and name that ``after`` gives. ``search`` is a text in
        the name or in the message of any of its versions, in whichever case; ``labels`` must all be there.
        """
        ...

    def location(self, type: str, name: str) -> str | None:
        """Return the table's location relative to the store's root, also while it is being deleted."""
        ...

    def find(self, name: ResourceName, *, deleted: bool = False) -> Version:
        """Find the version that a name with a selector means.

        Semantic prefixes mean the highest version that is not archived or deleted, a content hash the active version
        if it fits, else the newest that does; a label means a tag, else the version that took the stage last, else the
        newest version of the branch. Raises `NotFound` (which resource or version) or `NotActive`. ``deleted`` looks
        among the deleted versions instead.
        """
        ...

    def versions(self, type: str, name: str, *, branch: str | None = None, deleted: bool = False) -> list[Version]:
        """List the versions that are not deleted (or those that are), highest semantic version first.

        Those of the branches stand behind those of the main line; ``branch`` lists one line only (``""`` the main
        one). Raises `NotFound` when there is no such resource; one that is itself deleted is found with ``deleted``.
        """
        ...

    def branches(self, type: str, name: str) -> list[Branch]:
        """List the branches of a resource by name."""
        ...

    def cold_copies(self, type: str, name: str) -> dict[str, ColdCopy]:
        """Return what lies in the cold tier, by semantic version, deleted versions and resources included."""
        ...

    def purgeable(self, now: datetime) -> list[tuple[str, str, str | None]]:
        """List type, name and semantic version (None: the whole resource) of what is deleted and due to be purged."""
        ...

    def note_read(self, type: str, name: str, semver: str) -> None:
        """Remember that a version was opened; writes at most once an hour per version. `hold` does it by itself."""
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

    def last_change(self, type: str, name: str, semver: str, verb: Verb) -> datetime | None:
        """Return when a verb was last done to a version; None: never."""
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

    def fence(self, operation: str, type: str, name: str, semvers: Sequence[str]) -> None:
        """Let no reader begin on these versions until the operation commits or is abandoned.

        From then on `hold` raises `Restoring` for them. Raises `Leased` while any is held, `Conflict` when another
        operation has fenced one. Doing it again changes nothing.
        """
        ...

    def unfence(self, operation: str) -> None:
        """Let readers begin again on what an operation has fenced."""
        ...

    # promotions

    def save_promotion(self, promotion: Promotion) -> None:
        """Write a promotion; one with the same id is replaced unless it ended meanwhile (`Conflict`)."""
        ...

    def promotion(self, id: str) -> Promotion:
        """Find a promotion by its id or at least eight of its first digits; `NotFound`, `InvalidArgument`."""
        ...

    def promotions(
        self,
        type: str | None = None,
        name: str | None = None,
        *,
        state: PromotionState | None = None,
        limit: int = 1000,
    ) -> list[Promotion]:
        """List promotions, newest first."""
        ...

    # rules and tokens

    def rules(self) -> Rules:
        """Return the rules; revision 0 and an empty text when nothing was configured."""
        ...

    def set_rules(self, text: str, *, revision: int | None, note: Note) -> Rules:
        """Replace the rules and write the audit row, with the revisions as before and after.

        Raises `Conflict` when the revision is another by now.
        """
        ...

    def add_token(self, token: Token, digest: str, note: Note) -> None:
        """Keep a token and the digest of its secret, and write the audit row."""
        ...

    def token(self, id: str) -> tuple[Token, str] | None:
        """Find a token and the digest of its secret."""
        ...

    def tokens(self) -> list[Token]:
        """List all tokens, newest first."""
        ...

    def revoke_token(self, id: str, note: Note) -> Token:
        """End a token and write the audit row; `NotFound`. One that has ended already stays as it is."""
        ...

    def note_token_use(self, id: str) -> None:
        """Remember that a token was used; writes at most once a minute per token."""
        ...

    # offices

    def lead(self, office: str, holder: str, ttl: float) -> bool:
        """Take or keep an office of the cluster, ``janitor``, for ``ttl`` seconds; False while somebody else has it."""
        ...

    def resign(self, office: str, holder: str) -> None:
        """Give an office up, if ``holder`` has it."""
        ...

    # leases of all nodes

    def hold(self, holder: Holder, ttl: float) -> None:
        """Record a reader, and that the version was read.

        `NotFound` when the version is gone or deleted, `Restoring` when it is archived or fenced.
        """
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
