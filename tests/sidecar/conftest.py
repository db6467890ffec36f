"""Fixtures of the tests of shared memory: tables in place of the store, loads that clean up, readers of sealed memory."""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from alluxio_lance.layout import Pages, Segment
from alluxio_lance.lifecycle.ports import Destination
from alluxio_lance.sidecar.budget import Budget
from alluxio_lance.sidecar.loader import HotColumn, load
from alluxio_lance.sidecar.plan import make_plan
from alluxio_lance.values import State, Version
from alluxio_lance.ways import FileWay, Way

MIB = 1 << 20


@dataclass
class TableDouble:
    """A ``TableReader`` over a table in memory, since these tests are about what becomes of batches, not about Lance."""

    table: pa.Table
    batch_rows: int = 1000
    before_batch: Callable[[], None] = lambda: None
    closed: int = 0
    asked: list[list[str]] = field(default_factory=list)
    placed: int = 0
    """Bytes that were put where they were wanted."""

    @property
    def schema(self) -> pa.Schema:
        return self.table.schema

    @property
    def num_rows(self) -> int:
        return self.table.num_rows

    @property
    def ways(self) -> tuple[FileWay, ...]:
        return (FileWay(path="data/1.lance", bytes=self.table.nbytes, way=Way.LOCAL, why="it is a test"),)

    def batches(
        self,
        columns: Sequence[str],
        *,
        rows: tuple[int, int] | None = None,
        batch_bytes: int = 0,
        batch_rows: int | None = None,
        into: Destination | None = None,
    ) -> Iterator[pa.RecordBatch]:
        self.asked.append(list(columns))
        start, stop = rows or (0, self.num_rows)
        row = 0
        for batch in self.table.select(columns)[start:stop].to_batches(max_chunksize=batch_rows or self.batch_rows):
            self.before_batch()
            yield batch if into is None else self._placed(batch, row, into)
            row += batch.num_rows

    def _placed(self, batch: pa.RecordBatch, row: int, into: Destination) -> pa.RecordBatch:
        """Put lists of bytes, int64 and binaries where they are wanted, as a store does that has nothing to decode."""
        arrays = []
        for name, array in zip(batch.schema.names, batch.columns, strict=True):
            if into.stretch(name, row, batch.num_rows) < batch.num_rows:
                arrays.append(array)
                continue
            if array.type == pa.large_binary():
                arrays.append(self._placed_binaries(name, array, row, into))
                continue
            values = array.flatten() if pa.types.is_fixed_size_list(array.type) else array
            place = into.room(name, row, batch.num_rows) if values.type in {pa.uint8(), pa.int64()} else None
            if place is None:
                arrays.append(array)
                continue
            place[:] = values.to_numpy().view("u1").data
            self.placed += place.nbytes
            there = pa.Array.from_buffers(values.type, len(values), [None, pa.py_buffer(place)])
            lists = pa.types.is_fixed_size_list(array.type)
            arrays.append(pa.FixedSizeListArray.from_arrays(there, type=array.type) if lists else there)
        return pa.RecordBatch.from_arrays(arrays, schema=batch.schema)

    def _placed_binaries(self, name: str, array: pa.Array, row: int, into: Destination) -> pa.Array:
        data = b"".join(array.to_pylist())
        place = into.room(name, row, len(array))
        if place is None or place.nbytes != len(data):
            return array
        place[:] = data
        self.placed += place.nbytes
        ends = np.cumsum([0, *(len(value) for value in array.to_pylist())], dtype=np.int64)
        return pa.Array.from_buffers(array.type, len(array), [None, pa.py_buffer(ends), pa.py_buffer(place)])

    def close(self) -> None:
        self.closed += 1


@pytest.fixture(scope="session")
def table_double() -> type[TableDouble]:
    """The class of tables in place of the store."""
    return TableDouble


@pytest.fixture
def budget() -> Budget:
    """One GiB on a host with room enough."""
    return Budget(1 << 30, available=lambda: 1 << 40)


