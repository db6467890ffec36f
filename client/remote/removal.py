"""The verbs with which a resource or version goes: delete, undelete, purge."""

from __future__ import annotations

from alluxio_lance.client.remote.base import Remote
from alluxio_lance.v1 import lifecycle_pb2 as pb

__all__ = ["RemovalVerbs"]


class RemovalVerbs(Remote):
    """Delete, undelete, purge."""

    def delete_resource(
        self,
        type: str,
        name: str,
        version: str | None = None,
        *,
        force: bool = False,
        message: str = "",
        request_id: str | None = None,
    ) -> None:
        request = pb.DeleteRequest(
            type=type, name=name, version=version or "", force=force, message=message, request_id=request_id or ""
        )
        with self._channel.speaking() as stubs:
            stubs.lifecycle.Delete(request)

    def undelete_resource(
        self, type: str, name: str, version: str | None = None, *, message: str = "", request_id: str | None = None
    ) -> None:
        request = pb.UndeleteRequest(
            type=type, name=name, version=version or "", message=message, request_id=request_id or ""
        )
        with self._channel.speaking() as stubs:
            stubs.lifecycle.Undelete(request)

    def purge_resource(
        self, type: str, name: str, version: str | None = None, *, message: str = "", request_id: str | None = None
    ) -> None:
        request = pb.PurgeRequest(
            type=type, name=name, version=version or "", message=message, request_id=request_id or ""
        )
        with self._channel.speaking() as stubs:
            stubs.lifecycle.Purge(request)
