"""Data of a caller's own process, as a stream of record batches: tables, readers, iterables, frames.

It stands outside the rooms because the store reads such data where the manager is embedded, and the client where it is
connected; both must make the same rows of them.
"""

from __future__ import annotations

from alluxio_lance.incoming.kinds import IN_MEMORY, InMemory, find_kind
from alluxio_lance.incoming.source import Source, stream

__all__ = ["IN_MEMORY", "InMemory", "Source", "find_kind", "stream"]
