"""JSON that comes from somebody else: nothing that Python reads beyond the standard, no name twice, text that is text."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from math import isinf
from typing import Any, Final

__all__ = ["check_plain", "is_text", "read_json"]

_DEEPEST: Final = 100


def read_json(text: bytes, number: Callable[[str], int] = int) -> Any:
    """Read JSON in UTF-8.

    Parameters
    ----------
    number
        Reads a whole number; may raise `ValueError`.

    Raises
    ------
    ValueError
        When it is none, is nested too deeply, has NaN or an infinity, or a name twice in one object.
    """
    try:
        return json.loads(text.decode(), parse_int=number, parse_constant=_constant, object_pairs_hook=_unique)
    except RecursionError as deep:
        raise ValueError("it is nested too deeply") from deep


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise ValueError(f"the name {name[:200]!r} comes twice")
            seen.add(name)
    return found


def check_plain(value: Any) -> None:
    """Refuse what was read and could not be written again everywhere.

    Raises
    ------
    ValueError
        For half a character, a number that became infinite, and more than 100 levels.
    """
    level = [value]
    for _ in range(_DEEPEST):
        for each in level:
            if isinstance(each, str) and not is_text(each):
                raise ValueError(f"{each[:200]!r} is no UTF-8")
            if isinstance(each, float) and isinf(each):
                raise ValueError("it has a number that is too large")
        level = [inner for each in level for inner in _inside(each)]
        if not level:
            return
    raise ValueError(f"it is nested more than {_DEEPEST} times")


def _inside(value: Any) -> Sequence[Any]:
    if isinstance(value, dict):
        return [*value, *value.values()]
    return value if isinstance(value, list) else ()


def is_text(value: Any) -> bool:
    """Tell whether a value is a string that can be written: JSON's escapes can make halves of characters."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
