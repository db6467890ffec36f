"""Lines from a process that is waited for, but not for ever."""

from __future__ import annotations

import subprocess
import threading

from alluxio_lance.errors import Unavailable

__all__ = ["line_of"]


def line_of(process: subprocess.Popen[str], limit_s: float, name: str) -> str:
    """Return the next line that a process writes; it is killed when that takes longer than ``limit_s`` seconds.

    Raises
    ------
    Unavailable
        When it ends instead, or was killed; the message calls it a ``name``.
    """
    assert process.stdout is not None
    # Its end is the end of its output, which ends the wait.
    watchdog = threading.Timer(limit_s, process.kill)
    watchdog.start()
    try:
        line = process.stdout.readline()
    finally:
        watchdog.cancel()
    if not line:
        raise Unavailable(f"a {name} ended before its time, or took more than {limit_s:.0f} s", what=name)
    return line
