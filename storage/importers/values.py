"""Values of options, checked: they come from Python, from a command line and, as floats, over the wire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from alluxio_lance.errors import InvalidArgument

__all__ = ["arrow_types", "strings", "text", "whole"]


def whole(name: str, value: Any, lowest: int, highest: int) -> int:
    """Return a whole number within bounds."""
    fits = isinstance(value, int | float) and not isinstance(value, bool) and value == value // 1
    if not fits or not lowest <= value <= highest:
        raise InvalidArgument(f"option {name!r} is a whole number from {lowest} to {highest}, not {value!r}")
    return int(value)


def text(name: str, value: Any) -> str:
    """Return a string that is not empty."""
    if not isinstance(value, str) or not value:
        raise InvalidArgument(f"option {name!r} is a text, not {value!r}")
    return value


def strings(name: str, value: Any) -> list[str]:
    """Return a list of strings."""
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
        raise InvalidArgument(f"option {name!r} is a list of texts, not {value!r}")
    return list(value)


def arrow_types(name: str, value: Any) -> dict[str, pa.DataType]:
    """Return Arrow types by column from their names, such as ``int32`` or ``timestamp[us]``."""
    if not isinstance(value, Mapping):
        raise InvalidArgument(f"option {name!r} maps columns to Arrow types, such as {{'id': 'int32'}}, not {value!r}")
    try:
        return {str(column): pa.type_for_alias(alias) for column, alias in value.items()}
    except (ValueError, TypeError) as error:
        raise InvalidArgument(f"option {name!r} has a type that Arrow does not know: {error}") from error
