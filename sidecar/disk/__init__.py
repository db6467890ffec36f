"""The disk tier: verified segments on this node's disk, between Alluxio and shared memory."""

from alluxio_lance.sidecar.disk.pruning import prune
from alluxio_lance.sidecar.disk.tier import NO_DISK, DiskTier

__all__ = ["NO_DISK", "DiskTier", "prune"]
