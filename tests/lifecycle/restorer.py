"""A process that restores datasets/a@1.0.0 and stops in its middle. Arguments: root, node, ttl in seconds.

It prints ``copying`` when the first bytes are there, goes on after a line on its standard input, and prints ``done``.
"""

import sys
from pathlib import Path

from alluxio_lance.catalog import DatabaseCatalog
from alluxio_lance.embedded import catalog_url, tables_folder
from alluxio_lance.lifecycle.local import LocalManager
from alluxio_lance.storage import LanceStore


def say(word):
    """Tell the parent."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def main():
    """Restore."""
    root, node, ttl = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    store = LanceStore.local(tables_folder(root))
    stopped = []

    def stop_once(progress):
        if progress.bytes and not stopped:
            stopped.append(progress)
            say("copying")
            sys.stdin.readline()

    with LocalManager(DatabaseCatalog.open(catalog_url(root)), store, node=node, ttl=ttl) as manager:
        manager.restore_resource("datasets", "a", "1.0.0", on_progress=stop_once)
    say("done")


if __name__ == "__main__":
    main()
