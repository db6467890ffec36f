"""The manager in this process: every verb of the face, as an operation over catalog and store.

Each file holds the verbs of one kind; what they share is in `base`.
"""

from alluxio_lance.lifecycle.kinds import kind_of
from alluxio_lance.lifecycle.local.manager import LocalManager

__all__ = ["LocalManager", "kind_of"]
