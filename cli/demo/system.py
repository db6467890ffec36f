"""A whole system as a child process: `alluxio-lance up` in a fresh folder."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from alluxio_lance.address import Address
from alluxio_lance.errors import Unavailable

__all__ = ["READY", "System"]

READY: Final = "ready"
"""The first word of the line that `up` prints when it answers."""
_BOUND: Final = """\
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""
"""Binds a process to the life of the one that starts it, `kill -9` included (PR_SET_PDEATHSIG survives exec)."""
_PATIENCE: Final = 60.0
"""Seconds to wait for that line, the import of the server side included."""
_FAREWELL: Final = 30.0
_LAST_LINES: Final = 12


class System:
    """`alluxio-lance up`, from its readiness to its end.

    Parameters
    ----------
    root
        The folder of catalog and tables.
    run_dir
        The folder of the sockets; its path must be short.
    log
        The file that takes what it prints.
    store
        Where the tables lie; empty for a folder in the root.
    """

    def __init__(self, root: Path, run_dir: Path, log: Path, store: str = "") -> None:
        self.address = Address(run_dir)
        self._log = log
        self._ready = False
        self._told = threading.Event()
        options = ["--root", str(root), "--run-dir", str(run_dir), *(["--store", store] if store else [])]
        command = [
            sys.executable,
            "-P",
            "-c",
            _BOUND,
            str(os.getpid()),
            "-P",
            "-m",
            "alluxio_lance.cli",
            "up",
            *options,
        ]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self._reader = threading.Thread(target=self._read, name="up", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._log.open("wb") as log:
            for line in self._process.stdout:
                log.write(line)
                log.flush()
                if line.decode(errors="replace").strip().startswith(READY):
                    self._ready = True
                    self._told.set()
        # At its end too, so that nobody waits for a process that has died.
        self._told.set()

    def wait_until_ready(self) -> None:
        """Wait for the line that says so.

        Raises
        ------
        Unavailable
            When it ended, or did not come up in time; with the end of its log.
        """
        told = self._told.wait(_PATIENCE)
        if not self._ready:
            # What has closed its output ends in a moment; what is silent goes on.
            why = f"ended with code {self._process.wait()}" if told else f"was not ready within {_PATIENCE:g} s"
            tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-_LAST_LINES:])
            raise Unavailable(f"`alluxio-lance up` {why}; the end of its log:\n{tail}", what="sidecar")

    def stop(self) -> int:
        """End it as Ctrl-C would and return its exit code; a second call does nothing."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_FAREWELL)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()
        return self._process.returncode

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
