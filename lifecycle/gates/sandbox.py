"""Foreign programs, run within limits: other user, clean environment, empty folder, memory, time, size of the output."""

from __future__ import annotations

import contextlib
import json
import math
import os
import pwd
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from alluxio_lance.lifecycle.gates import confined

__all__ = ["Limits", "NotStarted", "Ran", "run_confined"]

_OPEN_FILES: Final = 256
_PROCESSES: Final = 256
"""Of the other user, threads too: a fork bomb ends there."""
_FILE_SIZE: Final = 64 << 20
_OUTPUT: Final = 64 << 10
"""Of each stream, the end is kept."""
_LINGER: Final = 0.2
"""Seconds to read what is left when the program has ended: a child of it may keep the pipe open for ever."""
_NOBODY: Final = "nobody"


class NotStarted(Exception):
    """The program could not be started; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a program may use."""

    seconds: float
    memory: int
    """Bytes of address space."""
    user: str | None = None
    """None: ``nobody`` where this process is root, else the same user."""
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """How a program ended."""

    code: int
    """Its exit code; negative: the signal that ended it."""
    timed_out: bool
    output: str
    """The end of its standard output."""
    errors: str
    """The end of its standard error."""


def run_confined(command: Sequence[str], given: bytes, limits: Limits) -> Ran:
    """Run a program with something on its standard input, and leave nothing of it behind.

    Raises
    ------
    NotStarted
        When there is no such program or user, or this process may not become that user.
    """
    account = _account(limits.user)
    folder = tempfile.mkdtemp(prefix="alluxio-lance-gate-")
    try:
        if account is not None:
            os.chown(folder, account.pw_uid, account.pw_gid)
        with tempfile.TemporaryFile() as stdin:
            stdin.write(given)
            stdin.seek(0)
            with _started(command, folder, account, limits, stdin) as process:
                ran = _follow(process, limits.seconds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if ran.code == confined.FAILED:
        raise NotStarted(ran.errors.strip() or f"{command[0]} could not be started")
    return ran


def _account(user: str | None) -> pwd.struct_passwd | None:
    root = os.geteuid() == 0
    wanted = user or (_NOBODY if root else None)
    if wanted is None:
        return None
    try:
        account = pwd.getpwnam(wanted)
    except KeyError:
        raise NotStarted(f"there is no user {wanted!r} on this node") from None
    if account.pw_uid == os.geteuid():
        return None
    if not root:
        raise NotStarted(f"the server is not root, and cannot run a program as {wanted!r}")
    return account


def _started(
    command: Sequence[str], folder: str, account: pwd.struct_passwd | None, limits: Limits, stdin: Any
) -> subprocess.Popen[bytes]:
    wanted = {
        "cpu": math.ceil(limits.seconds) + 1,
        "memory": limits.memory,
        "files": _OPEN_FILES,
        "file_size": _FILE_SIZE,
        "processes": _PROCESSES,
    }
    if account is not None:
        wanted |= {"uid": account.pw_uid, "gid": account.pw_gid}
    clean = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": folder, "TMPDIR": folder}
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(Path(confined.__file__)), json.dumps(wanted), *command],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        env={**clean, **limits.environment},
        start_new_session=True,
    )


def _follow(process: subprocess.Popen[bytes], seconds: float) -> Ran:
    """Read both streams until the program ends or its time is over; then its whole group goes."""
    deadline = time.monotonic() + seconds
    kept = {"output": bytearray(), "errors": bytearray()}
    try:
        with selectors.DefaultSelector() as selector:
            for name, stream in (("output", process.stdout), ("errors", process.stderr)):
                assert stream is not None
                os.set_blocking(stream.fileno(), False)
                selector.register(stream, selectors.EVENT_READ, kept[name])
            _read_until(selector, process, deadline)
            timed_out = process.poll() is None and time.monotonic() >= deadline
            _end(process)
            _read_until(selector, None, time.monotonic() + _LINGER)
    finally:
        _end(process)
    texts = {name: data.decode("utf-8", "replace") for name, data in kept.items()}
    return Ran(code=process.returncode, timed_out=timed_out, **texts)


def _read_until(selector: selectors.BaseSelector, process: subprocess.Popen[bytes] | None, deadline: float) -> None:
    while selector.get_map() and (left := deadline - time.monotonic()) > 0:
        for key, _ in selector.select(min(left, 0.05)):
            _take(selector, key)
        if process is not None and process.poll() is not None:
            return
    if process is not None:
        # Both streams are closed, and the program may still work.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(deadline - time.monotonic(), 0))


def _take(selector: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
    data = os.read(key.fd, 1 << 16)
    if not data:
        selector.unregister(key.fileobj)
    key.data.extend(data)
    del key.data[:-_OUTPUT]


def _end(process: subprocess.Popen[bytes]) -> None:
    # Its own children too: the group outlives its leader, and has its number as long as one member lives.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
