"""The verbs that move the pointer: activate, deprecate, rollback."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from alluxio_lance.errors import AlluxioLanceError
from alluxio_lance.lifecycle.caching import cool
from alluxio_lance.lifecycle.journal import Running
from alluxio_lance.lifecycle.local.returning import Returning
from alluxio_lance.lifecycle.uri import parse_name, parse_selector
from alluxio_lance.values import State, Verb, Version

__all__ = ["PointingVerbs"]

_log = structlog.get_logger(__name__)


class PointingVerbs(Returning):
    """Activate, deprecate, rollback."""

    def activate_resource(
        self, type: str, name: str, version: str, *, message: str = "", request_id: str | None = None
    ) -> Version:
        def work(running: Running) -> Version:
            return self._rooms.promoter.activate_within(running, self._find(type, name, version), message)

        return self._point(Verb.ACTIVATE, type, name, version, message, request_id, work)

    def deprecate_resource(
        self, type: str, name: str, version: str, *, message: str = "", request_id: str | None = None
    ) -> Version:
        def work(running: Running) -> Version:
            return self._rooms.pointer.deprecate(running, version, message)

        made = self._point(Verb.DEPRECATE, type, name, version, message, request_id, work)
        self._cool(made)
        return made

    def _cool(self, version: Version) -> None:
        """Let the cache drop what only this version needs.

        That it cannot now is no error of the verb, nor that the process dies before: what nobody reads is evicted in time.
        """
        try:
            if self.store.has_cache():
                found = self._find(version.type, version.name, version.semver)
                if found.state is State.DEPRECATED:
                    cool(self.catalog, self.store, found)
        except AlluxioLanceError as error:
            _log.warning("a deprecated version stays in the store's cache", version=version.uri, reason=error.message)

    def rollback_resource(
        self, type: str, name: str, version: str | None = None, *, message: str = "", request_id: str | None = None
    ) -> Version:
        def work(running: Running) -> Version:
            return self._rooms.pointer.rollback(running, version, message)

        return self._point(Verb.ROLLBACK, type, name, version, message, request_id, work)

    def _point(
        self,
        verb: Verb,
        type: str,
        name: str,
        version: str | None,
        message: str,
        request_id: str | None,
        work: Callable[[Running], Version],
    ) -> Version:
        parse_name(type, name)
        if version is not None:
            parse_selector(version)

        def first() -> None:
            if version is not None and verb is not Verb.DEPRECATE:
                self._brought_back(type, name, version)

        params = {"version": version, "message": message}
        return self._version(self._run(verb, type, name, params, request_id, work, locked=False, first=first))

    def _brought_back(self, type: str, name: str, version: str) -> None:
        """Begin to restore what is archived, which raises `Restoring`: readers could not open it."""
        found = self._find(type, name, version)
        if found.state is State.ARCHIVED:
            self.bring_back(found, message="restored because it is to become active")
