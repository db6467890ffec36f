"""How the command ends: every error becomes one message on stderr and the exit code that the contract gives it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, Final

from typer import Abort
from typer.core import TyperGroup

from alluxio_lance.cli.failure import report
from alluxio_lance.cli.session import console

__all__ = ["INTERRUPTED", "Application"]

INTERRUPTED: Final = 130
"""The exit code after Ctrl-C, 128 + SIGINT, as shells have it."""


class Application(TyperGroup):
    """The root of all commands. ``ALLUXIO_LANCE_DEBUG=1`` lets errors through with their tracebacks."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        words = list(sys.argv[1:] if args is None else args)
        try:
            # Outside of its standalone mode typer raises what went wrong and returns the code of an early exit.
            code = super().main(words, prog_name, complete_var, standalone_mode=False, **extra)
        except Abort as abort:
            # Ctrl-C at a question, or Ctrl-D, which is no answer and counts as no; the cursor stands behind it.
            console(stderr=True).print()
            code = 1 if isinstance(abort.__context__, EOFError) else INTERRUPTED
        except Exception as error:
            if os.environ.get("ALLUXIO_LANCE_DEBUG") == "1":
                raise
            code = report(error, console(stderr=True), as_json="--json" in words)
        if code == INTERRUPTED and "--json" not in words:
            console(stderr=True).print("interrupted", style="yellow")
        sys.exit(code if isinstance(code, int) else 0)
