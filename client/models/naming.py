"""The URI of a model, taken apart; what is wrong in its parts the manager says, which knows the whole grammar."""

from __future__ import annotations

from typing import Final

from alluxio_lance.errors import InvalidURI

__all__ = ["model_name"]

_SCHEME: Final = "alluxio://"


def model_name(uri: str) -> tuple[str, str, str | None]:
    """Return type, name and selector (None: the active version).

    Raises
    ------
    InvalidURI
        When the text is no ``alluxio://TYPE/NAME`` at all.
    """
    rest = uri.removeprefix(_SCHEME)
    path, at, selector = rest.partition("@")
    type_, _, name = path.partition("/")
    if rest == uri or not type_ or not name or (at and not selector):
        raise InvalidURI(f"{uri!r} names no model: the form is alluxio://models/NAME, or alluxio://models/NAME@VERSION")
    return type_, name, selector if at else None
