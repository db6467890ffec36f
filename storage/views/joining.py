"""Several block files as one, in a file without a name: no block is copied twice, and where the disk can share, none."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final

__all__ = ["join", "room_for"]

_ELSEWHERE: Final = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
"""What the kernel answers when the two files lie in file systems that cannot copy between each other."""
_SPARE: Final = 64 << 20
"""Bytes that stay free on the disk."""


def room_for(size: int, above: Path) -> str | None:
    """Tell, in words, why a joined file of that size cannot be made below a folder; None when it can."""
    there = next(folder for folder in (above, *above.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if free >= size + _SPARE:
        return None
    return f"to join its blocks takes {size >> 20} MiB, and the disk of {above} has {free >> 20} MiB free"


def join(blocks: Sequence[int], above: Path) -> IO[bytes]:
    """Copy block files behind each other into a new file, which has no name and is gone when it is closed.

    Raises
    ------
    OSError
        When the disk is full, or a block cannot be read.
    """
    joined = tempfile.TemporaryFile(dir=above, buffering=0)  # noqa: SIM115 - the caller closes it
    try:
        for block in blocks:
            _append(joined.fileno(), block)
    except BaseException:
        joined.close()
        raise
    return joined


def _append(to: int, block: int) -> None:
    offset = 0
    copy = _share
    while left := os.fstat(block).st_size - offset:
        try:
            count = copy(block, to, left, offset)
        except OSError as error:
            if copy is _send or error.errno not in _ELSEWHERE:
                raise
            copy = _send
            continue
        if not count:
            raise OSError(errno.EIO, "a block became shorter while it was copied")
        offset += count


def _share(block: int, to: int, count: int, offset: int) -> int:
    return os.copy_file_range(block, to, count, offset_src=offset)


def _send(block: int, to: int, count: int, offset: int) -> int:
    return os.sendfile(to, block, offset, count)
