"""Whether two architectures of Keras models are the same but for the numbers in names that Keras chose itself."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

__all__ = ["alike"]

_NOT_A_WORD: Final = re.compile(r"\W+")
_BEFORE_A_WORD: Final = re.compile(r"(.)([A-Z][a-z]+)")
_BEFORE_A_CAPITAL: Final = re.compile(r"([a-z])([A-Z])")
_NUMBER: Final = re.compile(r"(_[0-9]+)?")
_REFERENCE: Final = (str, int, int)
"""How an architecture says which tensor of which layer it means."""


def alike(one: Any, other: Any) -> bool:
    """Tell whether two models, as JSON that was read, are built alike.

    Keras counts up within a process: the second model that is made has an ``input_layer_1`` where the first one has an
    ``input_layer``. Nobody can rely on such a name from version to version.
    """
    return bool(_renamed(one, _numbered(one)) == _renamed(other, _numbered(other)))


def _numbered(config: Any) -> Mapping[str, str]:
    """Give each name that Keras chose the number of its place."""
    found: dict[str, str] = {}
    for part in _parts(config):
        inside = part.get("config")
        for name in (part.get("name"), inside.get("name") if isinstance(inside, dict) else None):
            if isinstance(name, str) and _is_chosen(name, part.get("class_name")):
                found.setdefault(name, f"\0{len(found)}")
    return found


def _is_chosen(name: str, kind: Any) -> bool:
    if not isinstance(kind, str):
        return False
    # A registered name of the user's has the package in front.
    short = _NOT_A_WORD.sub("", kind.rpartition(">")[2])
    snake = _BEFORE_A_CAPITAL.sub(r"\1_\2", _BEFORE_A_WORD.sub(r"\1_\2", short)).lower()
    return name.startswith(snake) and _NUMBER.fullmatch(name, len(snake)) is not None


def _renamed(config: Any, names: Mapping[str, str]) -> Any:
    """Put the numbers in the places of names; elsewhere the same word means something else, such as an activation."""
    if isinstance(config, dict):
        return {
            key: names.get(value, value) if key == "name" and isinstance(value, str) else _renamed(value, names)
            for key, value in config.items()
        }
    if not isinstance(config, list):
        return config
    if tuple(map(type, config)) == _REFERENCE:
        return [names.get(config[0], config[0]), *config[1:]]
    return [_renamed(value, names) for value in config]


def _parts(config: Any) -> Iterator[dict[str, Any]]:
    if isinstance(config, dict):
        yield config
    inside = config.values() if isinstance(config, dict) else config if isinstance(config, list) else ()
    for each in inside:
        yield from _parts(each)
