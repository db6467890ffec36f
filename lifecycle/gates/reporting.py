"""What foreign code says, made fit for a report: JSON that every database keeps, and not too much of it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["bounded", "last_json_line", "short"]

_SENTENCE: Final = 500
_TEXT: Final = 4000
_ITEMS: Final = 100
_DEEP: Final = 6


def short(value: Any) -> str:
    """Make one line of text of a value."""
    text = " ".join(str(value).replace("\0", "").split())
    return text if len(text) <= _SENTENCE else text[: _SENTENCE - 1] + "…"


def bounded(value: Any, *, depth: int = 0) -> Any:
    """Copy a value as JSON, without what a database refuses (NaN, null characters), and cut to a size."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**53 else str(value)[:_TEXT]
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if depth >= _DEEP:
        return short(value)
    if isinstance(value, Mapping):
        return {short(key): bounded(each, depth=depth + 1) for key, each in list(value.items())[:_ITEMS]}
    if isinstance(value, list | tuple | set | frozenset):
        return [bounded(each, depth=depth + 1) for each in list(value)[:_ITEMS]]
    # Lone surrogates are text in Python, and in no database.
    return str(value).replace("\0", "").encode("utf-8", "replace").decode()[-_TEXT:]


def last_json_line(text: str) -> dict[str, Any]:
    """Read the last line that is not empty as a JSON object; an empty one when it is something else."""
    lines = [line for line in text.splitlines() if line.strip()]
    try:
        value = json.loads(lines[-1]) if lines else None
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
