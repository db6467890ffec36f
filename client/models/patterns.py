"""Which tensors of a model are meant by patterns of their names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase

from alluxio_lance.errors import InvalidArgument, NotFound

__all__ = ["matching"]


def matching(names: Iterable[str], patterns: Sequence[str] | None, uri: str) -> list[str]:
    """Return the names that match a pattern, in their order; all without patterns.

    Parameters
    ----------
    patterns
        As of a shell: ``encoder.*`` is whatever begins with ``encoder.``.

    Raises
    ------
    NotFound
        When a pattern matches nothing; the message has the names that look like it.
    """
    known = list(names)
    if patterns is None:
        return known
    if isinstance(patterns, str):
        raise InvalidArgument(f"tensors is a list of patterns: [{patterns!r}], not {patterns!r}")
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in known):
            near = get_close_matches(pattern, known, 3, 0.4) or known[:3]
            raise NotFound(f"{uri} has no tensor that matches {pattern!r}: it has {', '.join(map(repr, near))}, …")
    return [name for name in known if any(fnmatchcase(name, pattern) for pattern in patterns)]
