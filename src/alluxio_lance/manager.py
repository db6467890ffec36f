"""The face of the lifecycle: one abstract class, implemented in process (`embedded`) and over gRPC (`connect`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

if TYPE_CHECKING:
    from alluxio_lance.tables import LanceTable
    from alluxio_lance.values import Event, Progress, Resource, Version

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

        Raises
        ------
        NotFound
            When the resource does not exist: register it.
        Conflict
            When another update holds the resource for longer than the time-out, or the version is taken.
        InvalidArgument
            When the data do not fit the table; nothing was changed.
        """

    @abstractmethod
    def activate_resource(
        self, type: str, name: str, version: str, *, message: str = "", request_id: str | None = None
    ) -> Version:
        """Make a version the active one: readers that open the resource from now on get it. Moves no data."""

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
        """Make an earlier version active again; without ``version`` the one that was active before. Moves no data."""

    @abstractmethod
    def delete_resource(self, type: str, name: str, *, message: str = "", request_id: str | None = None) -> None:
        """Remove a resource with all its versions.

        Raises
        ------
        Leased
            While a reader holds any version; the message and ``details["holders"]`` name the holders.
        """

    # -- looking ---------------------------------------------------------------------------------------------------

    @abstractmethod
    def get_resource(self, type: str, name: str, selector: str | None = None) -> LanceTable:
        """Open a version: the active one, or the one that ``selector`` names (``1.2.0``, ``1.2``, ``v7``, ``sha-…``).

        Raises
        ------
        NotFound
            When there is no such resource or version.
        NotActive
            When no version is active and no selector was given.
        """

    @abstractmethod
    def list_resources(self, type: str | None = None) -> list[Resource]:
        """List resources, sorted by type and name."""

    @abstractmethod
    def list_versions(self, type: str, name: str) -> list[Version]:
        """List the versions of a resource, newest first."""

    @abstractmethod
    def history(self, type: str, name: str) -> list[Event]:
        """List what was done to a resource, oldest first."""

    @abstractmethod
    def watch(self, after: int | None = None) -> Iterator[Event]:
        """Yield events as they happen, for ever; ``after`` is the last sequence already seen (None: from now on)."""

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
