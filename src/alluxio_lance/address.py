"""Where a sidecar is found: the run folder of this node's and its two sockets, or the host and port of another node's."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from alluxio_lance.errors import InvalidArgument

__all__ = ["Address", "RemoteAddress", "default_run_folder", "find_address", "is_loopback"]

_GRPC, _DOOR = "grpc.sock", "door.sock"
_SCHEMES = ("grpc://", "grpcs://")


def default_run_folder() -> Path:
    """Return ``ALLUXIO_LANCE_RUN_DIR``, else the place that the system gives this user for sockets."""
    named = os.environ.get("ALLUXIO_LANCE_RUN_DIR")
    if named:
        return Path(named)
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime:
        return Path(runtime) / "alluxio-lance"
    return Path("/run/alluxio-lance") if os.getuid() == 0 else Path(f"/tmp/alluxio-lance-{os.getuid()}")  # noqa: S108 - last resort, made with mode 0700 and checked for its owner


@dataclass(frozen=True, slots=True)
class Address:
    """A run folder: the gRPC socket and the door stand side by side in it."""

    run_folder: Path

    @classmethod
    def find(cls, text: str | None = None) -> Address:
        """Read ``unix:/run/folder/grpc.sock`` or a run folder; default ``ALLUXIO_LANCE_ADDRESS``, then the run folder.

        Raises
        ------
        InvalidArgument
            When the text is neither, or names a sidecar over the network.
        """
        text = _given(text)
        if text.startswith(_SCHEMES):
            raise InvalidArgument(
                f"{text} is a sidecar over the network, and this needs the one of this node: shared memory does not "
                f"travel - give unix:/RUN/FOLDER/{_GRPC}, or the run folder as a path"
            )
        path = Path(text.removeprefix("unix://").removeprefix("unix:"))
        if not path.is_absolute():
            raise InvalidArgument(
                f"{text!r} is no address of a sidecar: give unix:/RUN/FOLDER/{_GRPC}, or the run folder as a path"
            )
        return cls(path.parent if path.suffix == ".sock" else path)

    @property
    def grpc(self) -> str:
        """The target of a gRPC channel."""
        return f"unix:{self.run_folder / _GRPC}"

    @property
    def door(self) -> Path:
        """The socket that passes file descriptors."""
        return self.run_folder / _DOOR


@dataclass(frozen=True, slots=True)
class RemoteAddress:
    """A sidecar over the network: its lifecycle can be reached, its shared memory cannot."""

    host: str
    port: int
    tls: bool

    @classmethod
    def read(cls, text: str) -> RemoteAddress:
        """Read ``grpcs://host:port`` (TLS) or ``grpc://host:port``.

        Raises
        ------
        InvalidArgument
            When the text is neither.
        """
        try:
            parts = urlsplit(text)
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
        extra = bool(host) and (parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc)
        if not host or not port or extra or parts.scheme not in ("grpc", "grpcs"):
            # What was given may hold a password: it is not shown.
            raise InvalidArgument(
                "the address is none of a sidecar over the network: give grpcs://HOST:PORT, or grpc://HOST:PORT within "
                "this host; tokens go into ALLUXIO_LANCE_TOKEN"
            )
        return cls(host, port, parts.scheme == "grpcs")

    @property
    def grpc(self) -> str:
        """The target of a gRPC channel."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"dns:///{host}:{self.port}"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"grpc{'s' * self.tls}://{host}:{self.port}"


def find_address(text: str | None = None) -> Address | RemoteAddress:
    """Read whichever address there is; default ``ALLUXIO_LANCE_ADDRESS``, then the run folder of this node.

    Raises
    ------
    InvalidArgument
        When the text is none.
    """
    text = _given(text)
    return RemoteAddress.read(text) if text.startswith(_SCHEMES) else Address.find(text)


def is_loopback(host: str) -> bool:
    """Tell whether a host is this very one, by its name or number alone: no name server is asked."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _given(text: str | None) -> str:
    return text or os.environ.get("ALLUXIO_LANCE_ADDRESS") or f"unix:{default_run_folder() / _GRPC}"
