"""The service Lifecycle: every verb about a resource, on behalf of whoever calls."""

from __future__ import annotations

from alluxio_lance.sidecar.services.calls.cold import ColdCalls
from alluxio_lance.sidecar.services.calls.data import DataCalls
from alluxio_lance.sidecar.services.calls.looking import LookingCalls
from alluxio_lance.sidecar.services.calls.names import NameCalls
from alluxio_lance.sidecar.services.calls.pointing import PointingCalls
from alluxio_lance.sidecar.services.calls.removal import RemovalCalls
from alluxio_lance.sidecar.services.calls.stages import StageCalls
from alluxio_lance.sidecar.services.calls.warming import WarmingCalls
from alluxio_lance.v1.lifecycle_pb2_grpc import LifecycleServicer

__all__ = ["Lifecycle"]


class Lifecycle(
    DataCalls,
    PointingCalls,
    ColdCalls,
    WarmingCalls,
    StageCalls,
    NameCalls,
    RemovalCalls,
    LookingCalls,
    LifecycleServicer,
):
    """The service; parameters as in `Calls`."""
