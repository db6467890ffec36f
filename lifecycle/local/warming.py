"""The verbs of the cache below: warm, cool, explain."""

from __future__ import annotations

from alluxio_lance.lifecycle.local.base import Base
from alluxio_lance.manager import OnProgress
from alluxio_lance.ways import CacheShare, Explanation

__all__ = ["CacheVerbs"]


class CacheVerbs(Base):
    """What the cache of Alluxio shall hold, and how versions are read."""

    def warm_resource(
        self, type: str, name: str, selector: str | None = None, *, on_progress: OnProgress | None = None
    ) -> CacheShare:
        raise NotImplementedError

    def cool_resource(self, type: str, name: str, version: str) -> int:
        raise NotImplementedError

    def explain_resource(self, type: str, name: str, selector: str | None = None) -> Explanation:
        raise NotImplementedError
