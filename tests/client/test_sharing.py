"""Many processes on one version: they share its memory, and none of them can change it."""

from __future__ import annotations

import errno
import fcntl
import json
import mmap
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from alluxio_lance.client.opening import open_lease
from alluxio_lance.client.table import Table

READERS = 16
ROWS = 8192
SIDE = 176
"""Rows of 176 x 176 bytes: a version of 254 MB."""


@pytest.fixture(scope="module")
def large(node) -> tuple[str, int, int]:
    """Register a large version; its URI, its bytes and the sum of them all."""
    block = np.random.default_rng(0).integers(0, 256, (1024, SIDE * SIDE), np.uint8)
    batches = [block + np.uint8(number) for number in range(ROWS // 1024)]
    kind = pa.list_(pa.uint8(), SIDE * SIDE)

    def stream():
        for batch in batches:
            yield pa.record_batch([pa.FixedSizeListArray.from_arrays(batch.reshape(-1), type=kind)], names=["image"])

    reader = pa.RecordBatchReader.from_batches(pa.schema({"image": kind}), stream())
    uri = node.register("large", reader).uri
    return uri, ROWS * SIDE * SIDE, sum(int(batch.sum(dtype=np.int64)) for batch in batches)


@pytest.fixture(scope="module")
def few(node) -> str:
    """Register a few rows and return the URI."""
    table = pa.table({"id": np.arange(5000), "text": [str(number) for number in range(5000)]})
    return node.register("few", table).uri


def test_sixteen_processes_share_one_version(node, large):
    """Each reads every row twice, and costs the node less than 2 % of the version beside what Python costs."""
    uri, size, total = large
    script = Path(__file__).with_name("sharers.py")
    command = [sys.executable, "-P", "-W", "error", str(script), node.at, uri]
    with ExitStack() as stack:
        readers = [
            stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
            )
            for _ in range(READERS)
        ]
        for reader in readers:
            stack.callback(reader.kill)

        def hear() -> list[dict]:
            return [json.loads(reader.stdout.readline()) for reader in readers]

        before = hear()
        for reader in readers:
            reader.stdin.write("read\n")
        after = hear()
    assert all(told["total"] == [total, total] for told in after)
    # The segments once, whoever's they are counted to; the sidecar itself maps none of them.
    assert sum(told["shared"] for told in after) < 1.02 * size
    assert sum(told["shared"] for told in after) > 0.95 * size, "the readers did not map the version"
    grown = [now["private"] - then["private"] for then, now in zip(before, after, strict=True)]
    assert sum(grown) / READERS < 0.02 * size, grown


def test_a_reader_cannot_change_what_others_read(few, node):
    """Not by a seal, a writable mapping, a write, a cut or a growth, nor through a descriptor opened anew."""
    with open_lease(few, ["id"], node.address) as lease:
        descriptor = lease.descriptors.numbers[0]
        length = os.fstat(descriptor).st_size
        again = os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR | os.O_CLOEXEC)
        try:
            before = os.pread(descriptor, length, 0)
            assert fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
            for fd in (descriptor, again):
                for attempt in (
                    lambda fd=fd: fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE),
                    lambda fd=fd: mmap.mmap(fd, length, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE),
                    lambda fd=fd: os.pwrite(fd, b"x", 0),
                    lambda fd=fd: os.ftruncate(fd, 0),
                    lambda fd=fd: os.ftruncate(fd, 2 * length),
                    lambda fd=fd: os.posix_fallocate(fd, length, 4096),
                ):
                    with pytest.raises(OSError) as refused:
                        attempt()
                    assert fd == descriptor or refused.value.errno == errno.EPERM
            assert os.pread(descriptor, length, 0) == before
        finally:
            os.close(again)


def test_opening_and_closing_leaves_nothing_behind(few, node):
    """Neither descriptors, here and in the sidecar, nor leases, after fifty versions were opened, read and closed."""

    def once() -> None:
        with Table.open(uri, address=node.at) as table:
            assert table.column("id").row(5) == 5
            assert table.column("text").take(np.array([3, 1])).rows() == ["3", "1"]

    def here() -> int:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())

    def segments() -> int:
        """Count the sidecar's memfds: its other descriptors (databases, calls) come and go."""
        folder, found = Path(f"/proc/{node.pid}/fd"), 0
        for entry in list(folder.iterdir()):
            try:
                found += "memfd:alluxio-lance" in str(entry.readlink())
            except FileNotFoundError:
                continue
        return found

    uri = few
    once()
    before = here(), segments()
    for _ in range(50):
        once()
    # gRPC keeps a few descriptors of its own, and a few more now and then.
    assert here() - before[0] < 10
    assert segments() == before[1]
