"""The process of a node: catalog, store, manager, shared memory, door and gRPC, started and stopped in the right order."""

from __future__ import annotations

import os
import resource
import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from alluxio_lance.address import Address, RemoteAddress
from alluxio_lance.catalog import DatabaseCatalog
from alluxio_lance.embedded import tables_folder
from alluxio_lance.errors import Unavailable
from alluxio_lance.lifecycle.access.authenticating import Authenticator
from alluxio_lance.lifecycle.caching import loads
from alluxio_lance.lifecycle.local import LocalManager
from alluxio_lance.lifecycle.rules import RulesBook
from alluxio_lance.sidecar.allocator import Trimmer, share_heaps
from alluxio_lance.sidecar.budget import Budget
from alluxio_lance.sidecar.commits import log_commits
from alluxio_lance.sidecar.disk import DiskTier, prune
from alluxio_lance.sidecar.door import Door
from alluxio_lance.sidecar.feed import Feed
from alluxio_lance.sidecar.janitor import Janitor
from alluxio_lance.sidecar.leases import Leases
from alluxio_lance.sidecar.leftovers import release_leftovers
from alluxio_lance.sidecar.listener import listen
from alluxio_lance.sidecar.loading import Loading
from alluxio_lance.sidecar.open_calls import OpenCalls
from alluxio_lance.sidecar.peers import Peers
from alluxio_lance.sidecar.prefetcher import Prefetcher
from alluxio_lance.sidecar.reading import StoredVersions
from alluxio_lance.sidecar.residency import CacheEvent, Residency
from alluxio_lance.sidecar.run_folder import RunFolder
from alluxio_lance.sidecar.seeing import Seeing
from alluxio_lance.sidecar.selections import Selections
from alluxio_lance.sidecar.services.cache import Cache
from alluxio_lance.sidecar.services.governance import Governance
from alluxio_lance.sidecar.services.guard import LONGEST_METADATA, Guard
from alluxio_lance.sidecar.services.happenings import Happenings
from alluxio_lance.sidecar.services.lifecycle import Lifecycle
from alluxio_lance.sidecar.services.selection import Selection
from alluxio_lance.sidecar.settings import Settings, Share
from alluxio_lance.sidecar.window_calls import WindowCalls
from alluxio_lance.storage import LanceStore
from alluxio_lance.v1 import cache_pb2, governance_pb2, lifecycle_pb2, selection_pb2
from alluxio_lance.v1.cache_pb2_grpc import add_CacheServicer_to_server
from alluxio_lance.v1.governance_pb2_grpc import add_GovernanceServicer_to_server
from alluxio_lance.v1.lifecycle_pb2_grpc import add_LifecycleServicer_to_server
from alluxio_lance.v1.selection_pb2_grpc import add_SelectionServicer_to_server
from alluxio_lance.values import Verb, Version

__all__ = ["Sidecar"]

_THREADS: Final = 256
"""Threads for calls; they are made when they are needed."""
_MOST_LONG: Final = 192
"""Long calls at once: the others keep a way in."""
_LARGEST_MESSAGE: Final = 64 << 20
_GRACE: Final = 1.0
"""Seconds that calls have to end by themselves when the sidecar stops."""
_SERVICES: Final = (
    lifecycle_pb2.DESCRIPTOR.services_by_name["Lifecycle"].full_name,
    governance_pb2.DESCRIPTOR.services_by_name["Governance"].full_name,
    cache_pb2.DESCRIPTOR.services_by_name["Cache"].full_name,
    selection_pb2.DESCRIPTOR.services_by_name["Selection"].full_name,
)


