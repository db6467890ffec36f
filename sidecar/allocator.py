"""Gives back to the system what loads and writes have freed: the allocators of a process keep it for ever otherwise."""

from __future__ import annotations

import ctypes
import threading
from types import TracebackType
from typing import Final, Self

import pyarrow as pa

__all__ = ["Trimmer", "share_heaps", "trim"]

_ARENAS: Final = 2
"""Heaps of the C library. Lance's threads would otherwise get one each, and each keeps its own peak; measured on loads
and writes, two are as fast as the default of eight for each core."""
_M_ARENA_MAX: Final = -8
_PAUSE: Final = 1.0
"""Seconds from a wish to its fulfilment: what is freed and wanted again meanwhile stays, and wishes become one."""

# Only glibc has these; other C libraries give freed memory back by themselves.
_MALLOC_TRIM: Final = getattr(ctypes.CDLL(None), "malloc_trim", None)
_MALLOPT: Final = getattr(ctypes.CDLL(None), "mallopt", None)


def share_heaps() -> None:
    """Let this process have few heaps, before its threads make many.

    Arrow's own allocator has a heap for each thread, too, which only that thread can trim; the C library's serves both.
    """
    pa.set_memory_pool(pa.system_memory_pool())
    if _MALLOPT is not None:
        _MALLOPT(_M_ARENA_MAX, _ARENAS)


def trim() -> None:
    """Give freed memory back now; takes some milliseconds for each 100 MiB."""
    if _MALLOC_TRIM is not None:
        _MALLOC_TRIM(ctypes.c_size_t(0))


class Trimmer:
    """Trims a moment after it was last worth it, in a thread of its own.

    Parameters
    ----------
    pause
        Seconds between a wish and its fulfilment.
    """

    def __init__(self, pause: float = _PAUSE) -> None:
        self._pause = pause
        self._wanted = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="trim", daemon=True)
        self._thread.start()

    def soon(self) -> None:
        """Note that much may have been freed; does not wait."""
        self._wanted.set()

    def close(self) -> None:
        """Stop; a second call does nothing."""
        self._closed.set()
        self._wanted.set()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        # Asked after the wish was forgotten: the one with which `close` wakes this thread may have been just that.
        while not self._closed.is_set():
            self._wanted.wait()
            if self._closed.wait(self._pause):
                return
            self._wanted.clear()
            trim()
