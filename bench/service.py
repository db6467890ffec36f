"""A sidecar for the length of a run, as a process of its own on a folder of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

from alluxio_lance import ResourceManager
from alluxio_lance.errors import Unavailable

__all__ = ["serving"]

_START_S = 60.0
_STOP_S = 20.0


@contextmanager
def serving(root: Path, arguments: Sequence[str] = ()) -> Iterator[str]:
    """Start a sidecar on a folder, with more arguments for its command line, yield its address, and stop it.

    Raises
    ------
    Unavailable
        When it does not answer within a minute; with the last line that it wrote.
    """
    root.mkdir(parents=True, exist_ok=True)
    log = root / "sidecar.log"
    # Not in the work folder: the path of a Unix socket has at most 107 bytes.
    with (
        _ended_by_sigterm(),
        tempfile.TemporaryDirectory(prefix="al-bench-") as run_folder,
        log.open("w") as output,
    ):
        command = [
            sys.executable,
            "-P",
            "-m",
            "alluxio_lance.sidecar.server",
            "--root",
            str(root),
            "--run-dir",
            run_folder,
            *arguments,
        ]
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
        try:
            address = f"unix:{run_folder}/grpc.sock"
            wait_for(address, process, log)
            yield address
        finally:
            stop(process)


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end this process in the orderly way: neither sidecar nor run folder may stay behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the sidecar answers a question.

    Raises
    ------
    Unavailable
        When it ended, or does not answer in time.
    """
    end = monotonic() + _START_S
    while True:
        try:
            with ResourceManager.connect(address, timeout=1.0) as manager:
                manager.list_resources()
                return
        except Unavailable as error:
            if process.poll() is not None or monotonic() > end:
                said = log.read_text(errors="replace").strip().splitlines()
                message = f"the sidecar did not start: {said[-1] if said else error.message}"
                raise Unavailable(message, what="sidecar") from error
            sleep(0.1)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the sidecar to end, and kill it when it does not."""
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
