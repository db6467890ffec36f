"""Who works on an operation, and whether that process still lives."""

from __future__ import annotations

import getpass
import os
import socket
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

from alluxio_lance.lifecycle.ports import Operation, Owner

__all__ = ["current_owner", "default_actor", "is_dead", "start_ticks"]


@cache
def _boot() -> str:
    """Name the set of processes in which a pid means something: this boot, this pid namespace."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot}:{Path('/proc/self/ns/pid').stat().st_ino}"


def start_ticks(pid: int) -> int | None:
    """Read when a process started; None when there is no such process or it is only a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The command in parentheses may itself hold spaces and parentheses.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def current_owner(node: str | None = None) -> Owner:
    """Describe this process."""
    pid = os.getpid()
    started = start_ticks(pid)
    assert started is not None
    return Owner(node=node or socket.gethostname(), boot=_boot(), pid=pid, started=started)


def default_actor(node: str | None = None) -> str:
    """Name the user of this process as ``user@node``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"uid{os.getuid()}"
    return f"{user}@{node or socket.gethostname()}"


def is_dead(operation: Operation, here: Owner, now: datetime, ttl: float) -> bool:
    """Tell whether nobody works on an operation any more.

    Within this boot and pid namespace the process table knows at once; of any other process only the heartbeat tells.
    """
    if now - operation.heartbeat_at > timedelta(seconds=2 * ttl):
        return True
    owner = operation.owner
    return owner.boot == here.boot and start_ticks(owner.pid) != owner.started
