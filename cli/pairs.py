"""``key=value`` options as JSON objects."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alluxio_lance.errors import InvalidArgument

__all__ = ["json_pairs", "metadata_from"]


def json_pairs(option: str, pairs: Sequence[str]) -> dict[str, Any]:
    """Read pairs; a value that is JSON is taken as JSON, any other as text.

    Raises
    ------
    InvalidArgument
        When a pair has no ``=`` or no key.
    """
    result: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise InvalidArgument(f"{option} {pair!r} is no KEY=VALUE")
        result[key] = _value(value)
    return result


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def metadata_from(pairs: Sequence[str], file: Path | None) -> dict[str, Any] | None:
    """Join the object of a JSON file and the pairs, which win; None when neither was given.

    Raises
    ------
    InvalidArgument
        When the file cannot be read or holds no JSON object.
    """
    if not pairs and file is None:
        return None
    return (_object(file) if file else {}) | json_pairs("--metadata", pairs)


def _object(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidArgument(f"--metadata-file {file} cannot be read as JSON: {error}") from error
    if not isinstance(found, dict):
        raise InvalidArgument(f"--metadata-file {file} must hold a JSON object and holds a {type(found).__name__}")
    return found
