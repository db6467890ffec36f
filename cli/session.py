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
from rich.text import Text
from typer import Context, Exit, confirm

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.manager import ResourceManager

if TYPE_CHECKING:
    from alluxio_lance.client.cache import RemoteCache

__all__ = ["TOKEN", "Session", "console", "session_of"]

TOKEN: Final = "ALLUXIO_LANCE_TOKEN"  # noqa: S105 - the name of the variable that has it
"""The variable with the bearer token: unlike ``--token`` no other user of the machine sees it in the process list."""

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
    def begin(cls, address: str | None, embedded: Path | None, token: str | None = None) -> Session:
        """Take the global options.

        Raises
        ------
        InvalidArgument
            When both name a place to work in, the folder is something else, or a token shall open a folder.
        """
        if token is not None and embedded is not None:
            raise InvalidArgument("--token is for a sidecar: who may open the folder of --embedded is its admin")
        if address is not None and embedded is not None:
            raise InvalidArgument("--address and --embedded exclude each other: a sidecar, or a folder without one")
        if embedded is not None and embedded.exists() and not embedded.is_dir():
            raise InvalidArgument(f"--embedded {embedded} is no folder: name one, it is made if it is missing")
        if token is not None:
            # Whatever connects reads it there; it is a part of nothing that is printed.
            os.environ[TOKEN] = token
        return cls(address, embedded, console(), console(stderr=True))

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

    def confirm(self, question: str, without: str, stays: str) -> None:
        """Ask before something is lost.

        Raises
        ------
        InvalidArgument
            Without a terminal, with the sentence ``without``, which names ``--yes``.
        Exit
            With code 1, when the answer is no.
        """
        if not sys.stdin.isatty():
            raise InvalidArgument(without)
        if not confirm(question, err=True):
            self.err.print(Text(stays, style="yellow"))
            raise Exit(1)

    def line(self, *parts: str | tuple[str, str] | Text) -> None:
        """Print one line that is not broken, however long it is; no text in it is read as markup."""
        self.out.print(Text.assemble(*parts), soft_wrap=True)

    def print_json(self, record: Any) -> None:
        """Print one JSON document on stdout."""
        self.out.file.write(json.dumps(record, indent=2, ensure_ascii=False) + "\n")
        self.out.file.flush()


def console(*, stderr: bool = False) -> Console:
    """Return a console on stdout or stderr: as wide as the terminal, and wide where there is none."""
    piped = not (sys.stderr if stderr else sys.stdout).isatty() and "COLUMNS" not in os.environ
    return Console(width=_WIDTH_OF_A_PIPE if piped else None, stderr=stderr)


def session_of(context: Context) -> Session:
    """Return the session that the root command began."""
    session = context.find_object(Session)
    assert session is not None
    return session
