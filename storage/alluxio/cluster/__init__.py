"""A local Alluxio on this machine, from Maven's jars: for trying things out, and for the tests."""

from alluxio_lance.storage.alluxio.cluster.cluster import Cluster, ClusterStatus, NodeStatus
from alluxio_lance.storage.alluxio.cluster.plan import ClusterPlan, Ports, default_folder

__all__ = ["Cluster", "ClusterPlan", "ClusterStatus", "NodeStatus", "Ports", "default_folder"]
