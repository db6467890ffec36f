"""Large data in little memory, measured from outside of the process that writes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

MEASURE = """
import json, resource, sys
from pathlib import Path
import numpy as np, pyarrow as pa
from alluxio_lance.lifecycle.ports import Source, Write
from alluxio_lance.storage import LanceStore

root, verb, per_batch = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
TOTAL, DIM = 384 << 20, 1024
schema = pa.schema([("id", pa.int64()), ("v", pa.list_(pa.float32(), DIM))])
values = pa.array(np.random.default_rng(0).random(per_batch // 4, dtype=np.float32))

def rows():
    for start in range(0, TOTAL, per_batch):
        n = per_batch // (4 * DIM)
        first = start // (4 * DIM)
        yield pa.record_batch([pa.array(np.arange(first, first + n)), pa.FixedSizeListArray.from_arrays(values, DIM)], schema=schema)

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10

write = Write(operation="1" * 32, actor="a@b", message="")
store = LanceStore.local(root)
def source(batches):
    return Source(reader=pa.RecordBatchReader.from_batches(schema, batches))
store.create("warm.lance", source([next(rows())]), write)
before = peak()
if verb == "create":
    store.create("a.lance", source(rows()), write)
    store.snapshot("a.lance", 1, {})
    with store.open("a.lance", 1) as reader:
        seen = sum(batch.num_rows for batch in reader.batches(["id", "v"]))
else:
    store.upsert("warm.lance", source(rows()), ["id"], write)
    seen = store.snapshot("warm.lance", 2, {}).num_rows
print(json.dumps({"grown": peak() - before, "rows": seen}))
"""


@pytest.mark.parametrize(("verb", "per_batch"), [("create", 1 << 20), ("create", 64 << 20), ("upsert", 4 << 20)])
def test_memory_stays_bounded(tmp_path, verb, per_batch):
    """Writing, hashing and reading back 384 MiB takes far less than that, for small batches, large ones, upserts."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path), verb, str(per_batch)],
        capture_output=True,
        text=True,
        check=True,
        timeout=200,
    )
    told = json.loads(done.stdout)
    assert told["rows"] == (384 << 20) // 4096
    assert told["grown"] < 250 << 20, f"{told['grown'] >> 20} MiB"
