"""Checks of the kernel: sealed memory, populate, descriptors, /dev/shm."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import platform
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from alluxio_lance.cli.doctor.check import Check, failed, ok, warned
from alluxio_lance.cli.human import count, size

__all__ = ["descriptors", "kernel", "populate", "scratch", "seals"]

_MADV_POPULATE_READ: Final = 22
_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
_FEW: Final = 1024
_TOO_FEW: Final = 256
_SMALL_SCRATCH: Final = 256 << 20


def kernel() -> Iterator[Check]:
    """Check what the sidecar and the readers ask of the kernel."""
    yield ok("system", f"{platform.system()} {platform.release()} on {platform.machine()}, {os.cpu_count()} processors")
    yield seals()
    yield populate()
    yield descriptors(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    yield scratch(Path("/dev/shm"))  # noqa: S108 - looked at, not written to


def seals() -> Check:
    """Seal a memfd and try to write it."""
    name = "sealed memory"
    try:
        memory = os.memfd_create("alluxio-lance-doctor", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    except OSError as error:
        return failed(name, f"memfd_create: {error.strerror}", "allow memfd_create in the container's seccomp profile")
    with os.fdopen(memory, "wb", buffering=0) as file:
        file.truncate(mmap.PAGESIZE)
        fcntl.fcntl(memory, fcntl.F_ADD_SEALS, _SEALS)
        try:
            file.write(b"x")
        except PermissionError:
            return ok(name, "memfd seals hold")
    return failed(name, "a sealed memfd could be written", "use a Linux kernel of 3.17 or later")


def populate() -> Check:
    """Ask for pages in advance."""
    name = "MADV_POPULATE_READ"
    with mmap.mmap(-1, mmap.PAGESIZE) as memory:
        try:
            memory.madvise(_MADV_POPULATE_READ)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            return warned(
                name, "not in this kernel: the first epoch touches its pages one by one", "use Linux 5.14 or later"
            )
    return ok(name, "there")


def descriptors(limit: int) -> Check:
    """Check the limit of open files: a reader holds one per column and shard."""
    name = "file descriptors"
    if limit == resource.RLIM_INFINITY:
        return ok(name, "no limit")
    found = f"{count(limit)} per process"
    if limit < _TOO_FEW:
        return failed(name, found, "ulimit -n 65536")
    if limit < _FEW:
        return warned(name, f"{found}: few for versions with many columns and shards", "ulimit -n 65536")
    return ok(name, found)


def scratch(folder: Path) -> Check:
    """Check /dev/shm, through which a DataLoader's workers hand over what a transform makes anew."""
    name = str(folder)
    try:
        facts = os.statvfs(folder)
    except OSError as error:
        return warned(name, error.strerror or str(error), "mount a tmpfs there: DataLoader workers of PyTorch need it")
    free = facts.f_bavail * facts.f_frsize
    if free < _SMALL_SCRATCH:
        return warned(
            name, f"{size(free)} free: little for DataLoader workers", "docker run --shm-size=2g, or remount it larger"
        )
    return ok(name, f"{size(free)} free (segments need none of it)")
