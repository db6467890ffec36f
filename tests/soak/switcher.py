"""Moves the active version while others read; run as a script (address). For each line, a version, it answers when done.

A process of its own, since one that has spoken gRPC is not to be forked.
"""

from __future__ import annotations

import sys

from alluxio_lance import ResourceManager


def main() -> None:
    """Activate what the lines say; ``back`` rolls back."""
    with ResourceManager.connect(sys.argv[1]) as manager:
        for line in sys.stdin:
            version = line.strip()
            if version == "back":
                manager.rollback_resource("datasets", "soak")
            else:
                manager.activate_resource("datasets", "soak", version)
            sys.stdout.write("done\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
