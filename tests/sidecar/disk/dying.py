"""A program: dies as by ``kill -9`` at each step of keeping and evicting columns, and looks at what each death left.

Each step is an operation on a file or folder of the tier (as Python's audit events tell of them), or the copy of a piece
of a segment. Prints one JSON object: how many steps there were, and what was wrong after which.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from alluxio_lance.layout import Pages
from alluxio_lance.sidecar.budget import Budget
from alluxio_lance.sidecar.disk import DiskTier, writing
from alluxio_lance.sidecar.loader import HotColumn, load
from alluxio_lance.sidecar.plan import make_plan
from alluxio_lance.values import State, Version

ROWS = 5000
TABLE = pa.table({"x": np.arange(ROWS), "t": [f"row {number}" for number in range(ROWS)]})
PLAN = make_plan(TABLE.schema, ROWS, label="datasets/x@v1", shard_bytes=1)
EVENTS = frozenset({"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.utime", "os.chmod", "os.truncate"})
FIRST, SECOND = "aa" * 32, "bb" * 32
BUDGET = 200_000
"""For one of both versions."""


class Reader:
    """The table in place of the store."""

    schema, num_rows, ways = TABLE.schema, ROWS, ()

    def batches(self, columns, *, rows=None, batch_bytes=0, into=None):
        yield from TABLE.select(columns).to_batches()

    def close(self):
        pass


def version(content_hash: str) -> Version:
    """Describe a version as the catalog would."""
    return Version(
        type="datasets",
        name="x",
        semver="1.0.0",
        version=1,
        content_hash=content_hash,
        state=State.ACTIVE,
        location="datasets/x.lance",
        num_rows=ROWS,
        num_bytes=TABLE.nbytes,
        schema=TABLE.schema.serialize().to_pybytes(),
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        created_by="me@here",
        operation="0" * 32,
    )


def count_steps(folder: Path, last: int) -> list[int]:
    """Count from now on, and die at step number ``last``."""
    steps = [0]

    def step() -> None:
        steps[0] += 1
        if steps[0] == last:
            os.kill(os.getpid(), signal.SIGKILL)

    def hear(event: str, args: tuple[object, ...]) -> None:
        if event in EVENTS and any(str(each).startswith(str(folder)) for each in args[:2]):
            step()

    class Hasher:
        """Counts the pieces of segments."""

        def __init__(self, inner=writing.blake3):
            self._inner = inner()

        def update(self, piece):
            step()
            self._inner.update(piece)

        def hexdigest(self):
            return self._inner.hexdigest()

    sys.addaudithook(hear)
    writing.blake3 = Hasher
    return steps


def work(folder: Path, hot: list[HotColumn]) -> None:
    """Keep a version, use it again, and keep another one for which it must go."""
    with DiskTier.open(folder, lambda _: BUDGET) as tier:
        for content_hash in (FIRST, SECOND):
            tier.offer(version(content_hash), content_hash, PLAN, hot)
            assert tier.settle()
            for column in tier.load(content_hash, PLAN, Budget(1 << 30)):
                column.close()


def in_child(folder: Path, hot: list[HotColumn], last: int) -> int:
    """Do the work in a process that dies at a step; return the number of steps, 0 when it died."""
    reading, told = os.pipe()
    pid = os.fork()
    if not pid:
        steps = count_steps(folder, last)
        work(folder, hot)
        os.write(told, str(steps[0]).encode())
        os._exit(0)
    os.close(told)
    os.waitpid(pid, 0)
    with os.fdopen(reading) as pipe:
        return int(pipe.read() or 0)


def values(column: HotColumn) -> pa.ChunkedArray:
    """Read a hot column."""
    files = [pa.ipc.open_file(pa.memory_map(f"/proc/self/fd/{fd}")).read_all() for fd in column.descriptors]
    return pa.concat_tables(files).column(0)


def look(folder: Path) -> list[str]:
    """Say what is wrong with a folder after the next start."""
    faults = []
    with DiskTier.open(folder, lambda _: BUDGET) as tier:
        found = 0
        for content_hash in (FIRST, SECOND):
            for column in tier.load(content_hash, PLAN, Budget(1 << 30)):
                found += 1
                if not values(column).equals(TABLE[column.column.name].cast(values(column).type)):
                    faults.append(f"{column.column.name} has other values")
                column.close()
        statistics = tier.statistics()
        if statistics.columns != found or statistics.corrupt:
            faults.append(f"{found} columns were found of {statistics}")
        if statistics.used_bytes > BUDGET:
            faults.append(f"{statistics.used_bytes} bytes are used")
        if len(list(folder.iterdir())) != found + 1:
            faults.append(f"{sorted(path.name for path in folder.iterdir())} is left")
    work(folder, HOT)
    return faults


if __name__ == "__main__":
    place = Path(sys.argv[1])
    HOT = load(Reader(), PLAN, Budget(1 << 30), prefer=Pages.SMALL)
    total = in_child(place / "all", HOT, 0)
    wrong = {}
    survived = 0
    for number in range(1, total + 1):
        survived += bool(in_child(place / str(number), HOT, number))
        if faults := look(place / str(number)):
            wrong[number] = faults
    sys.stdout.write(json.dumps({"steps": total, "survived": survived, "wrong": wrong}))
