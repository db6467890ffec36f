"""Where the sidecar of this node is found: the run folder and its two sockets."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from alluxio_lance.errors import InvalidArgument

__all__ = ["Address", "default_run_folder"]

_GRPC, _DOOR = "grpc.sock", "door.sock"


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
            When the text is neither.
        """
        text = text or os.environ.get("ALLUXIO_LANCE_ADDRESS") or f"unix:{default_run_folder() / _GRPC}"
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
