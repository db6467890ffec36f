"""What machine the numbers are from, as far as a reader needs it to judge them."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

__all__ = ["describe", "filesystem_of"]

_MEMORY_FILESYSTEMS = frozenset({"tmpfs", "ramfs"})


def describe(work: Path) -> dict[str, Any]:
    """Describe processors, memory, system and the file system of the work folder. No host name: results are shared."""
    return {
        "cpus": len(os.sched_getaffinity(0)),
        "cpu": named("/proc/cpuinfo", "model name"),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "filesystem": filesystem_of(work),
        "load_average": os.getloadavg()[0],
    }


def named(path: str, key: str) -> str:
    """Return the first value of a key in a ``key : value`` file of /proc."""
    for text in Path(path).read_text().splitlines():
        name, _, value = text.partition(":")
        if name.strip() == key:
            return value.strip()
    return platform.machine()


def filesystem_of(folder: Path) -> str:
    """Return the type of the file system that a folder lies on, such as ``ext4``."""
    place, best, kind = str(folder.resolve()), "", "unknown"
    for text in Path("/proc/self/mounts").read_text().splitlines():
        _, mount, this, *_ = text.split()
        inside = mount in {"/", place} or place.startswith(f"{mount}/")
        if inside and len(mount) >= len(best):
            best, kind = mount, this
    return f"{kind} (memory)" if kind in _MEMORY_FILESYSTEMS else kind
