"""What a command is about: ``TYPE/NAME``, ``TYPE/NAME@SELECTOR`` or a whole ``alluxio://`` URI."""

from __future__ import annotations

from typing import Final

from alluxio_lance.errors import InvalidArgument, NotActive
from alluxio_lance.lifecycle.uri import Active, ResourceName, parse_uri
from alluxio_lance.manager import ResourceManager
from alluxio_lance.values import Version

__all__ = ["pinned", "plain_target", "required", "selector_of", "target", "versioned_target", "whole_or_nothing"]

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


def whole_or_nothing(text: str | None) -> tuple[str | None, str | None]:
    """Read a target that may be left out, or be a type alone: what is not said is None.

    Raises
    ------
    InvalidArgument
        When a selector stands behind the name.
    """
    if text is None or "/" not in text:
        return text, None
    found = plain_target(text)
    return found.type, found.name


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


def required(text: str, selector: str | None) -> str:
    """Return the selector of a command that needs one.

    Raises
    ------
    InvalidArgument
        Without one.
    """
    if selector is None:
        raise InvalidArgument(f"which version of {text}? Name it: {text}@1.0.0, or see `alluxio-lance show {text}`")
    return selector


def pinned(manager: ResourceManager, found: ResourceName) -> Version:
    """Return the version that a target means: without a selector the active one, and the newest when none is active."""
    selector = selector_of(found)
    try:
        return manager.find_version(found.type, found.name, selector)
    except NotActive:
        versions = manager.list_versions(found.type, found.name)
        if selector is not None or not versions:
            raise
        return versions[0]
