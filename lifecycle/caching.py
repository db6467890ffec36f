"""What the cache of Alluxio shall hold, by the rules: which active versions are loaded into it, and which stay in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

import structlog

from alluxio_lance.errors import Unavailable
from alluxio_lance.lifecycle.ports import Catalog, Store
from alluxio_lance.lifecycle.rules import RulesBook
from alluxio_lance.lifecycle.rules.document import CachePolicy, RuleSet
from alluxio_lance.values import State, Verb, Version

__all__ = ["MOVING", "Pinner", "cool", "loads", "policy_of"]

_log = structlog.get_logger(__name__)

_PAGE: Final = 500
_SERVED: Final = (State.ACTIVE, State.REGISTERED)
MOVING: Final = frozenset(
    {
        Verb.REGISTER,
        Verb.UPDATE,
        Verb.MERGE,
        Verb.ACTIVATE,
        Verb.DEPRECATE,
        Verb.ROLLBACK,
        Verb.PROMOTE,
        Verb.ARCHIVE,
        Verb.DELETE,
        Verb.UNDELETE,
        # The pointer stays, but another policy may govern from then on.
        Verb.LABEL,
    }
)
"""The verbs after which other versions may have to be pinned."""


def policy_of(rules: RuleSet, type: str, name: str, labels: Mapping[str, str]) -> CachePolicy | None:
    """Find the policy that governs a resource: the first that covers it."""
    return next((policy for policy in rules.cache if policy.covers(type, name, dict(labels))), None)


def loads(book: RulesBook, type: str, name: str, labels: Mapping[str, str]) -> bool:
    """Tell whether active versions are to be loaded into the cache before a node's readers get them."""
    policy = policy_of(book.current(), type, name, labels)
    return policy is not None and policy.load == "active"


def cool(catalog: Catalog, store: Store, version: Version) -> int:
    """Let the cache drop the files of a version that no other served one needs; return their bytes.

    Raises
    ------
    Unavailable
        When the cache does not answer.
    """
    others = catalog.versions(version.type, version.name, branch=version.branch)
    keep = [other.version for other in others if other.state in _SERVED and other.semver != version.semver]
    return store.cool(store.branch_location(version.location, version.branch), version.version, keep)


class Pinner:
    """Lets the pins in the cache follow the pointers: pinned is what is active and whose policy says so, and nothing else.

    All of it is read from catalog and rules each time, so that it does not matter what a process that died has done.
    """

    def __init__(self, catalog: Catalog, store: Store, book: RulesBook) -> None:
        self._catalog = catalog
        self._store = store
        self._book = book

    def follow(self, type: str, name: str) -> bool:
        """Set the pins of a resource right, and tell whether the cache answers.

        That it cannot be done now is only logged: the pointer has moved.
        """
        try:
            if self._store.has_cache():
                self._follow(type, name)
        except Unavailable as down:
            _log.warning("the pins of a resource are left to the janitor", type=type, name=name, reason=down.message)
            return False
        except Exception:  # noqa: BLE001 - whatever it is, the verb is done; the janitor tries it again
            _log.warning("the pins of a resource are left to the janitor", type=type, name=name, exc_info=True)
        return True

    def all(
        self, type: str | None = None, name: str | None = None, *, go_on: Callable[[], bool] = lambda: True
    ) -> None:
        """Set the pins of all resources right, deleted ones too; ``go_on`` is asked before each.

        What one of them raises stops no other, unless the cache does not answer: the next time is soon enough.
        """
        if not self._store.has_cache():
            return
        for found in self._names(type, name):
            if not go_on() or not self.follow(*found):
                return

    def _follow(self, type: str, name: str) -> None:
        location = self._catalog.location(type, name)
        if location is None:
            return
        # The pointer moves without a lock: who writes the pins last must have seen where it stands at the end.
        wanted = None
        while wanted != (wanted := self._wanted(type, name)):
            self._store.pin(location, wanted)

    def _wanted(self, type: str, name: str) -> list[int]:
        resource = self._catalog.resource(type, name)
        if resource is None or resource.active is None:
            return []
        policy = policy_of(self._book.current(), type, name, resource.labels)
        return [resource.active.version] if policy is not None and policy.pin else []

    def _names(self, type: str | None, name: str | None) -> Iterator[tuple[str, str]]:
        if type is not None and name is not None:
            yield type, name
            return
        for deleted in (False, True):
            after: tuple[str, str] | None = None
            while True:
                page = self._catalog.resources(type, after=after, limit=_PAGE, deleted=deleted)
                found = [(each.type, each.name) for each in page]
                yield from (each for each in found if name in (None, each[1]))
                if len(page) < _PAGE:
                    break
                after = found[-1]
