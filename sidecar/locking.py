"""A folder that one process owns for as long as it lives: the lock is the kernel's, and the file names the process."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable

__all__ = ["take_lock"]


def take_lock(folder: int, refusal: Callable[[str], Exception]) -> int:
    """Lock a folder and return the descriptor that holds the lock.

    Parameters
    ----------
    folder
        The folder, open.
    refusal
        Makes what is raised when another process has it, from that one's process id.
    """
    lock = os.open("lock", os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    except BlockingIOError as error:
        pid = os.pread(lock, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(lock)
        raise refusal(pid) from error
    return lock
