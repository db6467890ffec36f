"""Ranges of rows: what a stream of all rows has at these places, whatever was deleted."""

from __future__ import annotations

import random

import lance
import numpy as np
import pyarrow as pa
import pytest

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.storage.reading import LanceTableReader

ROWS = 5000


@pytest.fixture
def reader(tmp_path):
    """Read a table of three fragments from which rows were deleted, one fragment wholly."""
    uri = str(tmp_path / "t.lance")
    for start in range(0, 4 * ROWS, ROWS):
        table = pa.table({"i": np.arange(start, start + ROWS), "s": [f"row {n}" for n in range(start, start + ROWS)]})
        lance.write_dataset(table, uri, mode="append" if start else "create")
    dataset = lance.dataset(uri)
    dataset.delete(f"i % 7 = 3 OR (i >= {ROWS} AND i < {2 * ROWS})")
    with LanceTableReader(lance.dataset(uri), "the table") as reader:
        yield reader


def _rows(reader, rows=None) -> list[tuple[str, int]]:
    found = [batch.to_pydict() for batch in reader.batches(["s", "i"], rows=rows, batch_bytes=1 << 12)]
    return [pair for batch in found for pair in zip(batch["s"], batch["i"], strict=True)]


def test_ranges_are_parts_of_the_whole(reader):
    """In one fragment, over several, at the ends, and of no rows; the seed is printed."""
    seed = random.randrange(1 << 32)
    print("seed", seed)  # noqa: T201 - shown when it fails
    chance = random.Random(seed)
    whole = _rows(reader)
    assert len(whole) == reader.num_rows < 3 * ROWS
    cuts = [0, 1, len(whole) - 1, len(whole), *(chance.randrange(len(whole)) for _ in range(20))]
    for start, stop in [(0, 0), (0, len(whole)), *(sorted(chance.sample(cuts, 2)) for _ in range(25))]:
        assert _rows(reader, (start, stop)) == whole[start:stop]


@pytest.mark.parametrize("rows", [(-1, 5), (5, 4), (0, 1 << 40)])
def test_rows_that_are_not_there(reader, rows):
    """They are refused, and the sentence says which there are."""
    with pytest.raises(InvalidArgument, match=r"the table has rows 0 to \d+, not "):
        reader.batches(["i"], rows=rows)
