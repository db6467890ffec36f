"""From the URI that a reader gives to the version that it may read."""

from __future__ import annotations

from collections.abc import Callable

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.governance import Identity
from alluxio_lance.lifecycle.local import LocalManager
from alluxio_lance.lifecycle.rules import RuleSet
from alluxio_lance.lifecycle.uri import Active, FilePath, parse_uri
from alluxio_lance.values import Version

__all__ = ["find_version", "find_version_for"]


def find_version(manager: LocalManager, uri: str) -> Version:
    """Find a version in the catalog, on behalf of whom the manager acts for.

    Raises
    ------
    InvalidURI, InvalidArgument
        When the URI names no version of a resource.
    PermissionDenied
        When the caller may not read it.
    NotFound, NotActive
        When there is none.
    """
    return manager.find_version(*_parsed(uri))


def find_version_for(manager: LocalManager, who: Callable[[RuleSet], Identity], uri: str) -> Version:
    """Find a version as `find_version` does, on behalf of whom the rules make of a caller; in one look at the catalog."""
    return manager.find_version_for(who, *_parsed(uri))


def _parsed(uri: str) -> tuple[str, str, str | None]:
    parsed = parse_uri(uri)
    if isinstance(parsed, FilePath):
        raise InvalidArgument(
            f"{uri} is a plain file; the cache serves versions of resources: alluxio://TYPE/NAME, with two slashes"
        )
    return parsed.type, parsed.name, None if isinstance(parsed.selector, Active) else str(parsed.selector)
