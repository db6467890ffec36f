"""Where the first scope that covers a resource wins: which ones never get their turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from alluxio_lance.lifecycle.rules.document import Scope

__all__ = ["shadowed"]


def shadowed(scopes: Sequence[Scope]) -> Iterator[tuple[int, int]]:
    """Yield each scope all of whose resources an earlier one covers, and the first that does, by index.

    Only what surely is: a scope that two earlier ones cover together is not found.
    """
    for later, scope in enumerate(scopes):
        earlier = next((index for index in range(later) if _includes(scopes[index], scope)), None)
        if earlier is not None:
            yield later, earlier


def _includes(wide: Scope, narrow: Scope) -> bool:
    return (
        all(any(_matches_all(pattern, each) for pattern in wide.types) for each in narrow.types)
        and all(any(_matches_all(pattern, each) for pattern in wide.names) for each in narrow.names)
        and all(
            key in narrow.labels and _matches_all(pattern, narrow.labels[key]) for key, pattern in wide.labels.items()
        )
    )


def _matches_all(wide: str, narrow: str) -> bool:
    """Tell whether a pattern matches all that another one does.

    One without ``?`` that matches the other's very text does: what is a ``*`` there can only be matched by a ``*`` here.
    """
    if wide in ("*", narrow):
        return True
    return "?" not in wide and "[" not in wide + narrow and fnmatchcase(narrow, wide)
