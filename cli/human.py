"""Numbers and moments as people read them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final

from alluxio_lance.errors import InvalidArgument

__all__ = ["age", "count", "duration", "rate", "read_duration", "size", "until"]

_UNITS: Final = ("KiB", "MiB", "GiB", "TiB", "PiB")
_STEPS: Final = ((60, 1, "s"), (3600, 60, "min"), (86400, 3600, "h"))
_DAY: Final = 86400
_LENGTHS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_GIVEN: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
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


def until(moment: datetime, now: datetime) -> str:
    """Return how far off a moment is: ``in 6 days``; what has passed is ``now``."""
    seconds = (moment - now).total_seconds()
    if seconds < 1:
        return "now"
    for limit, unit, name in _STEPS:
        if seconds < limit:
            return f"in {int(seconds // unit)} {name}"
    days = round(seconds / _DAY)
    return f"in {days} day{'s' if days > 1 else ''}"


def read_duration(option: str, text: str) -> timedelta:
    """Read a length of time: ``30s``, ``10m``, ``12h``, ``30d``, ``2w``.

    Raises
    ------
    InvalidArgument
        When it is something else; the message names the option.
    """
    match = _GIVEN.fullmatch(text.strip())
    if match is None:
        raise InvalidArgument(
            f"{option} {text!r} is no length of time: give it with its unit, 30s, 10m, 12h, 30d or 2w"
        )
    return timedelta(seconds=float(match[1]) * _LENGTHS[match[2]])
