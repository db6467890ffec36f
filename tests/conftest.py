"""Fixtures that every room shares."""

from __future__ import annotations

import fcntl
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import settings

from alluxio_lance.address import Address
from alluxio_lance.bench.servers import SERVERS, Server
from alluxio_lance.errors import Unavailable
from alluxio_lance.manager import ResourceManager
from alluxio_lance.storage.alluxio.cluster import Cluster, ClusterPlan, Ports
from alluxio_lance.storage.alluxio.cluster.jars import class_path, java
from alluxio_lance.values import Version

# Where tests run in several processes, each is told the terminal's width, and tables would be cut to it.
os.environ.pop("COLUMNS", None)

# How long an example takes is the machine's business. What fails can be run again by what is printed.
settings.register_profile("untimed", deadline=None, print_blob=True)
settings.load_profile("untimed")

# PyTorch imports it late, and after TensorFlow, which brings an LLVM of its own, that ends the process.
with suppress(ImportError):
    importlib.import_module("triton")


class Node:
    """A real sidecar in a process of its own, on a folder of its own; ``arguments`` are more of its command line."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.address = Address(folder / "run")
        self._root = folder / "root"
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def at(self) -> str:
        """What the ``address`` argument of a dataset takes."""
        return str(self.address.run_folder)

    @property
    def pid(self) -> int:
        """The process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it says that it is ready."""
        # A test process that is killed takes its sidecar with it.
        command = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-P", "-m", "alluxio_lance.sidecar.server"]
        self._process = subprocess.Popen(
            [*command, "--root", str(self._root), "--run-dir", self.at, *self._arguments], stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        assert json.loads(self._process.stdout.readline())["ready"]

    def kill(self) -> None:
        """End it as ``kill -9`` does."""
        assert self._process is not None
        self._process.kill()
        self._reap()

    def stop(self) -> None:
        """End it in good order; does nothing when it has ended."""
        if self._process is not None:
            self._process.terminate()
            self._reap()

    def _reap(self) -> None:
        assert self._process is not None
        self._process.communicate()
        self._process = None

    def call(self, verb: Callable[[ResourceManager], Any]) -> Any:
        """Do something with a manager that is connected to it."""
        with ResourceManager.connect(self.address.grpc) as manager:
            return verb(manager)

    def register(self, name: str, data: Any, **options: Any) -> Version:
        """Register ``datasets/NAME``."""
        version: Version = self.call(lambda manager: manager.register_resource("datasets", name, data, **options))
        return version

    def update(self, name: str, data: Any, **options: Any) -> Version:
        """Update ``datasets/NAME``."""
        version: Version = self.call(lambda manager: manager.update_resource("datasets", name, data, **options))
        return version


@contextmanager
def _running(*arguments: str) -> Iterator[Node]:
    # Socket paths have at most 107 bytes: pytest's own folders are too deep.
    with tempfile.TemporaryDirectory(prefix="al-") as folder:
        node = Node(Path(folder), *arguments)
        try:
            node.start()
            yield node
        finally:
            node.stop()


@pytest.fixture(scope="session")
def node() -> Iterator[Node]:
    """One sidecar for all tests that only add resources of their own."""
    with _running() as found:
        yield found


@pytest.fixture
def own_node() -> Iterator[Node]:
    """A sidecar that the test may kill."""
    with _running() as found:
        yield found


@pytest.fixture
def make_node() -> Iterator[Callable[..., Node]]:
    """Start sidecars with arguments of the test's own; they end with the test."""
    with ExitStack() as keep:
        yield lambda *arguments: keep.enter_context(_running(*arguments))


class Databases:
    """Databases by kind; a server starts when the first test wants it."""

    def __init__(self) -> None:
        self._servers: dict[str, Server] = {}
        self._clean: dict[str, str] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="al-")

    def server(self, kind: str) -> Server:
        """Give a server; skips the test when its programs are not installed."""
        if kind not in self._servers:
            if absent := SERVERS[kind].absent():
                pytest.skip(f"{' and '.join(absent)} not found: apt-get install {SERVERS[kind].package}")
            self._servers[kind] = SERVERS[kind]()
        return self._servers[kind]

    @contextmanager
    def clean(self, kind: str, folder: Path) -> Iterator[str]:
        """Give a database with the tables of this release and no rows, quicker than a test could make one."""
        from alluxio_lance.catalog import DatabaseCatalog
        from alluxio_lance.catalog.schema import counters, metadata

        if kind not in self._clean:
            made = f"sqlite:///{self._folder.name}/clean.db" if kind == "sqlite" else self.server(kind).create()
            self._clean[kind] = made
            DatabaseCatalog.open(made).close()
        if kind == "sqlite":
            shutil.copy(f"{self._folder.name}/clean.db", folder / "catalog.db")
            yield f"sqlite:///{folder}/catalog.db"
            return
        yield self._clean[kind]
        engine = sa.create_engine(self._clean[kind], poolclass=sa.NullPool)
        with engine.begin() as connection:
            for table in reversed(metadata.sorted_tables):
                connection.execute(sa.delete(table))
            connection.execute(sa.insert(counters), {"name": "events", "value": 0})

    @contextmanager
    def empty(self, kind: str, folder: Path) -> Iterator[str]:
        """Make a database without tables for one test and give its URL."""
        if kind == "sqlite":
            yield f"sqlite:///{folder}/catalog.db"
            return
        server = self.server(kind)
        url = server.create()
        yield url
        server.drop(url)

    def close(self) -> None:
        """Stop the servers."""
        for server in self._servers.values():
            server.close()
        self._folder.cleanup()


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    """Real databases of all three kinds."""
    opened = Databases()
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def jars() -> None:
    """Java and the jars, without which there is no Alluxio here; `make servers` brings both."""
    try:
        java()
        class_path(lambda _: None)
    except Unavailable as missing:
        pytest.skip(missing.message)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory, jars: None) -> Iterator[Cluster]:
    """One real Alluxio for the whole run, started when the first test asks: small, quick, on ports that were free."""
    folder = tmp_path_factory.mktemp("alluxio")
    plan = ClusterPlan(folder=folder, ports=Ports.free(), tier_bytes=256 << 20, heap_bytes=256 << 20, small=True)
    found = Cluster.start(plan)
    yield found
    found.stop()


@pytest.fixture
def alluxio(cluster: Cluster) -> str:
    """The address of a store in it: an empty folder of the test's own."""
    return cluster.uri.replace("/?", f"/lance-{uuid.uuid4().hex[:12]}/tables?")


@pytest.fixture
def alone_with_pages() -> Iterator[None]:
    """Wait until no other test on this machine, in whichever process, has changed the kernel's settings of huge pages, or takes them."""
    with (Path(tempfile.gettempdir()) / "alluxio-lance-tests-of-pages").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
