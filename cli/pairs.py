"""``key=value`` options as JSON objects."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alluxio_lance.errors import InvalidArgument

__all__ = ["json_object", "json_pairs", "metadata_from", "text_pairs"]


def json_pairs(option: str, pairs: Sequence[str]) -> dict[str, Any]:
    """Read pairs; a value that is JSON is taken as JSON, any other as text.

    Raises
    ------
    InvalidArgument
        When a pair has no ``=`` or no key.
    """
    return {key: _value(value) for key, value in text_pairs(option, pairs).items()}


def text_pairs(option: str, pairs: Sequence[str]) -> dict[str, str]:
    """Read pairs whose values are text, whatever they look like.

    Raises
    ------
    InvalidArgument
        When a pair has no ``=`` or no key.
    """
    result: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise InvalidArgument(f"{option} {pair!r} is no KEY=VALUE")
        result[key] = value
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
    return (json_object("--metadata-file", file) if file else {}) | json_pairs("--metadata", pairs)


def json_object(option: str, file: Path) -> dict[str, Any]:
    """Read a file that holds one JSON object; ``-`` is stdin.

    Raises
    ------
    InvalidArgument
        When it cannot be read or holds something else.
    """
    try:
        found = json.loads(sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidArgument(f"{option} {file} cannot be read as JSON: {error}") from error
    if not isinstance(found, dict):
        raise InvalidArgument(f"{option} {file} must hold a JSON object and holds a {type(found).__name__}")
    return found
