"""The process of a node: catalog, store, manager, shared memory, door and gRPC, started and stopped in the right order."""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import socket
import sys
import threading
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType, TracebackType
from typing import Final, Self

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from alluxio_lance.address import Address
from alluxio_lance.catalog import DatabaseCatalog
from alluxio_lance.embedded import tables_folder
from alluxio_lance.errors import AlluxioLanceError, NotFound, Unavailable
from alluxio_lance.lifecycle.local import LocalManager
from alluxio_lance.lifecycle.ports import TableReader
from alluxio_lance.sidecar.budget import Budget
from alluxio_lance.sidecar.door import Door
from alluxio_lance.sidecar.feed import Feed
from alluxio_lance.sidecar.leases import Leases, leftovers
from alluxio_lance.sidecar.logs import log_to_stderr
from alluxio_lance.sidecar.peers import Peers
from alluxio_lance.sidecar.prefetcher import Prefetcher
from alluxio_lance.sidecar.residency import Residency
from alluxio_lance.sidecar.run_folder import RunFolder
from alluxio_lance.sidecar.services.cache import Cache
from alluxio_lance.sidecar.services.guard import LONGEST_METADATA, Guard
from alluxio_lance.sidecar.services.happenings import Happenings
from alluxio_lance.sidecar.services.lifecycle import Lifecycle
from alluxio_lance.sidecar.settings import Settings, Share
from alluxio_lance.storage import LanceStore
from alluxio_lance.v1 import cache_pb2, lifecycle_pb2
from alluxio_lance.v1.cache_pb2_grpc import add_CacheServicer_to_server
from alluxio_lance.v1.lifecycle_pb2_grpc import add_LifecycleServicer_to_server
from alluxio_lance.values import Version

__all__ = ["Sidecar", "main"]

