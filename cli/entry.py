"""The entry point of the command; it says what to install where the command's own packages are missing."""

from __future__ import annotations

import signal
import sys

__all__ = ["main"]

_PACKAGES = frozenset({"typer", "rich"})


def main() -> None:
    """Run ``alluxio-lance``; always ends in ``SystemExit``."""
    # Modules that load show a trace after Ctrl-C, and some turn it into an ImportError: until all are there it ends us.
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        from alluxio_lance.cli.app import application  # noqa: PLC0415 - the base install has no command
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _PACKAGES:
            raise
        sys.exit(f"the command needs {error.name}, which is not installed: pip install 'alluxio-lance[cli]'")
    finally:
        signal.signal(signal.SIGINT, before)
    application(prog_name="alluxio-lance")
