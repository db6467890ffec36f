"""Stores in temporary folders, a real S3 server, and short ways to say what is written."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pytest

from alluxio_lance.lifecycle.ports import Source, Write
from alluxio_lance.storage import LanceStore

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def store(tmp_path):
    """An empty store."""
    return LanceStore.local(tmp_path / "root")


@pytest.fixture
def write():
    """Make the description of a write."""

    def make(operation="1" * 32, on_progress=None):
        return Write(operation=operation, actor="ada@node", message="because", on_progress=on_progress)

    return make


@pytest.fixture
def source():
    """Make a source of a table, or of batches that a generator yields."""

    def make(data, schema=None):
        if isinstance(data, pa.Table):
            return Source(
                reader=pa.RecordBatchReader.from_batches(data.schema, data.to_batches()), description="the test's table"
            )
        return Source(reader=pa.RecordBatchReader.from_batches(schema, data), description="the test's stream")

    return make


@pytest.fixture
def read(store):
    """Read a whole version."""

    def make(location, version, columns=None):
        with store.open(location, version) as reader:
            names = columns or reader.schema.names
            schema = pa.schema([reader.schema.field(name) for name in names], reader.schema.metadata)
            return pa.Table.from_batches(reader.batches(names), schema)

    return make


class S3Server:
    """A real S3 server in a folder of its own, on a port that was free; its objects are plain files there."""

    KEYS: Mapping[str, str] = {"access_key_id": "tester", "secret_access_key": "a-secret-of-tests"}

    def __init__(self, program: Path) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="al-s3-")
        self.objects = Path(self._folder.name) / "objects"
        for folder in (self.objects / "bucket", Path(self._folder.name) / "sidecar"):
            folder.mkdir(parents=True)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        # A test process that is killed takes its server with it. Keys go by the environment, not by the command line.
        self._process = subprocess.Popen(
            [
                *("setpriv", "--pdeathsig", "KILL", program, "--port", f"127.0.0.1:{self.port}", "--quiet"),
                *("posix", "--sidecar", Path(self._folder.name) / "sidecar", self.objects),
            ],
            env={
                **os.environ,
                "ROOT_ACCESS_KEY": self.KEYS["access_key_id"],
                "ROOT_SECRET_KEY": self.KEYS["secret_access_key"],
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._wait()

    def _wait(self) -> None:
        for _ in range(1000):
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except ConnectionRefusedError:
                try:
                    raise AssertionError(f"the S3 server ended with {self._process.wait(0.02)}")
                except subprocess.TimeoutExpired:
                    continue
            return
        raise AssertionError("the S3 server does not answer")

    @property
    def options(self) -> dict[str, str]:
        """What reaches it."""
        return {
            "endpoint": f"http://127.0.0.1:{self.port}",
            "allow_http": "true",
            "retry_timeout": "5",
            **self.KEYS,
        }

    def close(self) -> None:
        """Stop it and remove its folder."""
        self._process.terminate()
        self._process.wait(30)
        self._folder.cleanup()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """One S3 server for the whole run; skips the test when the program was not built."""
    programs = sorted((REPOSITORY / "build" / "s3").glob("versitygw-*[0-9]"))
    if not programs or shutil.which("setpriv") is None:
        pytest.skip("versitygw is not built: deploy/setup/s3")
    server = S3Server(programs[-1])
    yield server
    server.close()


@dataclass
class Cold:
    """A cold tier by its address, and the folder in which a test sees its files."""

    address: str
    folder: Path
    options: dict[str, str] = field(default_factory=dict)


@pytest.fixture
def make_cold(request, tmp_path) -> Callable[[str], Cold]:
    """Make an empty cold tier of a kind: ``folder`` or ``s3``."""

    def make(kind):
        if kind == "folder":
            return Cold(str(tmp_path / "far"), tmp_path / "far")
        server = request.getfixturevalue("s3_server")
        prefix = f"tests/{uuid.uuid4().hex}"
        return Cold(f"s3://bucket/{prefix}", server.objects / "bucket" / prefix, server.options)

    return make


@pytest.fixture(params=["folder", "s3"])
def cold(request, make_cold) -> Cold:
    """Both kinds of cold tier, empty."""
    return make_cold(request.param)


@dataclass
class Tiers:
    """A store with a cold tier, and the folders of both."""

    store: LanceStore
    root: Path
    cold: Cold

    def hot_bytes(self) -> int:
        """Sum the sizes of all files of the hot tier, as ``du`` does."""
        return sum(path.stat().st_size for path in self.root.rglob("*") if path.is_file())

    def hot_files(self) -> dict[str, bytes]:
        """Return the hot files with their content."""
        return {
            path.relative_to(self.root).as_posix(): path.read_bytes() for path in self.root.rglob("*") if path.is_file()
        }

    def cold_files(self) -> dict[str, bytes]:
        """Return the cold files with their content."""
        found = self.cold.folder.rglob("*")
        return {path.relative_to(self.cold.folder).as_posix(): path.read_bytes() for path in found if path.is_file()}


@pytest.fixture
def make_tiers() -> Callable[[str, Path, Cold], Tiers]:
    """Make an empty store with its tables at an address, whose files a test sees in a folder."""
    return lambda address, root, cold: Tiers(LanceStore.at(address, root, cold.address, cold.options), root, cold)


@pytest.fixture
def tiers(tmp_path, cold, make_tiers) -> Tiers:
    """An empty store with each kind of cold tier."""
    return make_tiers("", tmp_path / "data", cold)


@pytest.fixture
def local_tiers(tmp_path) -> Tiers:
    """An empty store with the cold tier that it has by default."""
    return Tiers(LanceStore.local(tmp_path / "data"), tmp_path / "data", Cold("", tmp_path / "cold"))


@pytest.fixture
def snapshots() -> Callable[..., tuple[dict, dict]]:
    """Describe versions as the catalog would: by number, and all their files by path."""

    def make(store, location, versions, known=None):
        files = dict(known or {})
        found = {}
        for version in versions:
            found[version] = store.snapshot(location, version, files)
            files |= {file.path: file for file in found[version].files}
        return found, files

    return make
