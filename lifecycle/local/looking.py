"""What only looks: get, list, history, watch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final, TypeVar

from alluxio_lance.errors import NotFound, Unavailable
from alluxio_lance.governance import Identity
from alluxio_lance.lifecycle.local.returning import Returning
from alluxio_lance.lifecycle.pointing import events_of
from alluxio_lance.lifecycle.rules import RuleSet
from alluxio_lance.lifecycle.uri import parse_name
from alluxio_lance.manager import OnProgress
from alluxio_lance.tables import LanceTable
from alluxio_lance.values import Event, Resource, State, Verb, Version

__all__ = ["Looking"]

T = TypeVar("T")

_POLL: Final = 0.2
"""Seconds between two looks for events that another process wrote; those of this process are told at once."""


class Looking(Returning):
    """Get, list, history, watch."""

    def get_resource(
        self,
        type: str,
        name: str,
        selector: str | None = None,
        *,
        wait: bool = False,
        on_progress: OnProgress | None = None,
    ) -> LanceTable:
        found = self._readable(type, name, selector)
        if found.state is State.ARCHIVED:
            found = self.bring_back(found, wait=wait, on_progress=on_progress)

        def open_lance(_: Version) -> Any:
            return self._open(found, wait=wait, on_progress=on_progress)

        return LanceTable(self._version(found), open_lance, self.store.storage_options(found.location))

    def _open(self, version: Version, *, wait: bool, on_progress: OnProgress | None) -> Any:
        """Open a version as Lance itself; it may have gone to the cold tier since its handle was made."""
        table = self.store.branch_location(version.location, version.branch)
        try:
            opened = self.store.dataset(table, version.version)
        except NotFound:
            self.bring_back(version, wait=wait, on_progress=on_progress)
            return self.store.dataset(table, version.version)
        self.catalog.note_read(version.type, version.name, version.semver)
        return opened

    def find_version(self, type: str, name: str, selector: str | None = None) -> Version:
        return self._version(self._readable(type, name, selector))

    def find_version_for(
        self, who: Callable[[RuleSet], Identity], type: str, name: str, selector: str | None = None
    ) -> Version:
        """Find a version on behalf of somebody whose roles are in the rules; errors as of `find_version`.

        Parameters
        ----------
        who
            Tells who it is by the rules of this moment; may be called again.
        """
        return self._version(self._readable(type, name, selector, who))

    def _readable(
        self, type: str, name: str, selector: str | None, who: Callable[[RuleSet], Identity] | None = None
    ) -> Version:
        """Find a version that may be read: the rules and the version are read in one transaction."""
        parse_name(type, name)

        def look() -> tuple[Identity, Version | None]:
            rules = self._rooms.book.current()
            identity = who(rules) if who is not None else self._identity
            may = self._rooms.access.may(identity, Verb.READ, type, name, rules=rules)
            return identity, self._find(type, name, selector) if may else None

        identity, found = self.catalog.together(look)
        if found is not None:
            return found
        # A refusal is written, which is no part of a look.
        self._rooms.access.check(identity, Verb.READ, type, name)
        return self._find(type, name, selector)

    def list_resources(
        self,
        type: str | None = None,
        *,
        search: str | None = None,
        labels: Mapping[str, str] | None = None,
        deleted: bool = False,
    ) -> list[Resource]:
        found = self.catalog.resources(type, search=search, labels=labels, deleted=deleted)
        may, identity = self._rooms.access.may, self._identity
        return [self._located(one) for one in found if may(identity, Verb.READ, one.type, one.name, labels=one.labels)]

    def list_versions(self, type: str, name: str, *, branch: str | None = None, deleted: bool = False) -> list[Version]:
        parse_name(type, name)
        self._allow(Verb.READ, type, name)
        found = self.catalog.versions(type, name, branch=branch, deleted=deleted)
        return [self._version(version) for version in found]

    def history(self, type: str, name: str) -> list[Event]:
        parse_name(type, name)
        self._allow(Verb.READ, type, name)
        events = events_of(self.catalog, type, name)
        if not events:
            raise NotFound(f"there has never been a {type}/{name}: see `alluxio-lance list`")
        return events

    def watch(self, after: int | None = None) -> Iterator[Event]:
        """Yield events that the caller may see for ever; ends when the manager is closed."""
        seen = self.catalog.last_event() if after is None else after
        return self._follow_events(seen)

    def _follow_events(self, seen: int) -> Iterator[Event]:
        while not self._rooms.closed.is_set():
            fresh: list[Event] = []
            for event in self._unless_closed(partial(self.catalog.events, after=seen), fresh):
                seen = event.sequence
                # What belongs to no resource, the rules for one, is for those who may see all of them.
                if self._rooms.access.may(self._identity, Verb.READ, event.type, event.name):
                    yield event
            with self._rooms.changed:
                if not self._rooms.closed.is_set() and self._unless_closed(self.catalog.last_event, seen) <= seen:
                    self._rooms.changed.wait(_POLL)

    def _unless_closed(self, look: Callable[[], T], otherwise: T) -> T:
        """Look at the catalog, which may be closed by another thread in the middle of it."""
        try:
            return look()
        except Unavailable:
            if not self._rooms.closed.is_set():
                raise
            return otherwise
