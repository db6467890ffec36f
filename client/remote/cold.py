"""The verbs of the cold tier: archive and restore."""

from __future__ import annotations

from alluxio_lance.client.remote.base import Remote, followed
from alluxio_lance.manager import OnProgress
from alluxio_lance.v1 import lifecycle_pb2 as pb
from alluxio_lance.values import Version

__all__ = ["ColdVerbs"]


class ColdVerbs(Remote):
    """Archive and restore."""

    def archive_resource(
        self,
        type: str,
        name: str,
        version: str,
        *,
        message: str = "",
        request_id: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> Version:
        request = pb.ArchiveRequest(type=type, name=name, version=version, message=message, request_id=request_id or "")
        with self._channel.speaking() as stubs:
            return followed(stubs.lifecycle.Archive(request), on_progress)

    def restore_resource(
        self,
        type: str,
        name: str,
        version: str,
        *,
        message: str = "",
        wait: bool = True,
        request_id: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> Version:
        request = pb.RestoreRequest(
            type=type, name=name, version=version, message=message, request_id=request_id or "", wait=wait
        )
        with self._channel.speaking() as stubs:
            return followed(stubs.lifecycle.Restore(request), on_progress)
