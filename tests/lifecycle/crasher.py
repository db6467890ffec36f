"""A process that runs one verb on a root folder and kills itself with SIGKILL at a named step.

Arguments: root, verb, step. ``mid-write`` dies inside the data stream, when half of the batches are handed over.
"""

import os
import signal
import sys
from pathlib import Path

import pyarrow as pa

from alluxio_lance.catalog import DatabaseCatalog
from alluxio_lance.embedded import catalog_url, tables_folder
from alluxio_lance.lifecycle.local import LocalManager
from alluxio_lance.storage import LanceStore

ROWS, BATCHES = 50_000, 40


def die():
    """End like the victim of an out-of-memory killer."""
    os.kill(os.getpid(), signal.SIGKILL)


def stream(dies):
    """Yield about 80 MB, so that Lance has files on disk before the stream ends."""
    for number in range(BATCHES):
        if dies and number == BATCHES // 2:
            die()
        start = number * ROWS
        payload = os.urandom(40) * ROWS
        yield pa.record_batch(
            {
                "id": pa.array(range(start, start + ROWS), pa.int64()),
                "x": pa.Array.from_buffers(pa.binary(40), ROWS, [None, pa.py_buffer(payload)]),
            }
        )


def main():
    """Run the verb."""
    root, verb, step = Path(sys.argv[1]), sys.argv[2], sys.argv[3]

    def observe(seen_verb, seen_step):
        if (str(seen_verb), seen_step) == (verb, step):
            die()

    manager = LocalManager(
        DatabaseCatalog.open(catalog_url(root)), LanceStore.local(tables_folder(root)), observer=observe
    )
    if verb == "register":
        manager.register_resource("datasets", "new", stream(step == "mid-write"), message="crash")
    elif verb == "update":
        manager.update_resource("datasets", "old", stream(step == "mid-write"), message="crash")
    elif verb == "rollback":
        manager.rollback_resource("datasets", "old", "1.0.0")
    elif verb == "delete":
        manager.delete_resource("datasets", "old")
    manager.close()


if __name__ == "__main__":
    main()
