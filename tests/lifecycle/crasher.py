"""A process that runs one verb on a root folder and kills itself with SIGKILL at a named step.

Arguments: root, verb, step. ``mid-write`` dies inside the data stream, when half of the batches are handed over;
``mid-copy`` in the middle of the first file that is copied back; ``cloning`` a moment after Lance began to clone;
``verifying`` while the clone is read. ``register:model`` and ``update:model`` write a model; ``uncommitted`` dies when
the pieces of an update are written and its commit is not.
"""

import os
import signal
import sys
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
from model_parts import rows_of

from alluxio_lance.catalog import DatabaseCatalog
from alluxio_lance.embedded import catalog_url, tables_folder
from alluxio_lance.lifecycle.local import LocalManager
from alluxio_lance.storage import LanceStore
from alluxio_lance.storage.models import delta

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


def watching(step):
    """Die in the middle of a copy."""

    def on_progress(progress):
        seen = {"copy": "mid-copy" if progress.bytes else "cloning", "verify": "verifying"}[progress.step]
        if seen != step:
            return
        if seen == "cloning":
            # Lance tells nothing while it clones.
            threading.Timer(0.002, die).start()
        else:
            die()

    return on_progress


def write_model(manager, verb, step):
    """Register a model of about 50 MB, or make the next version of one."""
    count = 12
    arrays = {f"layer.{number:02}": np.frombuffer(os.urandom(4 << 20), np.uint8) for number in range(count)}
    seen = []

    def view(array):
        seen.append(array)
        if step == "mid-write" and len(seen) > count // 2:
            die()
        return memoryview(array)

    if step == "uncommitted":
        delta.replacement = lambda *_: die()
    rows = rows_of(arrays, view=view)
    if verb == "register":
        manager.register_resource("models", "new", rows, message="crash")
    else:
        manager.update_resource("models", "old", rows, mode="overwrite", message="crash")


VERBS = {
    "rollback": lambda manager, _: manager.rollback_resource("datasets", "old", "1.0.0"),
    "archive": lambda manager, step: manager.archive_resource(
        "datasets", "old", "1.0.0", on_progress=watching(step), message="crash"
    ),
    "archive-newest": lambda manager, _: manager.archive_resource("datasets", "old", "1.2.0"),
    "restore": lambda manager, step: manager.restore_resource("datasets", "old", "1.0.0", on_progress=watching(step)),
    "delete": lambda manager, _: manager.delete_resource("datasets", "old"),
    "delete-version": lambda manager, _: manager.delete_resource("datasets", "old", "1.0.0"),
    "undelete": lambda manager, _: manager.undelete_resource("datasets", "old"),
    "undelete-version": lambda manager, _: manager.undelete_resource("datasets", "old", "1.0.0"),
    "purge": lambda manager, _: manager.purge_resource("datasets", "old"),
    "purge-version": lambda manager, _: manager.purge_resource("datasets", "old", "1.0.0"),
}


def main():
    """Run the verb."""
    root, wanted, step = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    verb = wanted.partition(":")[0]

    def observe(seen_verb, seen_step):
        if (str(seen_verb), seen_step) == (verb, step):
            die()

    manager = LocalManager(
        DatabaseCatalog.open(catalog_url(root)), LanceStore.local(tables_folder(root)), observer=observe
    )
    if wanted.endswith(":model"):
        write_model(manager, verb, step)
    elif verb == "register":
        manager.register_resource("datasets", "new", stream(step == "mid-write"), message="crash")
    elif verb == "update":
        manager.update_resource("datasets", "old", stream(step == "mid-write"), message="crash")
    else:
        VERBS[wanted.replace(":", "-")](manager, step)
    manager.close()


if __name__ == "__main__":
    main()
