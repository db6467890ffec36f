"""What every command gets: where to print, and the way to the manager and the cache that the options name."""

from __future__ import annotations

import json
import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from typer import Context

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.manager import ResourceManager

if TYPE_CHECKING:
    from alluxio_lance.client.cache import RemoteCache

__all__ = ["Session", "session_of"]

_WIDTH_OF_A_PIPE: Final = 200
"""Columns where no terminal sets a limit, so that `| grep` sees whole names."""


@dataclass(frozen=True, slots=True)
class Session:
    """One run of the command."""

    address: str | None
    embedded: Path | None
    out: Console
    err: Console

    @classmethod
    def begin(cls, address: str | None, embedded: Path | None) -> Session:
        """Take the global options.

        Raises
        ------
        InvalidArgument
            When both name a place to work in, or the folder is something else.
        """
        if address is not None and embedded is not None:
            raise InvalidArgument("--address and --embedded exclude each other: a sidecar, or a folder without one")
        if embedded is not None and embedded.exists() and not embedded.is_dir():
            raise InvalidArgument(f"--embedded {embedded} is no folder: name one, it is made if it is missing")
        piped = not sys.stdout.isatty() and "COLUMNS" not in os.environ
        return cls(address, embedded, Console(width=_WIDTH_OF_A_PIPE if piped else None), Console(stderr=True))

    def manager(self) -> ResourceManager:
        """Open the manager: the sidecar's, or the one of a folder."""
        if self.embedded is not None:
            return ResourceManager.embedded(self.embedded)
        return ResourceManager.connect(self.address)

    def cache(self) -> RemoteCache:
        """Open the cache of the node's sidecar.

        Raises
        ------
        InvalidArgument
            With ``--embedded``: a folder has no shared memory.
        """
        if self.embedded is not None:
            raise InvalidArgument("the cache belongs to a sidecar: leave --embedded out, and start `alluxio-lance up`")
        from alluxio_lance.client.cache import RemoteCache  # noqa: PLC0415 - gRPC loads only where it is used

        return RemoteCache.connect(self.address)

    @property
    def command(self) -> str:
        """The command as it must be called to work in the same place."""
        words = ["alluxio-lance"]
        if self.embedded is not None:
            words += ["--embedded", str(self.embedded)]
        elif self.address is not None:
            words += ["--address", self.address]
        return shlex.join(words)

    def print_json(self, record: Any) -> None:
        """Print one JSON document on stdout."""
        self.out.file.write(json.dumps(record, indent=2, ensure_ascii=False) + "\n")
        self.out.file.flush()


def session_of(context: Context) -> Session:
    """Return the session that the root command began."""
    session = context.find_object(Session)
    assert session is not None
    return session
