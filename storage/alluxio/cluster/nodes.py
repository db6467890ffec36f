"""The processes of a local Alluxio: started apart from ours, found again by pid and start time, stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from alluxio_lance.errors import Unavailable
from alluxio_lance.lifecycle.process import start_ticks

__all__ = ["Node", "start", "stop"]

_GRACE: Final = 20.0
"""Seconds that a process has to end by itself."""
_PAUSE: Final = 0.05


@dataclass(frozen=True, slots=True)
class Node:
    """One process, by pid and by the moment of its start: pids are used again."""

    pid: int
    started: int

    @property
    def is_alive(self) -> bool:
        """Whether that very process runs."""
        return start_ticks(self.pid) == self.started


def start(command: list[str], log: Path) -> Node:
    """Start a process that outlives this one."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    started = start_ticks(child.pid)
    # Nobody here waits for it: it ends long after us, or is reaped by `stop`.
    child.returncode = 0
    if started is None:
        raise Unavailable(f"{command[-1]} ended at once: see {log}", what="alluxio")
    return Node(child.pid, started)


def stop(node: Node) -> None:
    """End a process, by force when it does not end by itself."""
    for sent, patience in ((signal.SIGTERM, _GRACE), (signal.SIGKILL, _GRACE)):
        if not node.is_alive:
            break
        os.kill(node.pid, sent)
        deadline = time.monotonic() + patience
        while node.is_alive and time.monotonic() < deadline:
            time.sleep(_PAUSE)
    _reap(node.pid)


def _reap(pid: int) -> None:
    """Let a dead child of ours go; of another process' child its parent takes care.

    The first thread of a JVM is dead before the others are: until then there is nothing to reap.
    """
    deadline = time.monotonic() + _GRACE
    while time.monotonic() < deadline:
        try:
            if os.waitpid(pid, os.WNOHANG) != (0, 0):
                return
        except ChildProcessError:
            return
        time.sleep(_PAUSE)
