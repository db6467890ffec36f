"""Ranges of rows of a version whose files lie on this node, whatever becomes of these in the middle."""

from __future__ import annotations

from itertools import islice

import pyarrow as pa
import pytest
from tests.storage.views.conftest import LOCATION, ROWS, rows

from alluxio_lance.errors import Unavailable
from alluxio_lance.storage.views.window import Window
from alluxio_lance.ways import Way

ALL = pa.concat_tables([rows(), rows(ROWS), rows(2 * ROWS)])
RANGES = [
    (0, 3 * ROWS),
    (10, 20),
    (ROWS - 5, ROWS + 5),
    (ROWS, 2 * ROWS),
    (ROWS - 1, 2 * ROWS + 1),
    (3 * ROWS - 1, 3 * ROWS),
    (7, 7),
    (3 * ROWS, 3 * ROWS),
]


@pytest.fixture
def version(rig):
    """Three fragments."""
    return rig.fill(rows(), rows(ROWS), rows(2 * ROWS))


def _read(reader, start: int, stop: int) -> pa.Table:
    return pa.Table.from_batches(reader.batches(["i", "v", "s"], rows=(start, stop), batch_bytes=1 << 12), ALL.schema)


def test_ranges_of_near_and_far_files(rig, version):
    """They are the same, also when the file in the middle is not here; others are not even looked at."""
    with rig.store.open(LOCATION, version, rig.known) as reader:
        for start, stop in RANGES:
            assert _read(reader, start, stop).equals(ALL[start:stop])
    known = {path: file for path, file in rig.known.items() if path != rig.data(1)}
    with rig.store.open(LOCATION, version, known) as reader:
        assert {way.way for way in reader.ways} == {Way.SHORT_CIRCUIT, Way.ENDPOINT}
        for start, stop in RANGES:
            assert _read(reader, start, stop).equals(ALL[start:stop])


@pytest.mark.parametrize("good", [0, 1, 150])
@pytest.mark.parametrize(("start", "stop"), [(10, 2 * ROWS + 10), (ROWS - 5, ROWS + 1500)])
def test_blocks_that_break_off_within_a_range(rig, version, monkeypatch, good, start, stop):
    """The endpoint goes on at the very row. The disk that fails is made up, as in `test_blocks_that_break_off`."""
    whole = Window.scan

    def broken(self, piece, shape, span):
        yield from islice(whole(self, piece, shape, span), good)
        raise Unavailable("the disk is gone", what="disk")

    monkeypatch.setattr(Window, "scan", broken)
    with rig.store.open(LOCATION, version, rig.known) as reader:
        assert _read(reader, start, stop).equals(ALL[start:stop])
