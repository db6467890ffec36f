"""Where the bytes are: Lance tables below a root, and the importers that bring data in."""

from __future__ import annotations

from alluxio_lance.storage.store import LanceStore

__all__ = ["LanceStore"]
