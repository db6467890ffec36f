"""A reader among many: maps a version, reads every row twice, and tells what that costs this process, as JSON lines.

Run as a script. It waits for a line on its standard input before it reads, and for the end of it before it exits.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np

from alluxio_lance.client.fixed import FixedColumn
from alluxio_lance.client.table import Table

STEP = 64


def memory() -> dict[str, int]:
    """Bytes of this process: its share of the mapped segments, and what is its own alone."""
    shared = private = 0
    ours = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        key, _, rest = line.partition(":")
        if "-" in key.split(" ", 1)[0]:
            ours = "memfd:alluxio-lance:" in line
        elif key == "Pss" and ours:
            shared += int(rest.split()[0]) * 1024
        elif key in ("Private_Clean", "Private_Dirty") and not ours:
            private += int(rest.split()[0]) * 1024
    return {"pid": os.getpid(), "shared": shared, "private": private}


def say(**facts: object) -> None:
    """Write one line, then wait for one."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()
    sys.stdin.readline()


def read(column: FixedColumn, rows: int) -> int:
    """Read the first rows in an order of this process' own and add them up."""
    order = np.random.default_rng(os.getpid()).permutation(rows)
    return sum(int(column.take(order[at : at + STEP]).sum()) for at in range(0, rows, STEP))


def main() -> None:
    """Tell of memory before and after."""
    with Table.open(sys.argv[2], address=sys.argv[1]) as table:
        column = table.column("image")
        assert isinstance(column, FixedColumn)
        # What comes with the first batch alone (imports, a block for the batch) is no matter of the version's size.
        read(column, 2 * STEP)
        say(**memory())
        total = [read(column, table.rows), read(column, table.rows)]
        say(**memory(), total=total)


if __name__ == "__main__":
    main()
