"""The face of the lifecycle: one abstract class, implemented in process (`embedded`) and over gRPC (`connect`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

if TYPE_CHECKING:
    from datetime import timedelta

    from alluxio_lance.governance import Identity, Promotion, PromotionState, Rules, Token
    from alluxio_lance.tables import LanceTable
    from alluxio_lance.upkeep import PolicyPlan, StorageReport
    from alluxio_lance.values import Event, Finding, Progress, Resource, Version
    from alluxio_lance.ways import CacheShare, Explanation

__all__ = ["Bump", "Mode", "OnProgress", "ResourceManager"]

Mode = Literal["append", "overwrite", "upsert"]
Bump = Literal["major", "minor", "patch"]
OnProgress = Callable[["Progress"], None]


class ResourceManager(ABC):
    """Datasets and models, from their registration to their deletion.

    Get one with `connect` (the sidecar of this node) or `embedded` (in this process, no server). Both are context
    managers and behave alike: one suite of contract tests runs on both.

    Every verb is recorded before it starts and either completed or undone, also when its process is killed in the
    middle. Calls that change something take ``request_id``: a second call with the same id returns the first one's
    result instead of doing it again.
    """

    @staticmethod
    def connect(address: str | None = None, *, timeout: float = 10.0) -> ResourceManager:
        """Talk to a sidecar.

        Parameters
        ----------
        address
            ``unix:/path/to/grpc.sock``; by default ``ALLUXIO_LANCE_ADDRESS``, else the socket in the run folder.
        timeout
            Seconds to wait for the sidecar to answer at all.

        Raises
        ------
        Unavailable
            When no sidecar answers; the message names the address and the command that starts one.
        """
        from alluxio_lance.client.manager import RemoteManager  # noqa: PLC0415 - the two halves load on demand

        return RemoteManager.open(address, timeout=timeout)

    @staticmethod
    def embedded(root: str | PathLike[str]) -> ResourceManager:
        """Run the lifecycle in this process on a folder: ``catalog.db`` (SQLite) and ``data/`` (the tables).

        Raises
        ------
        Unavailable
            When the server side is not installed; the message names the extra.
        """
        from alluxio_lance.embedded import open_embedded  # noqa: PLC0415 - the two halves load on demand

        return open_embedded(root)

    # -- verbs -----------------------------------------------------------------------------------------------------

    @abstractmethod
    def register_resource(
        self,
        type: str,
        name: str,
        data: Any,
        *,
        version: str | None = None,
        message: str = "",
        metadata: Mapping[str, Any] | None = None,
        provenance: Mapping[str, Any] | None = None,
        activate: bool = True,
        format: str | None = None,
        options: Mapping[str, Any] | None = None,
        request_id: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> Version:
        """Bring a new resource in, as its first version.

        Parameters
        ----------
        type, name
            ``datasets``, ``vision/cifar10``: a type, and a name that may contain slashes.
        data
            A path (Parquet, CSV, JSON lines, Arrow IPC, Lance, a folder of images, a file tree), a ``pa.Table``, a
            ``RecordBatchReader``, an iterable of record batches, a pandas or polars frame, or a Hugging Face
            ``Dataset``. It is streamed: its size is bounded by the disk, not by memory.
        version
            The semantic version, ``MAJOR.MINOR.PATCH``; ``1.0.0`` by default.
        activate
            Make it the active version at once.
        format, options
            The importer of a path and its options, where the path alone does not tell: ``format="images"``,
            ``options={"decode": [64, 64]}``. See docs/importers.md.

        Raises
        ------
        AlreadyExists
            When the resource exists: update it.
        InvalidArgument
            When a name, version or the data are not usable; nothing was changed.
        """

    @abstractmethod
    def update_resource(
        self,
        type: str,
        name: str,
        data: Any = None,
        *,
        mode: Mode = "append",
        on: str | Sequence[str] | None = None,
        bump: Bump | None = None,
        version: str | None = None,
        message: str = "",
        metadata: Mapping[str, Any] | None = None,
        provenance: Mapping[str, Any] | None = None,
        activate: bool = True,
        branch: str | None = None,
        format: str | None = None,
        options: Mapping[str, Any] | None = None,
        request_id: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> Version:
        """Make a new version that continues from the active one (the newest, when none is active).

        Without ``data`` only the metadata change (a patch). Append and upsert bump the minor version, and so does an
        overwrite; a schema that old readers cannot read bumps the major one. ``bump`` or ``version`` override.

        Parameters
        ----------
        mode
            ``append`` adds rows, ``overwrite`` replaces all, ``upsert`` replaces the rows whose key columns ``on``
            match and adds the others.
        branch
            Continue from the newest version of this branch, on it; never activates, and ``bump`` and ``version`` do
            not apply: the version is ``BASE-BRANCH.N``.

        Raises
        ------
        NotFound
            When the resource does not exist: register it; or the branch: `branch_resource`.
        Restoring
            When the version to continue from is archived: its restore is under way.
        Conflict
            When another update holds the resource for longer than the time-out, or the version is taken.
        InvalidArgument
            When the data do not fit the table; nothing was changed.
        """

    @abstractmethod
    def activate_resource(
        self, type: str, name: str, version: str, *, message: str = "", request_id: str | None = None
    ) -> Version:
        """Make a version the active one: readers that open the resource from now on get it. Moves no data.

        Raises
        ------
        PolicyDenied
            When a gate on activation says no; ``details["promotion"]`` has its report.
        Restoring
            When it is archived: its restore is under way.
        """

    @abstractmethod
    def deprecate_resource(
        self, type: str, name: str, version: str, *, message: str = "", request_id: str | None = None
    ) -> Version:
        """Mark a version as not to be used any more and let caches drop it; the table stays.

        When it was the active version the resource has no active version afterwards.
        """

    @abstractmethod
    def rollback_resource(
        self, type: str, name: str, version: str | None = None, *, message: str = "", request_id: str | None = None
    ) -> Version:
        """Make an earlier version active again; without ``version`` the one that was active before. Moves no data.

        No gate is asked: a way back must always be open. So it leads only to versions that were active before. A stage that goes with activation (production, by default)
        moves with the pointer.

        Raises
        ------
        InvalidArgument
            When the version was never active: `activate_resource` asks its gates.
        """

    # -- the cold tier ---------------------------------------------------------------------------------------------

    @abstractmethod
    def archive_resource(
        self,
        type: str,
        name: str,
        version: str,
        *,
        message: str = "",
        request_id: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> Version:
        """Move a version to the cold tier: copied, verified, and only then removed where it was hot.

        Files that other versions need stay. It is still listed, and comes back by itself when somebody opens it.

        Raises
        ------
        Leased
            While a reader holds it, on any node; ``details["holders"]`` names them.
        PolicyDenied
            When it holds a stage that only one version can hold, or a branch begins at it.
        InvalidArgument
            When it is the active version.
        """

    @abstractmethod
    def restore_resource(
        self,
        type: str,
        name: str,
        version: str,
        *,
        message: str = "",
        wait: bool = True,
        request_id: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> Version:
        """Bring an archived version back, under the number, with the content hash and in the state that it had.

        A second call, on whichever node, joins the first. One that is not archived is returned as it is.

        Raises
        ------
        Restoring
            Without ``wait``, as soon as it is under way; ``details["progress"]`` (0 to 1).
        """

    # -- stages ----------------------------------------------------------------------------------------------------

    @abstractmethod
    def promote_resource(
        self,
        type: str,
        name: str,
        version: str,
        *,
        to: str,
        reason: str = "",
        wait: bool = False,
        timeout: float | None = None,
        request_id: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> Version:
        """Move a version along an edge of the stage graph, if every gate on the edge passes.

        Parameters
        ----------
        wait
            Wait for approvals, ``timeout`` seconds at most (None: for ever).

        Raises
        ------
        PolicyDenied
            When a gate said no or could not be asked, or an approval is missing and ``wait`` is off or its time over.
            ``details["promotion"]`` is the promotion's id, ``details["report"]`` the list of gate results.
        InvalidArgument
            When the graph has no such stage or edge; the sentence says which it has.
        """

    @abstractmethod
    def approve_promotion(self, promotion: str, *, reason: str = "") -> Promotion:
        """Say yes to a promotion that waits; with the last approval it is completed, if the other gates still pass.

        Parameters
        ----------
        promotion
            Its id, or at least its first eight digits.

        Raises
        ------
        PermissionDenied
            When the caller has not the role that the gate asks for, or asked for the promotion himself.
        Conflict
            When it does not wait any more.
        """

    @abstractmethod
    def reject_promotion(self, promotion: str, *, reason: str = "") -> Promotion:
        """Say no to a promotion that waits; it ends as denied."""

    @abstractmethod
    def list_promotions(
        self, type: str | None = None, name: str | None = None, *, state: PromotionState | None = None
    ) -> list[Promotion]:
        """List promotions with the reports of their gates, newest first, the last 1000 at most."""

    @abstractmethod
    def measure_resource(
        self,
        type: str,
        name: str,
        version: str,
        metrics: Mapping[str, Any],
        *,
        message: str = "",
        request_id: str | None = None,
    ) -> Version:
        """Add metrics to a version, for gates and people to look at: ``{"accuracy": 0.93}``; None removes one.

        Rules may promote or roll back by themselves on what is measured.
        """

    # -- names -----------------------------------------------------------------------------------------------------

    @abstractmethod
    def tag_resource(
        self,
        type: str,
        name: str,
        version: str,
        tag: str,
        *,
        move: bool = False,
        message: str = "",
        request_id: str | None = None,
    ) -> Version:
        """Give a version a tag, ``@golden`` in a URI. A tagged version is not archived or deleted by any policy.

        Raises
        ------
        AlreadyExists
            When another version has it and ``move`` is off.
        InvalidArgument
            When the name is no tag, or one of a stage or branch.
        PermissionDenied
            When the tag is protected and the role does not grant it.
        """

    @abstractmethod
    def untag_resource(
        self, type: str, name: str, tag: str, *, message: str = "", request_id: str | None = None
    ) -> Version:
        """Take a tag away and return the version that had it."""

    @abstractmethod
    def label_resource(
        self,
        type: str,
        name: str,
        labels: Mapping[str, str | None],
        *,
        message: str = "",
        request_id: str | None = None,
    ) -> Resource:
        """Set labels of a resource, ``{"team": "vision"}``; None removes one. Policies and roles may go by them."""

    @abstractmethod
    def branch_resource(
        self,
        type: str,
        name: str,
        branch: str,
        *,
        version: str | None = None,
        message: str = "",
        request_id: str | None = None,
    ) -> Version:
        """Begin a branch at a version (the active one): its own line of versions, which shares the data.

        Returns
        -------
        Version
            The first version of the branch, ``BASE-BRANCH.1``, with the content of the base.
        """

    @abstractmethod
    def unbranch_resource(
        self, type: str, name: str, branch: str, *, message: str = "", request_id: str | None = None
    ) -> None:
        """Remove a branch with its versions; `Leased` while one is read."""

    @abstractmethod
    def merge_resource(
        self,
        type: str,
        name: str,
        branch: str,
        *,
        bump: Bump | None = None,
        activate: bool = True,
        message: str = "",
        request_id: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> Version:
        """Make the newest version of a branch the next version of the main line."""

    # -- the end of a resource -------------------------------------------------------------------------------------

    @abstractmethod
    def delete_resource(
        self,
        type: str,
        name: str,
        version: str | None = None,
        *,
        force: bool = False,
        message: str = "",
        request_id: str | None = None,
    ) -> None:
        """Take a resource, or one of its versions, out of sight; it is purged after the grace time of the rules.

        Parameters
        ----------
        force
            Although readers hold it: they keep what they have mapped, and no new one begins.

        Raises
        ------
        Leased
            While a reader holds it; the message and ``details["holders"]`` name the holders.
        PolicyDenied
            When the version holds a stage that only one can hold, or a branch begins at it.
        """

    @abstractmethod
    def undelete_resource(
        self, type: str, name: str, version: str | None = None, *, message: str = "", request_id: str | None = None
    ) -> None:
        """Take a deletion back, as long as nothing was purged."""

    @abstractmethod
    def purge_resource(
        self, type: str, name: str, version: str | None = None, *, message: str = "", request_id: str | None = None
    ) -> None:
        """Remove what was deleted for good, before its grace time is over: no byte stays in any tier.

        Raises
        ------
        InvalidArgument
            When it was not deleted before.
        """

    # -- looking ---------------------------------------------------------------------------------------------------

    @abstractmethod
    def get_resource(
        self,
        type: str,
        name: str,
        selector: str | None = None,
        *,
        wait: bool = False,
        on_progress: OnProgress | None = None,
    ) -> LanceTable:
        """Open a version: the active one, or the one that ``selector`` names.

        Parameters
        ----------
        selector
            ``1.2.0``, ``1.2``, ``v7``, ``sha-…``, a stage, a tag, or a branch (its newest version).
        wait
            When it is archived: wait until it is back, and tell ``on_progress``.

        Raises
        ------
        NotFound
            When there is no such resource or version.
        NotActive
            When no version is active and no selector was given.
        Restoring
            When it is archived and ``wait`` is off: its restore is under way.
        """

    @abstractmethod
    def find_version(self, type: str, name: str, selector: str | None = None) -> Version:
        """Find what a selector means, without opening it: an archived version stays where it is."""

    @abstractmethod
    def list_resources(
        self,
        type: str | None = None,
        *,
        search: str | None = None,
        labels: Mapping[str, str] | None = None,
        deleted: bool = False,
    ) -> list[Resource]:
        """List resources, sorted by type and name.

        Parameters
        ----------
        search
            Only those with this text in their name, or in the message of one of their versions, archived ones too.
        labels
            Only those with all of these labels.
        deleted
            Those that wait to be purged, instead.
        """

    @abstractmethod
    def list_versions(self, type: str, name: str, *, branch: str | None = None, deleted: bool = False) -> list[Version]:
        """List the versions of a resource, newest first, those of the branches behind those of the main line.

        Parameters
        ----------
        branch
            Only that one's; the empty text is the main line.
        deleted
            Those that wait to be purged, instead.
        """

    @abstractmethod
    def history(self, type: str, name: str) -> list[Event]:
        """List what was done to a resource, oldest first."""

    @abstractmethod
    def watch(self, after: int | None = None) -> Iterator[Event]:
        """Yield events as they happen, for ever; ``after`` is the last sequence already seen (None: from now on)."""

    @abstractmethod
    def storage(self, type: str, name: str) -> StorageReport:
        """Tell what each version takes, and how much of it alone."""

    # -- the cache below -------------------------------------------------------------------------------------------

    @abstractmethod
    def warm_resource(
        self,
        type: str,
        name: str,
        selector: str | None = None,
        *,
        on_progress: OnProgress | None = None,
    ) -> CacheShare:
        """Bring all files of a version into the cache of Alluxio, before somebody waits for them.

        Returns
        -------
        CacheShare
            What is cached afterwards; all of it where the tables lie in a folder. A version larger than the cache is
            not forced into it.

        Raises
        ------
        NotFound, NotActive, Restoring
            As `get_resource`.
        Unavailable
            When the cache does not answer.
        """

    @abstractmethod
    def cool_resource(self, type: str, name: str, version: str) -> int:
        """Let the cache drop the files that no other served version needs; return their bytes. No file is lost.

        Raises
        ------
        InvalidArgument
            When it is the active version.
        """

    @abstractmethod
    def explain_resource(self, type: str, name: str, selector: str | None = None) -> Explanation:
        """Tell by which way the node of this manager would read each file of a version now, and why."""

    # -- governing -------------------------------------------------------------------------------------------------

    @abstractmethod
    def rules(self) -> Rules:
        """Return the rules."""

    @abstractmethod
    def set_rules(self, text: str, *, revision: int | None = None, message: str = "") -> Rules:
        """Replace the rules by another TOML document.

        Parameters
        ----------
        revision
            The revision that the change was made from; None: whatever it is now.

        Raises
        ------
        InvalidArgument
            With the place of every fault in the document.
        Conflict
            When the rules have another revision by now.
        """

    @abstractmethod
    def plan_policies(self, type: str | None = None, name: str | None = None) -> PolicyPlan:
        """Tell what the policies would do now, how many bytes it frees, and what stands in the way. Changes nothing."""

    @abstractmethod
    def run_policies(self, type: str | None = None, name: str | None = None) -> PolicyPlan:
        """Do what `plan_policies` tells, as the janitor does from time to time."""

    @abstractmethod
    def whoami(self) -> Identity:
        """Tell who the caller is, and with which roles."""

    @abstractmethod
    def issue_token(
        self, name: str, roles: Sequence[str], *, lifetime: timedelta | None = None, message: str = ""
    ) -> tuple[Token, str]:
        """Make a bearer token.

        Returns
        -------
        tuple of Token and str
            The token's record, and the token itself, which is shown only now.

        Raises
        ------
        PermissionDenied
            When a role is not the caller's own and he is no admin.
        """

    @abstractmethod
    def list_tokens(self) -> list[Token]:
        """List all tokens, newest first, without their secrets."""

    @abstractmethod
    def revoke_token(self, id: str, *, message: str = "") -> Token:
        """End a token at once."""

    @abstractmethod
    def reconcile(self) -> list[Finding]:
        """Complete or undo what dead processes left; servers do so when they start."""

    @abstractmethod
    def alert(self, alert: Mapping[str, Any]) -> list[Event]:
        """Take an alert, in the form of Alertmanager's webhook, and do what the rules say: roll back, for one.

        Returns
        -------
        list of Event
            What was done because of it.
        """

    # -- the end ---------------------------------------------------------------------------------------------------

    @abstractmethod
    def close(self) -> None:
        """Let go of connections and threads; a second call does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
