"""What a command is about: ``TYPE/NAME``, ``TYPE/NAME@SELECTOR`` or a whole ``alluxio://`` URI."""

from __future__ import annotations

from typing import Final

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.lifecycle.uri import Active, ResourceName, parse_uri

__all__ = ["plain_target", "selector_of", "target", "versioned_target"]

_SCHEME: Final = "alluxio://"


def target(text: str) -> ResourceName:
    """Read a target.

    Raises
    ------
    InvalidURI
        With the place of the fault and the grammar.
    InvalidArgument
        When the URI is a plain file path.
    """
    found = parse_uri(text if text.startswith(_SCHEME) else f"{_SCHEME}{text}")
    if not isinstance(found, ResourceName):
        raise InvalidArgument(f"{text} is a plain file path: name a resource, TYPE/NAME")
    return found


def plain_target(text: str) -> ResourceName:
    """Read a target of a command that is about a whole resource.

    Raises
    ------
    InvalidArgument
        When a selector stands behind the name.
    """
    found = target(text)
    if not isinstance(found.selector, Active):
        raise InvalidArgument(
            f"{text} names one version, and this command is about the whole {found.type}/{found.name}"
        )
    return found


def selector_of(found: ResourceName) -> str | None:
    """Return the selector as the manager takes it; None for the active version."""
    return None if isinstance(found.selector, Active) else str(found.selector)


def versioned_target(text: str, version: str | None) -> tuple[ResourceName, str | None]:
    """Read a target whose version stands behind its name (``x/y@1.0.0``) or beside it (``x/y 1.0.0``).

    Raises
    ------
    InvalidArgument
        When it stands in both places.
    """
    found = target(text)
    behind = selector_of(found)
    if behind is not None and version is not None:
        raise InvalidArgument(f"the version is named twice, in {text} and as {version}: name it once")
    return found, version if version is not None else behind
