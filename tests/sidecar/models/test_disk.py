"""Models on the node's disk: kept from any pages, and back on those that they fit."""

from __future__ import annotations

import pytest
import safetensors
from tests.sidecar.models.conftest import TENSORS

from alluxio_lance.layout import ColumnKind, Pages
from alluxio_lance.sidecar.disk import DiskTier
from alluxio_lance.sidecar.models.planning import plan_model

FIXTURES = {Pages.SMALL: (), Pages.TRANSPARENT: ("transparent_pages",), Pages.HUGE: ("reserved_pages",)}


@pytest.fixture
def tier(tmp_path):
    """A disk tier with room."""
    with DiskTier.open(tmp_path / "disk", lambda _: 1 << 30) as opened:
        yield opened


@pytest.mark.parametrize("pages", FIXTURES)
def test_a_model_comes_back_as_it_was(pages, request, tier, table, load, read, budget, model_version):
    """Both files have the same bytes again, on the same pages, and are opened by the library of the format."""
    for name in FIXTURES[pages]:
        request.getfixturevalue(name)
    plan, version = plan_model(table.num_rows, label="models/m@v1"), model_version(table)
    hot = load(table, prefer=pages)
    tier.offer(version, "m", plan, hot)
    assert tier.settle()
    back = tier.load(version.content_hash, plan, budget, prefer=pages)
    try:
        assert [read(each).data for each in back] == [read(each).data for each in hot]
        for each, before in zip(back, hot, strict=True):
            assert each.column.kind is ColumnKind.FILE
            assert [one.pages for one in each.column.segments] == [one.pages for one in before.column.segments]
        with safetensors.safe_open(f"/proc/self/fd/{back[0].descriptors[0]}", "numpy") as file:
            assert set(file.keys()) == set(TENSORS)
    finally:
        for each in back:
            each.close()
            budget.release(each.bytes)


def test_a_part_alone_is_kept(tier, table, load, budget, model_version):
    """The files are found by who wants only these; the tensors are missed."""
    plan, version = plan_model(table.num_rows, label="models/m@v1"), model_version(table)
    tier.offer(version, "m", plan, load(table, "files"))
    assert tier.settle()
    (back,) = tier.load(version.content_hash, plan, budget)
    assert back.column.name == "files"
    assert (tier.statistics().hits, tier.statistics().misses) == (1, 1)
    back.close()
    budget.release(back.bytes)
