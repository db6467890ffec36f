"""The service Selection: evaluates filters on versions that their readers hold."""

from __future__ import annotations

from collections.abc import Iterator

import grpc

from alluxio_lance.sidecar.leases import Leases
from alluxio_lance.sidecar.peers import Peers
from alluxio_lance.sidecar.selections import Selections
from alluxio_lance.sidecar.services.guard import caller
from alluxio_lance.v1 import selection_pb2 as pb
from alluxio_lance.v1.selection_pb2_grpc import SelectionServicer

__all__ = ["Selection"]


class Selection(SelectionServicer):
    """The service.

    Whoever holds a lease may read all of the version, so nothing else is asked for.
    """

    def __init__(self, selections: Selections, leases: Leases, *, peers: Peers) -> None:
        self._selections = selections
        self._leases = leases
        self._peers = peers

    def Select(self, request: pb.SelectRequest, context: grpc.ServicerContext) -> Iterator[pb.SelectResponse]:
        version = self._leases.held(request.lease, caller(context, self._peers))
        for rows in self._selections.find(version, request.filter, context.is_active):
            yield pb.SelectResponse(rows=rows.astype("<u8").tobytes())
