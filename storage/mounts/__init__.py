"""FUSE mounts of Alluxio's namespace: found, made, cleared, taken down."""

from alluxio_lance.storage.mounts.manager import FuseMountManager
from alluxio_lance.storage.mounts.table import Mount, mounts

__all__ = ["FuseMountManager", "Mount", "mounts"]
