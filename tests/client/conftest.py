"""Versions in sealed memory, filled by the sidecar's own loader in this process: no server is needed to read columns."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa
import pytest

from alluxio_lance.address import Address
from alluxio_lance.client.descriptors import Descriptors
from alluxio_lance.client.lease import Lease
from alluxio_lance.client.table import Table
from alluxio_lance.layout import Layout, Pages
from alluxio_lance.lifecycle.ports import Destination
from alluxio_lance.sidecar.budget import Budget
from alluxio_lance.sidecar.loader import load
from alluxio_lance.sidecar.plan import make_plan


class ArrowReader:
    """A `TableReader` over a table in memory."""

    def __init__(self, table: pa.Table, batch_rows: int) -> None:
        self._table = table
        self._batch_rows = batch_rows
        self.schema = table.schema
        self.num_rows = table.num_rows

    def batches(
        self,
        columns: Sequence[str],
        *,
        rows: tuple[int, int] | None = None,
        batch_bytes: int = 8 << 20,
        into: Destination | None = None,
    ) -> Iterator[pa.RecordBatch]:
        yield from self._table.select(columns).combine_chunks().to_batches(self._batch_rows)


_versions = itertools.count(1)

MakeTable = Callable[..., Table]


@pytest.fixture
def make_table(tmp_path) -> Iterator[MakeTable]:
    """Return a function that makes a `Table` of Arrow data, in shards of at most ``shard_bytes``."""
    opened: list[Table] = []

    def make(data: pa.Table, shard_bytes: int = 1, prefer: Pages = Pages.SMALL) -> Table:
        # A shard has at least 4096 rows: the least size asks for as many shards as there can be.
        plan = make_plan(data.schema, data.num_rows, label="datasets/x@v1", shard_bytes=shard_bytes)
        hot = load(ArrowReader(data, 1000), plan, Budget(1 << 30), prefer=prefer)
        layout = Layout(
            type="datasets",
            name="x",
            semver="1.0.0",
            version=next(_versions),
            content_hash="0" * 64,
            num_rows=data.num_rows,
            shard_rows=plan.shard_rows,
            columns=tuple(column.column for column in hot),
        )
        descriptors = Descriptors(fd for column in hot for fd in column.descriptors)
        table = Table(Lease(Address(tmp_path), os.urandom(16).hex(), layout, descriptors, None))
        opened.append(table)
        return table

    yield make
    for table in opened:
        table.close()
