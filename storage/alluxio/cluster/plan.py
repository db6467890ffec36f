"""What a local Alluxio shall be: its folder, ports and sizes."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from alluxio_lance.errors import InvalidArgument

__all__ = ["ClusterPlan", "Ports", "default_folder"]

_LAST_PORT: Final = 65535


def default_folder() -> Path:
    """Return where a local Alluxio lives unless it is told otherwise."""
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser() / "alluxio-lance" / "alluxio"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The ports of one Alluxio; the defaults are Alluxio's own."""

    master: int = 19998
    master_web: int = 19999
    worker: int = 29999
    worker_web: int = 30000
    proxy: int = 39999

    @classmethod
    def starting_at(cls, base: int) -> Self:
        """Take five ports in a row.

        Raises
        ------
        InvalidArgument
            When there are none.
        """
        if not 1 <= base <= _LAST_PORT - 4:
            raise InvalidArgument(f"--port-base {base} is no port: give one from 1 to {_LAST_PORT - 4}")
        return cls(master=base, master_web=base + 1, worker=base + 2, worker_web=base + 3, proxy=base + 4)

    @classmethod
    def free(cls) -> Self:
        """Find five ports of the loopback address that nobody listens on now."""
        with ExitStack() as keep:
            sockets = [keep.enter_context(socket.socket()) for _ in range(5)]
            for each in sockets:
                each.bind(("127.0.0.1", 0))
            master, master_web, worker, worker_web, proxy = (each.getsockname()[1] for each in sockets)
        return cls(master=master, master_web=master_web, worker=worker, worker_web=worker_web, proxy=proxy)

    def taken(self) -> list[int]:
        """List those that somebody listens on."""
        return [port for port in asdict(self).values() if _is_taken(port)]


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterPlan:
    """What is started: a master, a worker and a proxy, all on the loopback address."""

    folder: Path
    """Where journal, cache, logs and, by default, the files themselves lie."""
    ports: Ports = Ports()
    tier_bytes: int = 1 << 30
    """Bytes of the worker's cache."""
    block_bytes: int = 64 << 20
    """Bytes of a block: files up to this size are read from one block file."""
    heap_bytes: int = 512 << 20
    """Bytes of each JVM's heap."""
    under_store: str = ""
    """Where the files are kept: a folder or ``s3://BUCKET/PREFIX``; by default the folder ``ufs``."""
    under_store_options: dict[str, str] = field(default_factory=dict)
    """Alluxio's own properties of the under-store, such as ``alluxio.underfs.s3.endpoint``."""
    small: bool = False
    """Start fast and small, as for tests: less optimised code, shorter waits."""

    @property
    def root(self) -> str:
        """The under-store as Alluxio is told."""
        return self.under_store or str(self.folder / "ufs")

    @property
    def tier(self) -> Path:
        """The folder in which the worker keeps its blocks."""
        return self.folder / "cache"

    def record(self) -> dict[str, Any]:
        """Write it as JSON values, without what may be secret."""
        return {**asdict(self), "folder": str(self.folder), "under_store_options": {}}

    @classmethod
    def of_record(cls, record: dict[str, Any]) -> Self:
        """Read what `record` wrote."""
        return cls(**{**record, "folder": Path(record["folder"]), "ports": Ports(**record["ports"])})
