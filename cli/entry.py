"""The entry point of the command; it says what to install where the command's own packages are missing."""

from __future__ import annotations

import sys

__all__ = ["main"]

_PACKAGES = frozenset({"typer", "rich"})


def main() -> None:
    """Run ``alluxio-lance``; always ends in ``SystemExit``."""
    try:
        from alluxio_lance.cli.app import application  # noqa: PLC0415 - the base install has no command
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _PACKAGES:
            raise
        sys.exit(f"the command needs {error.name}, which is not installed: pip install 'alluxio-lance[cli]'")
    application(prog_name="alluxio-lance")
