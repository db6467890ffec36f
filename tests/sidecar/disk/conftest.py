"""Fixtures of the disk tier's tests: tables that were loaded, tiers on real folders, and what lies in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from alluxio_lance.layout import Pages
from alluxio_lance.sidecar.budget import Budget
from alluxio_lance.sidecar.disk import DiskTier
from alluxio_lance.sidecar.loader import HotColumn, load
from alluxio_lance.sidecar.plan import Plan, make_plan

ROWS = 5000
"""Two shards, when shards are as small as they get."""


class Versions:
    """Versions that were loaded from tables; their segments are closed in the end."""

    def __init__(self, make_version, make_reader, budget: Budget) -> None:
        self._make_version = make_version
        self._make_reader = make_reader
        self.budget = budget
        self.shard_bytes = 1
        self._hot: list[HotColumn] = []

    def plan(self, table: pa.Table) -> Plan:
        """Plan a table, in shards of 4096 rows unless the test wants others."""
        return make_plan(table.schema, table.num_rows, label="datasets/x@v1", shard_bytes=self.shard_bytes)

    def load(self, table: pa.Table, prefer: Pages = Pages.SMALL) -> list[HotColumn]:
        """Load it as from a store."""
        hot = load(self._make_reader(table), self.plan(table), self.budget, prefer=prefer)
        self._hot += hot
        return hot

    def keep(self, tier: DiskTier, table: pa.Table, content: str = "ab", **options) -> list[HotColumn]:
        """Load a table and keep it in a tier as the version with a content hash."""
        hot = self.load(table, **options)
        self.offer(tier, table, hot, content)
        assert tier.settle()
        return hot

    def offer(self, tier: DiskTier, table: pa.Table, hot: list[HotColumn], content: str = "ab") -> None:
        """Offer what was loaded to a tier."""
        tier.offer(self.version(table, content), content, self.plan(table), hot)

    def version(self, table: pa.Table, content: str = "ab"):
        """Describe it as the catalog would."""
        return replace(self._make_version(table), content_hash=content * 32)

    def back(self, tier: DiskTier, table: pa.Table, content: str = "ab", **options) -> list[HotColumn]:
        """Load what a tier has of it; the account must be right."""
        before = self.budget.used
        hot = tier.load(content * 32, self.plan(table), self.budget, **{"prefer": Pages.SMALL, **options})
        assert self.budget.used - before == sum(column.bytes for column in hot)
        self._hot += hot
        return hot

    def has(self, tier: DiskTier, table: pa.Table, content: str) -> bool:
        """Tell whether a tier has all its columns, by loading them."""
        hot = self.back(tier, table, content)
        assert len(hot) in (0, table.num_columns)
        return bool(hot)

    def close(self) -> None:
        """Close all segments."""
        for column in self._hot:
            column.close()


@pytest.fixture
def versions(make_version, table_double, budget):
    """Versions of this test."""
    made = Versions(make_version, table_double, budget)
    yield made
    made.close()


@pytest.fixture
def open_tier(tmp_path) -> Callable[..., DiskTier]:
    """Open the tier of this test, once more after it was closed; all are closed in the end."""
    opened: list[DiskTier] = []

    def open(budget: int = 1 << 30, path: Path = tmp_path / "disk", **options) -> DiskTier:
        tier = DiskTier.open(path, lambda _: budget, **options)
        opened.append(tier)
        return tier

    yield open
    for tier in opened:
        tier.close()


@pytest.fixture
def folder(tmp_path) -> Path:
    """Where the tier of this test lies."""
    return tmp_path / "disk"


@pytest.fixture
def table() -> pa.Table:
    """Two columns of two shards."""
    return pa.table({"x": np.arange(ROWS), "t": [f"row {number}" for number in range(ROWS)]})
