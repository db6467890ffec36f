"""What one process holds of an Alluxio: connections, open block files, and the count of which way its bytes came."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from alluxio_lance.files.address import AlluxioAddress
from alluxio_lance.files.blocks import LocalBlocks, NotHere
from alluxio_lance.files.descriptors import OpenBlocks, OpenFiles
from alluxio_lance.files.endpoint import Endpoint
from alluxio_lance.files.namespace import FileStatus, Namespace
from alluxio_lance.ways import Way

__all__ = ["Process"]

_LOOK_AGAIN: Final = 30.0
"""Seconds until a node without a worker is asked again whether it has one."""
_AHEAD: Final = 4
"""Threads that read ahead, for all open files together."""


class Process:
    """The side of one process; any of its threads may use it."""

    def __init__(self, address: AlluxioAddress) -> None:
        self.endpoint = Endpoint(address)
        self.open_files = OpenFiles()
        self._address = address
        self._threads = threading.local()
        self._lock = threading.Lock()
        self._counts = dict.fromkeys((Way.SHORT_CIRCUIT, Way.ENDPOINT), 0)
        self._blocks: LocalBlocks | None = None
        self._why = ""
        self._ask_at = 0.0
        self._ahead: ThreadPoolExecutor | None = None

    @property
    def namespace(self) -> Namespace:
        """The namespace, on a session that this thread alone has."""
        if not hasattr(self._threads, "namespace"):
            self._threads.namespace = Namespace(self._address.host, self._address.proxy)
        found: Namespace = self._threads.namespace
        return found

    @property
    def ahead(self) -> ThreadPoolExecutor:
        """Threads that read ahead."""
        with self._lock:
            if self._ahead is None:
                self._ahead = ThreadPoolExecutor(_AHEAD, thread_name_prefix="alluxio-ahead")
            return self._ahead

    # -- block files ---------------------------------------------------------------------------------------------------

    def nearest(self, file: FileStatus) -> OpenBlocks:
        """Return the open block files of a file.

        Raises
        ------
        NotHere
            With the reason, when they are not all on this node.
        """
        if not file.blocks:
            raise NotHere("it has no blocks")
        blocks = self._local_blocks()
        return self.open_files.get(file.blocks, lambda: OpenBlocks(blocks.open(file), file.block_bytes, file.length))

    def open(self, file: FileStatus) -> list[int]:
        """Open the block files of a file anew, for somebody who closes them; raises `NotHere` as `nearest` does."""
        return self._local_blocks().open(file)

    def near(self, file: FileStatus) -> OpenBlocks | None:
        """Return the open block files of a file; None when they are not all on this node."""
        try:
            return self.nearest(file)
        except NotHere:
            return None

    def _local_blocks(self) -> LocalBlocks:
        found = self._blocks
        if found is not None:
            return found
        with self._lock:
            if self._blocks is None and time.monotonic() >= self._ask_at:
                try:
                    self._blocks = LocalBlocks.find(self._address)
                except NotHere as reason:
                    self._why = str(reason)
                    self._ask_at = time.monotonic() + _LOOK_AGAIN
            if self._blocks is None:
                raise NotHere(self._why)
            return self._blocks

    # -- counting ------------------------------------------------------------------------------------------------------

    def count(self, way: Way, length: int) -> None:
        """Count bytes that were read."""
        with self._lock:
            self._counts[way] += length

    def counted(self) -> Mapping[Way, int]:
        """Return the bytes by way; a way without any is left out."""
        with self._lock:
            return {way: count for way, count in self._counts.items() if count}

    # -- the end -------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Let go of connections and open files."""
        self.endpoint.close()
        self.open_files.clear()
        with self._lock:
            ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.shutdown(wait=False, cancel_futures=True)
