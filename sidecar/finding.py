"""From the URI that a reader gives to the version that it may read."""

from __future__ import annotations

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.lifecycle.local import LocalManager
from alluxio_lance.lifecycle.uri import Active, FilePath, parse_uri
from alluxio_lance.values import Version

__all__ = ["find_version"]


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
    parsed = parse_uri(uri)
    if isinstance(parsed, FilePath):
        raise InvalidArgument(
            f"{uri} is a plain file; the cache serves versions of resources: alluxio://TYPE/NAME, with two slashes"
        )
    selector = None if isinstance(parsed.selector, Active) else str(parsed.selector)
    return manager.find_version(parsed.type, parsed.name, selector)
