"""How far a copy is, told in bytes."""

from __future__ import annotations

from alluxio_lance.lifecycle.ports import Write
from alluxio_lance.values import Progress

__all__ = ["Meter"]


class Meter:
    """Adds up bytes and tells whoever asked the write for its progress."""

    def __init__(self, write: Write, step: str, total: int) -> None:
        self._write = write
        self._step = step
        self._total = total
        self._done = 0

    def count(self, bytes: int) -> None:
        """Add bytes, and tell."""
        self._done += bytes
        if self._write.on_progress is not None:
            self._write.on_progress(Progress(step=self._step, bytes=self._done, total_bytes=self._total))
