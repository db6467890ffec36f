"""A sidecar as a process of its own: arguments, signals, and how it says that it is ready."""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Final

from alluxio_lance.errors import AlluxioLanceError
from alluxio_lance.sidecar.logs import log_to_stderr
from alluxio_lance.sidecar.server import Sidecar
from alluxio_lance.sidecar.settings import Settings

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sidecar until SIGTERM or SIGINT; a second signal ends it at once.

    One JSON line on the standard output says when it is ready.
    """
    log_to_stderr()
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature is the signal module's
        if stop.is_set():
            os._exit(1)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    try:
        with Sidecar(_settings(arguments)) as sidecar:
            _say_ready(sidecar)
            stop.wait()
            _notify("STOPPING=1")
    except AlluxioLanceError as error:
        sys.stderr.write(f"{error.message}\n")
        return error.exit_code
    return 0


def _settings(arguments: Sequence[str] | None) -> Settings:
    parser = argparse.ArgumentParser(prog="python -m alluxio_lance.sidecar.server", description=__doc__)
    for name, description in _ARGUMENTS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", dest=name, default=argparse.SUPPRESS, help=description)
    return Settings(**vars(parser.parse_args(arguments)))


_ARGUMENTS: Final = {
    "root": "the folder of catalog and tables",
    "run_dir": "the folder of the sockets",
    "catalog": "the database URL of the catalog",
    "store": "where the tables are: alluxio://HOST:19998/FOLDER?proxy=39999&worker=30000",
    "disk_dir": "the folder in which this node keeps segments",
    "disk_budget": "what they may take: 100GiB",
    "stream_from": "disk or memory: where readers of windows find what lies on the disk",
    "node": "the name of this node",
    "memory_budget": "what hot versions may take: 4GiB, or 60%%",
    "prefetch": "active or none",
    "listen": "HOST:PORT for callers over the network",
    "tls_certificate": "the certificate of that port, PEM",
    "tls_key": "its private key, PEM",
    "tls_client_ca": "who signs the certificates of callers, PEM",
    "lease_ttl": "seconds that the catalog keeps the leases of a dead sidecar",
}


def _say_ready(sidecar: Sidecar) -> None:
    remote = sidecar.remote_address
    record = {
        "ready": True,
        "address": sidecar.address.grpc,
        "listen": None if remote is None else str(remote),
        "pid": os.getpid(),
        "instance": sidecar.instance,
    }
    sys.stdout.write(json.dumps(record) + "\n")
    sys.stdout.flush()
    _notify("READY=1")


def _notify(state: str) -> None:
    """Tell systemd, if it is there (sd_notify(3))."""
    name = os.environ.get("NOTIFY_SOCKET")
    if not name:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bus:
        bus.connect(f"\0{name[1:]}" if name.startswith("@") else name)
        bus.send(state.encode())