class Sidecar:
    """A running node; leaving the context stops it.

    Raises
    ------
    AlreadyExists
        When another sidecar runs in the run folder.
    Unavailable, PermissionDenied, InvalidArgument
        When the catalog, the root or the run folder cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.instance = uuid.uuid4().hex
        self._parts = ExitStack()
        self._closed = False
        self.silence = ""
        """Why the store did not answer at the start; empty when it did."""
        _raise_descriptor_limit()
        share_heaps()
        try:
            self._start()
        except BaseException:
            self._parts.close()
            raise

    @property
    def address(self) -> Address:
        """Where it is found."""
        return Address(self.settings.run_dir)

    @property
    def remote_address(self) -> RemoteAddress | None:
        """Where it is found over the network; None when it does not listen there."""
        return self._remote

    @property
    def manager(self) -> LocalManager:
        """The manager that does the work."""
        return self._manager

    @property
    def residency(self) -> Residency:
        """What is hot."""
        return self._residency

    @property
    def disk(self) -> DiskTier | None:
        """What lies on this node's disk, where something shall."""
        return self._disk

    @property
    def leases(self) -> Leases:
        """Who reads it."""
        return self._leases

    @property
    def janitor(self) -> Janitor | None:
        """Who runs the policies, unless the settings say that this node does not."""
        return self._janitor

    def settle(self) -> None:
        """Wait until the ends of all readers that have ended by now are known here and in the catalog."""
        self._door.settle()
        self._leases.settle()

    def close(self) -> None:
        """Stop: no new calls, watches end, leases end in the catalog, sockets go. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        self._parts.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self) -> None:
        """Start the parts, each after those that it needs; they stop in the opposite order."""
        settings, keep = self.settings, self._parts.enter_context
        shared = bool(settings.allow_users)
        peers = Peers(settings.allow_users)
        folder = keep(RunFolder.open(settings.run_dir, shared=shared))
        _make_root(settings.root)
        catalog = DatabaseCatalog.open(settings.catalog_url)
        store = LanceStore.at(
            settings.store,
            tables_folder(settings.root),
            settings.cold or None,
            settings.cold_options,
            # What lies on this node's disk is served while the store is down.
            patient=bool(settings.disk_share),
        )
        self._parts.callback(catalog.close)
        self.silence = log_commits(settings.store)
        nudge = threading.Event()
        trimmer = keep(Trimmer())

        def observe(_: Verb, step: str) -> None:
            # Only a commit brings events: the feed takes no time from the verb itself.
            if step == "committed":
                nudge.set()
            trimmer.soon()

        book = RulesBook(catalog)
        self._disk = self._open_disk()
        self._manager = keep(LocalManager(catalog, store, node=settings.node, observer=observe, settle_behind=True))
        self._manager.reconcile()
        release_leftovers(catalog, node=settings.node, earlier=folder.exchange("instance", self.instance))
        self._feed = keep(Feed(catalog, nudge))
        self._happenings = Happenings()

        def happened(event: CacheEvent) -> None:
            self._happenings.tell(event)
            trimmer.soon()

        versions = StoredVersions(catalog, store, lambda version: _warms(catalog, book, version))
        self._selections = keep(Selections(versions.open))
        self._residency = keep(
            Residency(
                Loading(versions, self._disk),
                _budget(settings),
                keep_previous=settings.keep_previous,
                shard_bytes=settings.shard_bytes,
                on_event=happened,
            )
        )
        self._leases = keep(
            Leases(
                catalog,
                node=settings.node,
                instance=self.instance,
                ttl=settings.lease_ttl,
                pending=settings.lease_pending,
            )
        )
        authenticator = Authenticator(catalog, book, node=settings.node)
        windows = keep(WindowCalls(self._residency.windows))
        self._prefetcher = keep(
            Prefetcher(
                catalog,
                self._residency,
                self._feed,
                load=settings.prefetch == "active",
                on_gone=partial(_prune, self._disk, catalog),
            )
        )
        self._prune_all(catalog)
        opens = keep(OpenCalls(self._residency, self._leases, self._manager, authenticator, self._prefetcher.opened))
        self._door = keep(
            Door(
                self.address,
                peers=peers,
                leases=self._leases,
                announcements=self._prefetcher,
                sees=Seeing(peers, authenticator, self._manager),
                windows=windows,
                opens=opens,
                instance=self.instance,
                node=settings.node,
                shared=shared,
            )
        )
        self._prefetcher.start(self._door.announce)
        self._janitor = self._start_janitor(catalog)
        self._serve(peers, catalog, authenticator, shared=shared)

    def _open_disk(self) -> DiskTier | None:
        """Open the disk tier, if there is to be one."""
        share = self.settings.disk_share
        if not share:
            return None

        def budget(free: int) -> int:
            return int(free * share) if isinstance(share, Share) else share

        settings = self.settings
        return self._parts.enter_context(
            DiskTier.open(settings.disk_folder, budget, maps_units=settings.stream_from == "disk")
        )

    def _prune_all(self, catalog: DatabaseCatalog) -> None:
        """Remove from the disk tier what was purged while this node was down, and since.

        Once the prefetcher is made: of what is purged later it is told, of what a death had left half purged it is not.
        """
        if self._disk is not None:
            for type, name in self._disk.owners():
                prune(self._disk, catalog, type, name)

    def _start_janitor(self, catalog: DatabaseCatalog) -> Janitor | None:
        settings = self.settings
        if not settings.janitor_interval:
            return None
        holder = f"{settings.node}:{self.instance}"
        return self._parts.enter_context(
            Janitor(catalog, self._manager, holder=holder, interval=settings.janitor_interval)
        )

    def _serve(self, peers: Peers, catalog: DatabaseCatalog, authenticator: Authenticator, *, shared: bool) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="call")
        self._server = grpc.server(
            self._threads,
            interceptors=[Guard(peers, _MOST_LONG, authenticator)],
            options=[
                ("grpc.max_send_message_length", _LARGEST_MESSAGE),
                ("grpc.max_receive_message_length", _LARGEST_MESSAGE),
                ("grpc.max_metadata_size", LONGEST_METADATA),
                # Two sidecars on one port would each get some of the calls.
                ("grpc.so_reuseport", 0),
            ],
        )
        node = self.settings.node
        add_LifecycleServicer_to_server(
            Lifecycle(self._manager, journal=catalog, feed=self._feed, settle=self.settle), self._server
        )
        add_GovernanceServicer_to_server(Governance(self._manager, settle=self.settle), self._server)
        add_CacheServicer_to_server(
            Cache(
                self._residency,
                self._manager,
                catalog,
                self._leases,
                self._happenings,
                peers=peers,
                opened=self._prefetcher.opened,
                settle=self._door.settle,
                node=node,
                pid=os.getpid(),
                started_at=datetime.now(UTC),
            ),
            self._server,
        )
        add_SelectionServicer_to_server(Selection(self._selections, self._leases, peers=peers), self._server)
        self._health = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection((*_SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)
        self._parts.callback(self._stop_serving)
        self._bind(0o666 if shared else 0o600)
        self._remote = listen(self._server, self.settings)
        self._server.start()
        for name in ("", *_SERVICES):
            self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    def _bind(self, mode: int) -> None:
        path = self.settings.run_dir / "grpc.sock"
        # The folder is locked: what lies there is a dead sidecar's.
        path.unlink(missing_ok=True)
        self._parts.callback(path.unlink, missing_ok=True)
        try:
            self._server.add_insecure_port(self.address.grpc)
            path.chmod(mode)
        except (RuntimeError, OSError) as error:
            raise Unavailable(f"{path} cannot be listened on ({error})", what="run folder") from error

    def _stop_serving(self) -> None:
        """End calls, the patient ones first; loads are cut off, and what they were for is told so."""
        self._health.enter_graceful_shutdown()
        self._feed.close()
        self._happenings.close()
        self._server.stop(_GRACE).wait()
        self._leases.close()
        # It sends descriptors by their numbers: those that residency closes may soon be other files'.
        self._door.close()
        self._prefetcher.cease()
        self._selections.close()
        self._residency.close()
        self._manager.cease()
        self._threads.shutdown()


def _make_root(root: Path) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(
            f"the root {root} cannot be made ({error.strerror}) - set root (ALLUXIO_LANCE_ROOT) to a folder that this "
            "user can write",
            what="root",
        ) from error


def _prune(disk: DiskTier | None, catalog: DatabaseCatalog, type: str, name: str) -> None:
    if disk is not None:
        prune(disk, catalog, type, name)


def _warms(catalog: DatabaseCatalog, book: RulesBook, version: Version) -> bool:
    """Tell whether the rules want a version in the store's cache before it is read."""
    resource = catalog.resource(version.type, version.name)
    return resource is not None and loads(book, version.type, version.name, resource.labels)


def _budget(settings: Settings) -> Budget:
    wanted = settings.memory_budget
    if isinstance(wanted, Share):
        return Budget.detect(float(wanted))
    return Budget.detect() if wanted is None else Budget(wanted)


def _raise_descriptor_limit() -> None:
    """Allow this process as many open files as the system lets it: segments and connections need many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    from alluxio_lance.sidecar.command import main

    sys.exit(main())
