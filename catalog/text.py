"""What may be written into a column: checked where a caller can mend it, trimmed where it only informs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from alluxio_lance.errors import InvalidArgument

__all__ = ["checked", "checked_json", "trimmed"]

# PostgreSQL keeps no NUL, and no database half a surrogate pair (which is how Python shows bytes that are no UTF-8).
_UNFIT: Final = re.compile("[\x00\ud800-\udfff]")


def checked(what: str, text: str, longest: int | None = None) -> str:
    """Return a text that every database keeps as it is.

    Raises
    ------
    InvalidArgument
        When it has more than ``longest`` characters, NUL characters, or characters that are no Unicode.
    """
    if longest is not None and len(text) > longest:
        raise InvalidArgument(f"{what} has {len(text)} characters: at most {longest} can be kept")
    if unfit := _UNFIT.search(text):
        raise InvalidArgument(
            f"{what} has a character that cannot be kept ({unfit[0]!r} at {unfit.start()}): remove it"
        )
    return text


def checked_json(what: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """Return values that every database keeps as JSON.

    Raises
    ------
    InvalidArgument
        When they are no JSON: other types, numbers that are not finite.
    """
    try:
        text = json.dumps(dict(value), allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise InvalidArgument(
            f"{what} is no JSON ({error}): give strings, finite numbers, booleans, lists and mappings"
        ) from error
    checked(what, text.replace("\\\\", "").replace("\\u0000", "\0"))
    return dict(value)


def trimmed(text: str, longest: int) -> str:
    """Return a text that fits, with what cannot be kept replaced."""
    fit = _UNFIT.sub("\N{REPLACEMENT CHARACTER}", text)
    return fit if len(fit) <= longest else f"{fit[: longest - 1]}\N{HORIZONTAL ELLIPSIS}"
