"""A process that promotes, approves or rolls back on a root folder and kills itself with SIGKILL at a named step.

Arguments: root, what to do, the verb and the step at which to die, the id of a promotion.
"""

import os
import signal
import sys
from pathlib import Path

from alluxio_lance.catalog import DatabaseCatalog
from alluxio_lance.embedded import catalog_url, tables_folder
from alluxio_lance.governance import Identity
from alluxio_lance.lifecycle.local import LocalManager
from alluxio_lance.storage import LanceStore


def main():
    """Do it."""
    root, what, verb, step, promotion = Path(sys.argv[1]), *sys.argv[2:6]

    def observe(seen_verb, seen_step):
        if (str(seen_verb), seen_step) == (verb, step):
            os.kill(os.getpid(), signal.SIGKILL)

    catalog, store = DatabaseCatalog.open(catalog_url(root)), LanceStore.local(tables_folder(root))
    manager = LocalManager(catalog, store, observer=observe)
    bob = manager.acting_as(Identity(actor="bob@x", roles=("releaser",), method="peer"))
    if what == "promote":
        manager.promote_resource("datasets", "a", "1.0.0", to="production")
    elif what == "approve":
        bob.approve_promotion(promotion)
    elif what == "reject":
        bob.reject_promotion(promotion)
    elif what == "rollback":
        manager.rollback_resource("datasets", "a")
    elif what == "activate":
        manager.activate_resource("datasets", "a", "1.0.0")
    manager.close()


if __name__ == "__main__":
    main()
