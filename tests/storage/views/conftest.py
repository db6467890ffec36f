"""A table in a real Alluxio, and hands to do to its block files what may happen to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import requests
from alluxio.option import CreateFile

from alluxio_lance.files.namespace import Namespace
from alluxio_lance.lifecycle.ports import Source, StoredFile, Write
from alluxio_lance.storage import LanceStore
from alluxio_lance.storage.alluxio.place import AlluxioPlace

LOCATION = "datasets/a.lance"
ROWS = 3000
WRITE = Write(operation="1" * 32, actor="ada@node", message="because")


def rows(start: int = 0, count: int = ROWS) -> pa.Table:
    """Make rows that all differ, of about half a kilobyte."""
    vectors = np.arange(start * 128, (start + count) * 128, dtype=np.float32)
    return pa.table(
        {
            "i": np.arange(start, start + count),
            "v": pa.FixedSizeListArray.from_arrays(pa.array(vectors), 128),
            "s": [f"text {number}" for number in range(start, start + count)],
        }
    )


@dataclass
class Rig:
    """A store in Alluxio with the table `LOCATION`, and what the catalog would know of it."""

    store: LanceStore
    tier: Path
    """Where the worker keeps its block files."""
    node: Path
    """The folder of this node."""
    known: dict[str, StoredFile] = field(default_factory=dict)

    @property
    def place(self) -> AlluxioPlace:
        place: Any = self.store._place
        return place

    @property
    def namespace(self) -> Namespace:
        return self.place.namespace

    def source(self, table: pa.Table) -> Source:
        reader = pa.RecordBatchReader.from_batches(table.schema, table.to_batches())
        return Source(reader=reader, description="the test's rows")

    def fill(self, *tables: pa.Table) -> int:
        """Write each table as a fragment, and return the version."""
        version = self.store.create(LOCATION, self.source(tables[0]), WRITE)
        for table in tables[1:]:
            version = self.store.append(LOCATION, self.source(table), WRITE)
        return self.learn(version)

    def learn(self, version: int, location: str = LOCATION) -> int:
        """Take down the hashes of a version, as the catalog does."""
        found = self.store.snapshot(location, version, self.known)
        self.known |= {file.path: file for file in found.files}
        return version

    def data(self, number: int) -> str:
        """Name the data file of a fragment of the newest version."""
        table = self.store.dataset(LOCATION, self.store.latest(LOCATION) or 0)
        return f"data/{table.get_fragments()[number].metadata.files[0].path}"

    def full(self, path: str) -> str:
        """Name a file in the namespace."""
        return self.place.path(LOCATION, path)

    def block(self, path: str, number: int = 0) -> Path:
        """Name a block file of a file."""
        return self.tier / str(self.namespace.status(self.full(path)).blocks[number])

    def flip(self, path: str) -> None:
        """Change a bit in the block file, where the values are."""
        block = self.block(path)
        data = bytearray(block.read_bytes())
        data[len(data) // 2] ^= 1
        block.write_bytes(data)

    def cut_into_blocks(self, path: str, size: int) -> None:
        """Write a file again as many small blocks."""
        data = b"".join(self.place.chunks(LOCATION, path))
        full, client = self.full(path), self.namespace._client
        self.namespace.remove(full)
        stream = client.create_file(full, CreateFile(block_size_bytes=size))
        proxy = f"http://{self.place.where.host}:{self.place.where.proxy}/api/v1/streams/{stream}/write"
        requests.post(proxy, data=data, headers={"content-type": "application/octet-stream"}).raise_for_status()
        client.close(stream)

    def read(self, version: int, known: Any = "all", location: str = LOCATION, **options: Any) -> tuple[pa.Table, Any]:
        """Read a version, and return its rows and the ways in which its files were read, by path."""
        with self.store.open(location, version, self.known if known == "all" else known) as reader:
            table = pa.Table.from_batches(reader.batches(reader.schema.names, **options))
            return table, {way.path: way for way in reader.ways}

    def explained(self, version: int, location: str = LOCATION) -> Any:
        """Explain a version, by path."""
        return {way.path: way for way in self.store.explain(location, version, self.known).files}


@pytest.fixture
def rig(cluster, alluxio, tmp_path) -> Rig:
    """An empty one."""
    node = tmp_path / "node"
    return Rig(LanceStore.at(alluxio, node / "data"), cluster.plan.tier / "alluxioworker", node)