_THREADS: Final = 256
"""Threads for calls; they are made when they are needed."""
_MOST_LONG: Final = 192
"""Long calls at once: the others keep a way in."""
_LARGEST_MESSAGE: Final = 64 << 20
_GRACE: Final = 1.0
"""Seconds that calls have to end by themselves when the sidecar stops."""
_SERVICES: Final = (
    lifecycle_pb2.DESCRIPTOR.services_by_name["Lifecycle"].full_name,
    cache_pb2.DESCRIPTOR.services_by_name["Cache"].full_name,
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
        _raise_descriptor_limit()
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
    def manager(self) -> LocalManager:
        """The manager that does the work."""
        return self._manager

    @property
    def residency(self) -> Residency:
        """What is hot."""
        return self._residency

    @property
    def leases(self) -> Leases:
        """Who reads it."""
        return self._leases

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
        store = LanceStore.local(tables_folder(settings.root))
        self._parts.callback(catalog.close)
        nudge = threading.Event()
        self._manager = keep(LocalManager(catalog, store, node=settings.node, observer=lambda *_: nudge.set()))
        self._manager.reconcile()
        _release_leftovers(catalog, settings.node, folder.exchange("instance", self.instance))
        self._feed = keep(Feed(catalog, nudge))
        self._happenings = Happenings()
        self._residency = keep(
            Residency(
                lambda version: _open(catalog, store, version),
                _budget(settings),
                keep_previous=settings.keep_previous,
                shard_bytes=settings.shard_bytes,
                on_event=self._happenings.tell,
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
        prefetcher = keep(Prefetcher(catalog, self._residency, self._feed, load=settings.prefetch == "active"))
        self._door = keep(
            Door(
                self.address,
                peers=peers,
                leases=self._leases,
                announcements=prefetcher,
                instance=self.instance,
                node=settings.node,
                shared=shared,
            )
        )
        prefetcher.start(self._door.announce)
        self._serve(peers, catalog, prefetcher, shared=shared)

    def _serve(self, peers: Peers, catalog: DatabaseCatalog, prefetcher: Prefetcher, *, shared: bool) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="call")
        self._server = grpc.server(
            self._threads,
            interceptors=[Guard(peers, _MOST_LONG)],
            options=[
                ("grpc.max_send_message_length", _LARGEST_MESSAGE),
                ("grpc.max_receive_message_length", _LARGEST_MESSAGE),
                ("grpc.max_metadata_size", LONGEST_METADATA),
            ],
        )
        node = self.settings.node
        add_LifecycleServicer_to_server(
            Lifecycle(self._manager, peers=peers, feed=self._feed, events=catalog, node=node, settle=self.settle),
            self._server,
        )
        add_CacheServicer_to_server(
            Cache(
                self._residency,
                catalog,
                self._leases,
                self._happenings,
                peers=peers,
                opened=prefetcher.opened,
                settle=self._door.settle,
                node=node,
                pid=os.getpid(),
                started_at=datetime.now(UTC),
            ),
            self._server,
        )
        self._health = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection((*_SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)
        self._parts.callback(self._stop_serving)
        self._bind(0o666 if shared else 0o600)
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
        self._residency.close()
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


def _open(catalog: DatabaseCatalog, store: LanceStore, version: Version) -> TableReader:
    location = catalog.location(version.type, version.name)
    if location is None:
        raise NotFound(f"{version.uri} was deleted before it could be loaded")
    return store.open(location, version.version)


def _budget(settings: Settings) -> Budget:
    wanted = settings.memory_budget
    if isinstance(wanted, Share):
        return Budget.detect(float(wanted))
    return Budget.detect() if wanted is None else Budget(wanted)


def _release_leftovers(catalog: DatabaseCatalog, node: str, earlier: str | None) -> None:
    """End the leases that the sidecar before this one left behind; those of living readers expire by themselves."""
    if not earlier:
        return
    for resource_ in catalog.resources():
        holders = catalog.holders(resource_.type, resource_.name)
        catalog.release(leftovers(holders, node=node, instance=earlier, alive=_is_alive))


def _is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _raise_descriptor_limit() -> None:
    """Allow this process as many open files as the system lets it: segments and connections need many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


# -- the process -------------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sidecar until SIGTERM or SIGINT; a second signal ends it at once.

    One JSON line on the standard output says when it is ready.
    """
    log_to_stderr()
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature is the signal module's
        if stop.is_set():
            os._exit(1)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    try:
        with Sidecar(_settings(arguments)) as sidecar:
            _say_ready(sidecar)
            stop.wait()
            _notify("STOPPING=1")
    except AlluxioLanceError as error:
        sys.stderr.write(f"{error.message}\n")
        return error.exit_code
    return 0


def _settings(arguments: Sequence[str] | None) -> Settings:
    parser = argparse.ArgumentParser(prog="python -m alluxio_lance.sidecar.server", description=__doc__)
    for name, description in _ARGUMENTS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", dest=name, default=argparse.SUPPRESS, help=description)
    return Settings(**vars(parser.parse_args(arguments)))


_ARGUMENTS: Final = {
    "root": "the folder of catalog and tables",
    "run_dir": "the folder of the sockets",
    "catalog": "the database URL of the catalog",
    "node": "the name of this node",
    "memory_budget": "what hot versions may take: 4GiB, or 60%%",
    "prefetch": "active or none",
    "lease_ttl": "seconds that the catalog keeps the leases of a dead sidecar",
}


def _say_ready(sidecar: Sidecar) -> None:
    record = {"ready": True, "address": sidecar.address.grpc, "pid": os.getpid(), "instance": sidecar.instance}
    sys.stdout.write(json.dumps(record) + "\n")
    sys.stdout.flush()
    _notify("READY=1")


def _notify(state: str) -> None:
    """Tell systemd, if it is there (sd_notify(3))."""
    name = os.environ.get("NOTIFY_SOCKET")
    if not name:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bus:
        bus.connect(f"\0{name[1:]}" if name.startswith("@") else name)
        bus.send(state.encode())


if __name__ == "__main__":
    sys.exit(main())
