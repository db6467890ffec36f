"""Takes from the disk tier what was purged: of a version that is gone for good no byte is left, on any node."""

from __future__ import annotations

from typing import Protocol

from alluxio_lance.errors import NotFound
from alluxio_lance.sidecar.disk.tier import DiskTier
from alluxio_lance.values import Version

__all__ = ["Listed", "prune"]


class Listed(Protocol):
    """The part of the catalog that says what there is."""

    def versions(self, type: str, name: str, *, branch: str | None = None, deleted: bool = False) -> list[Version]:
        """List the versions of a resource that are not deleted, or those that are; `NotFound` without any."""
        ...


def prune(disk: DiskTier, catalog: Listed, type: str, name: str) -> None:
    """Remove what the disk keeps for a resource of versions that the catalog does not know any more.

    A deleted version that waits to be purged is still known: it may come back.
    """
    known: set[str] = set()
    for deleted in (False, True):
        try:
            known |= {version.content_hash for version in catalog.versions(type, name, deleted=deleted)}
        except NotFound:
            continue
    disk.keep_only((type, name), known)
