"""Files that are read in one piece: how large Lance makes them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from tests.storage.views.conftest import LOCATION, WRITE, rows

from alluxio_lance.incoming import Source
from alluxio_lance.storage import LanceStore
from alluxio_lance.storage.local import LocalRoot

BLOCK = 32 << 20
TOTAL = 80 << 20
RANDOM = np.random.default_rng(0)


def narrow(count):
    """Two numbers."""
    return pa.record_batch({"a": RANDOM.integers(0, 1 << 62, count), "b": RANDOM.random(count)})


def many_columns(count):
    """Forty numbers: Lance holds some of each column back, without counting it."""
    return pa.record_batch({f"c{number}": RANDOM.random(count) for number in range(40)})


def vectors(count):
    """A long vector and a number."""
    values = pa.FixedSizeListArray.from_arrays(pa.array(RANDOM.random(count * 4096, dtype=np.float32)), 4096)
    return pa.record_batch({"v": values, "label": RANDOM.integers(0, 10, count)})


def images(count):
    """Bytes of very different lengths and a number."""
    values = [RANDOM.bytes(int(RANDOM.integers(20_000, 200_000))) for _ in range(count)]
    return pa.record_batch({"image": pa.array(values), "label": RANDOM.integers(0, 10, count)})


class Blocks(LocalRoot):
    """A local folder in which files are best read in pieces of 32 MiB."""

    def file_bytes(self):
        """Return as a place with blocks does."""
        return BLOCK


@pytest.mark.parametrize(("make", "count"), [(narrow, 1 << 18), (many_columns, 1 << 14), (vectors, 256), (images, 64)])
def test_data_files_fit_a_block(make, count, tmp_path):
    """Whatever the rows are like; and they are not much smaller either."""
    first = make(count)
    batches = [first] * (TOTAL // first.nbytes)
    store = LanceStore(Blocks(tmp_path / "data"), LocalRoot(tmp_path / "cold"), tmp_path / "views")
    reader = pa.RecordBatchReader.from_batches(first.schema, iter(batches))
    store.create(LOCATION, Source(reader=reader, description="rows"), WRITE)
    sizes = sorted(path.stat().st_size for path in (tmp_path / "data").rglob("*.lance") if path.is_file())
    assert sizes[-1] <= BLOCK
    assert len(sizes) <= 1 + TOTAL // (BLOCK // 2)


def test_alluxio_tells_how_large_its_blocks_are(rig, cluster):
    """The size with which it writes files."""
    assert rig.place.file_bytes() == cluster.plan.block_bytes
    rig.fill(rows())
    assert rig.namespace.status(rig.full(rig.data(0))).block_bytes == cluster.plan.block_bytes
