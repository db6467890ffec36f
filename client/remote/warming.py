"""The verbs of the cache below: warm, cool, explain."""

from __future__ import annotations

from alluxio_lance.client import wire
from alluxio_lance.client.remote.base import Remote, answered
from alluxio_lance.manager import OnProgress
from alluxio_lance.v1 import lifecycle_pb2 as pb
from alluxio_lance.ways import CacheShare, Explanation, FileWay

__all__ = ["CacheVerbs"]


class CacheVerbs(Remote):
    """What the cache of Alluxio shall hold, and how versions are read."""

    def warm_resource(
        self, type: str, name: str, selector: str | None = None, *, on_progress: OnProgress | None = None
    ) -> CacheShare:
        request = pb.WarmRequest(type=type, name=name, selector=selector or "")
        with self._channel.speaking() as stubs:
            return answered(stubs.lifecycle.Warm(request), on_progress, lambda last: wire.share(last.share))

    def cool_resource(self, type: str, name: str, version: str) -> int:
        with self._channel.speaking() as stubs:
            return stubs.lifecycle.Cool(pb.CoolRequest(type=type, name=name, version=version)).freed_bytes

    def explain_resource(self, type: str, name: str, selector: str | None = None) -> Explanation:
        files: list[FileWay] = []
        share: CacheShare | None = None
        with self._channel.speaking() as stubs:
            for page in stubs.lifecycle.Explain(pb.ExplainRequest(type=type, name=name, selector=selector or "")):
                files += [wire.file_way(file) for file in page.files]
                share = wire.share(page.share) if page.HasField("share") else None
        return Explanation(files=tuple(files), share=share)
