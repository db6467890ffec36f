"""The importers: everything that `register` and `update` accept, each turned into a stream of record batches."""

from __future__ import annotations

from alluxio_lance.storage.importers.registry import open_source

__all__ = ["open_source"]
