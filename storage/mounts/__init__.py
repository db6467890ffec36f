"""FUSE mounts of Alluxio's namespace: found, made, cleared, taken down."""

from alluxio_lance.files.mounts import Mount, mounts
from alluxio_lance.storage.mounts.manager import FuseMountManager

__all__ = ["FuseMountManager", "Mount", "mounts"]
