"""The verbs that move the pointer: activate, deprecate, rollback."""

from __future__ import annotations

from alluxio_lance.client import wire
from alluxio_lance.client.remote.base import Remote
from alluxio_lance.v1 import lifecycle_pb2 as pb
from alluxio_lance.values import Version

__all__ = ["PointingVerbs"]


class PointingVerbs(Remote):
    """Activate, deprecate, rollback."""

    def activate_resource(
        self, type: str, name: str, version: str, *, message: str = "", request_id: str | None = None
    ) -> Version:
        request = pb.ActivateRequest(
            type=type, name=name, version=version, message=message, request_id=request_id or ""
        )
        with self._channel.speaking() as stubs:
            return wire.version(stubs.lifecycle.Activate(request).version)

    def deprecate_resource(
        self, type: str, name: str, version: str, *, message: str = "", request_id: str | None = None
    ) -> Version:
        request = pb.DeprecateRequest(
            type=type, name=name, version=version, message=message, request_id=request_id or ""
        )
        with self._channel.speaking() as stubs:
            return wire.version(stubs.lifecycle.Deprecate(request).version)

    def rollback_resource(
        self, type: str, name: str, version: str | None = None, *, message: str = "", request_id: str | None = None
    ) -> Version:
        request = pb.RollbackRequest(
            type=type, name=name, version=version or "", message=message, request_id=request_id or ""
        )
        with self._channel.speaking() as stubs:
            return wire.version(stubs.lifecycle.Rollback(request).version)
