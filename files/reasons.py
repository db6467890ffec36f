"""The reason below an error of an HTTP library, in a few words: what they say themselves fills a screen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

__all__ = ["reason"]

_LONGEST: Final = 160
"""Characters of a reason that no system call gave."""


def reason(error: BaseException) -> str:
    """Say why a call failed: ``Connection refused``, ``Name or service not known``, ``no answer in time``."""
    for each in _below(error):
        if isinstance(each, OSError) and each.strerror:
            return each.strerror
    if any("Timeout" in type(each).__name__ for each in _below(error)):
        return "no answer in time"
    if isinstance(error, ValueError):
        return "what answers is no Alluxio"
    return (str(error).strip() or type(error).__name__).splitlines()[0][:_LONGEST]


def _below(error: BaseException) -> Iterator[BaseException]:
    """Walk from an error to what caused it, by all ways in which libraries keep that."""
    waiting, seen = [error], set()
    while waiting:
        each = waiting.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        kept = (each.__cause__, each.__context__, getattr(each, "reason", None), *each.args)
        waiting += [one for one in kept if isinstance(one, BaseException)]
