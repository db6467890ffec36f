"""A writer that can be stopped in the middle of its data. Arguments: root, verb, ttl in seconds.

It prints ``writing`` when half of its data are handed over, goes on after a line on its standard input, and prints the
name of the error that its verb raised, or ``done``.
"""

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa

from alluxio_lance.catalog import DatabaseCatalog
from alluxio_lance.embedded import catalog_url, tables_folder
from alluxio_lance.errors import AlluxioLanceError
from alluxio_lance.lifecycle.local import LocalManager
from alluxio_lance.storage import LanceStore

ROWS, BATCHES = 1 << 20, 8


def say(word):
    """Tell the parent."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def stream():
    """Yield 64 MB in all, and stop in the middle: some of them are in files by then."""
    for number in range(BATCHES):
        if number == BATCHES // 2:
            say("writing")
            sys.stdin.readline()
        yield pa.record_batch({"id": np.arange(ROWS)})


def main():
    """Run the verb."""
    root, verb, ttl = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    store = LanceStore.local(tables_folder(root))
    with LocalManager(DatabaseCatalog.open(catalog_url(root)), store, ttl=ttl) as manager:
        try:
            if verb == "register":
                manager.register_resource("datasets", "a", stream())
            else:
                manager.update_resource("datasets", "a", stream())
        except AlluxioLanceError as error:
            say(type(error).__name__)
        else:
            say("done")


if __name__ == "__main__":
    main()
