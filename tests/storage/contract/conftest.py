"""The stores of the contract: a folder, Alluxio over a folder, Alluxio over an S3 server; all their files on this disk."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lance
import obstore
import pytest
from obstore.store import S3Store

from alluxio_lance.files.namespace import Namespace
from alluxio_lance.storage import LanceStore

COLD = {"folder": "folder", "folder+s3": "s3", "alluxio": "folder", "alluxio-s3": "s3"}
"""The kinds of ground, and the cold tier of each."""


@dataclass
class Ground:
    """Where a store keeps its tables."""

    kind: str
    address: str
    """Empty: a local folder."""
    root: Path
    """The folder on this disk in which the under-store has the tables."""
    bucket: Path | None = None
    """The folder of the S3 server's bucket, when it is one."""
    options: Mapping[str, str] = field(default_factory=dict)
    """How to reach that server."""

    def damage(self, path: Path, data: bytes | None) -> None:
        """Replace a file behind the store's back, or remove it; of a bucket through its server, which keeps a record."""
        if self.bucket is None:
            path.unlink() if data is None else path.write_bytes(data)
            return
        config: Any = {key: self.options[key] for key in ("endpoint", "access_key_id", "secret_access_key")}
        server = S3Store(
            self.bucket.name, config={**config, "region": "us-east-1"}, client_options={"allow_http": True}
        )
        key = path.relative_to(self.bucket).as_posix()
        obstore.delete(server, key) if data is None else obstore.put(server, key, data)


@pytest.fixture(scope="session")
def mounted(cluster, s3_server) -> Iterator[tuple[str, Path]]:
    """A bucket of the S3 server in the namespace: the name of the mount point, and the bucket's folder on this disk."""
    name = f"s3-{uuid.uuid4().hex[:8]}"
    keys = {"accessKeyId": s3_server.KEYS["access_key_id"], "secretKey": s3_server.KEYS["secret_access_key"]}
    options = {
        "alluxio.underfs.s3.endpoint": s3_server.options["endpoint"],
        "alluxio.underfs.s3.endpoint.region": "us-east-1",
        "alluxio.underfs.s3.disable.dns.buckets": "true",
        **{f"{kind}.{key}": value for kind in ("s3a", "aws") for key, value in keys.items()},
    }
    bucket = s3_server.objects / name
    bucket.mkdir()
    with Namespace("localhost", cluster.plan.ports.proxy) as namespace:
        namespace.mount(f"/{name}", f"s3://{name}/", options)
        yield name, bucket
        namespace.unmount(f"/{name}")


@pytest.fixture
def make_ground(request, tmp_path) -> Callable[[str], Ground]:
    """Make an empty ground of a kind."""

    def make(kind):
        if kind.startswith("folder"):
            return Ground(kind, "", tmp_path / "data")
        cluster, own = request.getfixturevalue("cluster"), f"lance-{uuid.uuid4().hex[:12]}"
        if kind == "alluxio":
            folder = cluster.plan.folder / "ufs" / own / "tables"
            return Ground(kind, cluster.uri.replace("/?", f"/{own}/tables?"), folder)
        name, bucket = request.getfixturevalue("mounted")
        server = request.getfixturevalue("s3_server")
        return Ground(kind, cluster.uri.replace("/?", f"/{name}/{own}?"), bucket / own, bucket, server.options)

    return make


@pytest.fixture(params=["folder", "alluxio", "alluxio-s3"])
def ground(request, make_ground) -> Ground:
    """Each kind of ground, empty; ``folder+s3`` is one more for tests of the cold tier."""
    return make_ground(request.param)


@pytest.fixture
def tiers(ground, make_tiers, make_cold):
    """An empty store on it, with a cold tier."""
    return make_tiers(ground.address, ground.root, make_cold(COLD[ground.kind]))


@pytest.fixture
def store(tiers) -> LanceStore:
    """An empty store."""
    return tiers.store


@pytest.fixture
def root(ground) -> Path:
    """The folder in which its files lie."""
    return ground.root


class Plain:
    """Plain Lance beside the store, as other programs use it."""

    def __init__(self, store: LanceStore) -> None:
        self._store = store

    def _options(self, location: str) -> dict[str, str] | None:
        return dict(self._store.storage_options(location)) or None

    def open(self, location: str, version: int | str | None = None) -> lance.LanceDataset:
        """Open a table."""
        return lance.dataset(self._store.absolute(location), version=version, storage_options=self._options(location))

    def write(self, data: Any, location: str, **options: Any) -> lance.LanceDataset:
        """Write a table."""
        given = {"storage_options": self._options(location), **options}
        return lance.write_dataset(data, self._store.absolute(location), **given)

    def numbers(self, location: str) -> list[int]:
        """List the versions of a table."""
        return sorted(ref["version"] for ref in self.open(location).version_refs())


@pytest.fixture
def plain(store) -> Plain:
    """Plain Lance on the store's tables."""
    return Plain(store)