@pytest.fixture
def load_table(budget):
    """Load a table with tiny shards, check that the account is right, and close everything in the end."""
    loaded: list[HotColumn] = []

    def run(table: pa.Table, *, shard_bytes: int = 1, batch_rows: int = 1000, prefer: Pages = Pages.SMALL, **options):
        plan = make_plan(table.schema, table.num_rows, label="datasets/x@v3", shard_bytes=shard_bytes)
        before = budget.used
        hot = load(TableDouble(table, batch_rows), plan, budget, prefer=prefer, **options)
        loaded.extend(hot)
        assert budget.used - before == sum(column.bytes for column in hot)
        return hot

    yield run
    for column in loaded:
        column.close()


def _map(segment: Segment, fd: int) -> pa.Buffer:
    return pa.py_buffer(mmap.mmap(fd, segment.length, prot=mmap.PROT_READ))


@pytest.fixture(scope="session")
def map_segment():
    """Map a segment for reading, as a pyarrow buffer."""
    return _map


@pytest.fixture(scope="session")
def read_column():
    """Read a hot column with pyarrow's reader of IPC files, zero copy, all shards joined."""

    def read(hot: HotColumn) -> pa.ChunkedArray:
        tables = [
            pa.ipc.open_file(_map(segment, fd)).read_all()
            for segment, fd in zip(hot.column.segments, hot.descriptors, strict=True)
        ]
        for table in tables:
            table.validate(full=True)
        return pa.concat_tables(tables).column(0)

    return read


@pytest.fixture
def memfds():
    """List the memfds of alluxio-lance that this process has open or mapped since the test began."""

    def find() -> list[str]:
        links = []
        for fd in Path("/proc/self/fd").iterdir():
            try:
                links.append(str(fd.readlink()))
            except FileNotFoundError:  # the descriptor of the listing itself
                continue
        maps = Path("/proc/self/maps").read_text().splitlines()
        return [text for text in [*links, *maps] if "memfd:alluxio-lance" in text]

    # What an earlier test of another room left is that room's fault, and told there.
    before = Counter(find())
    return lambda: sorted((Counter(find()) - before).elements())


@pytest.fixture(scope="session")
def make_version():
    """Describe a table as the catalog would."""

    def make(table: pa.Table, name: str = "x", version: int = 1) -> Version:
        return Version(
            type="datasets",
            name=name,
            semver=f"1.{version}.0",
            version=version,
            content_hash="ab" * 32,
            state=State.REGISTERED,
            location=f"datasets/{name}.lance",
            num_rows=table.num_rows,
            num_bytes=table.nbytes,
            schema=table.schema.serialize().to_pybytes(),
            created_at=datetime.now(UTC),
            created_by="me@here",
            operation="0" * 32,
        )

    return make


RESERVED = 48


@pytest.fixture
def reserved_pages(alone_with_pages) -> Iterator[None]:
    """Reserve huge pages of 2 MiB, more than a test needs: others may take some. Put the old number back afterwards."""
    setting = Path("/proc/sys/vm/nr_hugepages")
    old = setting.read_text()
    try:
        setting.write_text(str(int(old) + RESERVED))
    except OSError as error:
        pytest.skip(f"huge pages cannot be reserved here: {error}")
    try:
        if int(setting.read_text()) < int(old) + RESERVED:
            pytest.skip(f"the host's memory is too fragmented for {RESERVED} huge pages")
        yield
    finally:
        setting.write_text(old)


@pytest.fixture
def transparent_pages(alone_with_pages) -> Iterator[None]:
    """Allow huge pages in shared memory to those who ask, and put the old setting back afterwards."""
    setting = Path("/sys/kernel/mm/transparent_hugepage/shmem_enabled")
    try:
        old = setting.read_text().partition("[")[2].partition("]")[0]
        setting.write_text("advise")
    except OSError as error:
        pytest.skip(f"transparent huge pages cannot be switched on here: {error}")
    try:
        yield
    finally:
        setting.write_text(old)
