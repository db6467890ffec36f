"""Numbers and moments as people read them."""

from __future__ import annotations

from datetime import datetime
from typing import Final

__all__ = ["age", "count", "duration", "rate", "size"]

_UNITS: Final = ("KiB", "MiB", "GiB", "TiB", "PiB")
_STEPS: Final = ((60, 1, "s"), (3600, 60, "min"), (86400, 3600, "h"))
_DAY: Final = 86400
_OLD: Final = 30 * _DAY


def size(number: float) -> str:
    """Return bytes with a binary unit: ``512 B``, ``1.5 MiB``."""
    if number < 1024:  # noqa: PLR2004 - the unit itself
        return f"{number:.0f} B"
    for unit in _UNITS:
        number /= 1024
        if number < 1023.95 or unit == _UNITS[-1]:  # noqa: PLR2004 - what would round to 1024.0 takes the next unit
            break
    return f"{number:,.1f} {unit}"


def count(number: int) -> str:
    """Return a count with its thousands apart: ``1,797``."""
    return f"{number:,}"


def rate(number: float) -> str:
    """Return bytes per second: ``85.2 MiB/s``."""
    return f"{size(number)}/s"


def duration(seconds: float) -> str:
    """Return a duration in its fitting unit: ``350 ms``, ``4.2 s``, ``3 min 5 s``."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def age(moment: datetime, now: datetime) -> str:
    """Return how long ago a moment was: ``3 min ago``; after a month its date."""
    seconds = (now - moment).total_seconds()
    if seconds < 1:
        return "just now"
    for limit, unit, name in _STEPS:
        if seconds < limit:
            return f"{int(seconds // unit)} {name} ago"
    days = int(seconds // _DAY)
    if seconds < _OLD:
        return f"{days} day{'s' if days > 1 else ''} ago"
    return f"{moment.astimezone():%Y-%m-%d}"
