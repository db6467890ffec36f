"""A process that updates datasets/a over a catalog server: python engine_worker.py URL TABLES FIRST COUNT [STEP].

Waits for a line on its input before it begins. With a step it kills itself with SIGKILL when it gets there.
"""

import os
import signal
import sys
from pathlib import Path

import pyarrow as pa

from alluxio_lance.catalog import DatabaseCatalog
from alluxio_lance.lifecycle.local import LocalManager
from alluxio_lance.storage import LanceStore


def main(url, tables, first, count, step=None):
    """Append COUNT rows, one update each."""

    def observe(_verb, seen):
        if seen == step:
            os.kill(os.getpid(), signal.SIGKILL)

    with LocalManager(DatabaseCatalog.open(url), LanceStore.local(Path(tables)), observer=observe) as manager:
        sys.stdin.readline()
        for number in range(int(first), int(first) + int(count)):
            manager.update_resource("datasets", "a", pa.table({"id": [number]}), message=str(number))


if __name__ == "__main__":
    main(*sys.argv[1:])
