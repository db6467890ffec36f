"""The verbs of the cache below: warm, cool, explain."""

from __future__ import annotations

from alluxio_lance.errors import Corrupt, InvalidArgument, NotFound, Restoring
from alluxio_lance.lifecycle.caching import cool
from alluxio_lance.lifecycle.local.returning import Returning
from alluxio_lance.lifecycle.uri import parse_name
from alluxio_lance.manager import OnProgress
from alluxio_lance.values import State, Verb, Version
from alluxio_lance.ways import CacheShare, Explanation

__all__ = ["CacheVerbs"]


class CacheVerbs(Returning):
    """What the cache of Alluxio shall hold, and how versions are read."""

    def warm_resource(
        self, type: str, name: str, selector: str | None = None, *, on_progress: OnProgress | None = None
    ) -> CacheShare:
        parse_name(type, name)
        self._allow(Verb.PREFETCH, type, name)
        found = self._find(type, name, selector)
        if found.state is State.ARCHIVED:
            found = self.bring_back(found)
        try:
            return self._warm(found, on_progress)
        except NotFound:
            # It has gone to the cold tier since it was looked up.
            return self._warm(self.bring_back(found), on_progress)

    def _warm(self, version: Version, on_progress: OnProgress | None) -> CacheShare:
        closed = self._rooms.closed
        return self.store.warm(self._table(version), version.version, on_progress, lambda: not closed.is_set())

    def cool_resource(self, type: str, name: str, version: str) -> int:
        parse_name(type, name)
        self._allow(Verb.EVICT, type, name)
        found = self._find(type, name, version)
        if found.state is State.ACTIVE:
            raise InvalidArgument(
                f"{type}/{name} {found.semver} is active, and readers want it at hand: activate another version first, "
                f"or deprecate it (`alluxio-lance deprecate {type}/{name}@{found.semver}`)"
            )
        return 0 if found.state is State.ARCHIVED else cool(self.catalog, self.store, found)

    def explain_resource(self, type: str, name: str, selector: str | None = None) -> Explanation:
        parse_name(type, name)
        self._allow(Verb.READ, type, name)
        found = self._hot(type, name, selector)
        try:
            return self._explain(found)
        except (NotFound, Corrupt):
            # It may have gone to the cold tier since it was looked up, or for good: that says more.
            return self._explain(self._hot(type, name, found.semver))

    def _explain(self, version: Version) -> Explanation:
        known = self.catalog.known_files(version.type, version.name)
        return self.store.explain(self._table(version), version.version, known)

    def _hot(self, type: str, name: str, selector: str | None) -> Version:
        """Find a version that is not archived; to look changes nothing, and so it is not brought back."""
        found = self._find(type, name, selector)
        if found.state is State.ARCHIVED:
            raise Restoring(
                f"{type}/{name} {found.semver} lies in the cold tier, and comes back before it is read: "
                f"`alluxio-lance restore {type}/{name}@{found.semver}` does it ahead",
                progress=0.0,
                semver=found.semver,
            )
        return found

    def _table(self, version: Version) -> str:
        return self.store.branch_location(version.location, version.branch)
