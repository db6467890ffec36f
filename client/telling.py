"""One line on the terminal about a version that comes back, where the caller has not said how to tell it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TextIO

from alluxio_lance.manager import OnProgress
from alluxio_lance.values import Progress

__all__ = ["told_on_terminal"]

_BAR: Final = 20
_MIB: Final = 1 << 20
_ERASE: Final = "\r\x1b[K"


@contextmanager
def told_on_terminal(subject: str, out: TextIO | None = None) -> Iterator[OnProgress | None]:
    """Yield what draws a bar over and over in one line, which goes away in the end; None where nobody would see it.

    Parameters
    ----------
    subject
        What comes back: the URI.
    out
        A terminal; stderr by default.
    """
    stream = sys.stderr if out is None else out
    # Without a console (pythonw, a daemon) there is no stderr at all.
    if stream is None or not stream.isatty():
        yield None
        return
    try:
        yield lambda seen: print(f"{_ERASE}{_line(subject, seen)}", end="", file=stream, flush=True)
    finally:
        print(_ERASE, end="", file=stream, flush=True)


def _line(subject: str, seen: Progress) -> str:
    # A line that the terminal wraps could not be drawn over.
    room = shutil.get_terminal_size().columns - 1
    if not seen.total_bytes:
        return f"{subject} comes back"[:room]
    share = min(1.0, seen.bytes / seen.total_bytes)
    bar = "█" * round(share * _BAR)
    amount = f"{seen.bytes / _MIB:,.1f} of {seen.total_bytes / _MIB:,.1f} MiB"
    return f"{bar:░<{_BAR}} {share:4.0%}, {amount}: {subject} comes back"[:room]
