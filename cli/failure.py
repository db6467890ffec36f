"""What went wrong, as one message for a person or one JSON object for a program."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, Final

from rich.console import Console, RenderableType
from rich.text import Text
from typer import TyperException

from alluxio_lance.cli.gate_view import gate_table
from alluxio_lance.cli.look import meter
from alluxio_lance.errors import AlluxioLanceError, Internal, Unavailable

__all__ = ["report"]

_GLOBAL_OPTIONS: Final = ("--address", "--embedded", "--token")
_BAR: Final = 30
_JARGON: Final = "Value error, "
"""What the library below typer puts before its sentence about a wrong choice."""


def report(error: Exception, console: Console, *, as_json: bool) -> int:
    """Print an error and return the exit code that belongs to it.

    Parameters
    ----------
    error
        An error of ours, a wrong usage that typer found, or an exception that nobody foresaw.
    console
        Where to print: stderr.
    as_json
        ``{"error": {"kind", "message", "details", "exit_code"}}`` instead of text.
    """
    kind, message, details, code = _facts(error)
    if as_json:
        record = {"error": {"kind": kind, "message": message, "details": details, "exit_code": code}}
        console.out(json.dumps(record, default=str), highlight=False)
        return code
    console.print(Text.assemble(("error: ", "bold red"), message), soft_wrap=True)
    for part in _evidence(details):
        console.print(part)
    for hint in _hints(error):
        console.print(Text(hint, style="dim"), soft_wrap=True)
    # What a command adds to an error is a command that can be copied.
    for note in getattr(error, "__notes__", ()):
        console.print(Text(note, style="cyan"), soft_wrap=True)
    return code


def _evidence(details: Mapping[str, Any]) -> list[RenderableType]:
    """Return what an error has beside its sentence: the report of the gates, how far a restore is."""
    parts: list[RenderableType] = []
    if details.get("report"):
        parts += [gate_table(details["report"])]
    if isinstance(progress := details.get("progress"), int | float):
        parts += [Text.assemble(meter([(progress, "blue")], 1.0, _BAR), f"  {progress:.0%} is back")]
    return parts


def _facts(error: Exception) -> tuple[str, str, dict[str, Any], int]:
    if isinstance(error, AlluxioLanceError):
        return type(error).__name__, error.message, error.details, error.exit_code
    if isinstance(error, TyperException):
        return "Usage", error.format_message().replace(_JARGON, ""), {}, error.exit_code
    if isinstance(error, OSError) and error.strerror:
        place = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        return Unavailable.__name__, f"{place}{error.strerror}", {"what": "the system"}, Unavailable.exit_code
    message = f"{type(error).__name__}: {error} - a fault of alluxio-lance; ALLUXIO_LANCE_DEBUG=1 shows the trace, please report it"
    return Internal.__name__, message, {}, Internal.exit_code


def _hints(error: Exception) -> list[str]:
    context = getattr(error, "ctx", None)
    if not isinstance(error, TyperException) or context is None:
        return []
    hints = [context.get_usage(), f"{context.command_path} --help shows all of it"]
    if getattr(error, "option_name", None) in _GLOBAL_OPTIONS:
        hints.append(f"{error.option_name} stands before the command: alluxio-lance {error.option_name} … COMMAND")  # type: ignore[attr-defined]  # only typer's NoSuchOption gets here, and it has the name
    return hints
