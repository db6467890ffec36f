"""The verbs that move the pointer and no data: activate, deprecate, rollback.

They take no commit lock, so that a rollback never waits for a long update: each is one transaction of the catalog, and an
update that ends afterwards sees that the pointer moved and leaves it where it is.
"""

from __future__ import annotations

from dataclasses import replace

from alluxio_lance.errors import Internal, NotActive
from alluxio_lance.lifecycle.journal import Running
from alluxio_lance.lifecycle.ports import Catalog, Change
from alluxio_lance.lifecycle.states import check_transition
from alluxio_lance.lifecycle.uri import ResourceName, parse_selector
from alluxio_lance.values import Event, State, Verb, Version

__all__ = ["Pointer"]

_PAGE = 1000


class Pointer:
    """Activate, deprecate and roll back over a catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def activate(self, running: Running, selector: str, message: str) -> Version:
        """Move the pointer to a version; moving it to where it is already is recorded and changes nothing."""
        target = self._find(running, selector)
        return self._move(running, target, message)

    def rollback(self, running: Running, selector: str | None, message: str) -> Version:
        """Move the pointer to an earlier version."""
        target = self._find(running, selector) if selector else self._previous(running)
        return self._move(running, target, message)

    def deprecate(self, running: Running, selector: str, message: str) -> Version:
        """Mark a version; when it is the active one the pointer goes away."""
        target = self._find(running, selector)
        check_transition(target, State.DEPRECATED)
        change = replace(
            _change(running, target, message),
            states={target.semver: State.DEPRECATED},
            deactivate=target.state is State.ACTIVE,
            base=target.semver if target.state is State.ACTIVE else None,
        )
        return self._commit(running, change)

    def _move(self, running: Running, target: Version, message: str) -> Version:
        if target.state is not State.ACTIVE:
            check_transition(target, State.ACTIVE)
        return self._commit(running, replace(_change(running, target, message), activate=target.semver))

    def _commit(self, running: Running, change: Change) -> Version:
        version = self._catalog.commit(running.id, change, locked=False)
        if version is None:
            raise Internal(f"the catalog moved the pointer to {change.about} and returned no version")
        return version

    def _find(self, running: Running, selector: str) -> Version:
        operation = running.operation
        return self._catalog.find(ResourceName(operation.type, operation.name, parse_selector(selector)))

    def _previous(self, running: Running) -> Version:
        """Find the version that was active before the one that is active now, and may still be used."""
        operation = running.operation
        versions = self._catalog.versions(operation.type, operation.name)
        usable = {str(version): version for version in versions if version.state is State.REGISTERED}
        for event in reversed(self.events(operation.type, operation.name)):
            if event.verb is Verb.DELETE:
                break  # what comes before is about another resource of this name
            if event.before in usable:
                return usable[event.before]
        raise NotActive(
            f"{operation.type}/{operation.name} has no version that was active before and is still in use: name one, see `alluxio-lance show {operation.type}/{operation.name}`"
        )

    def events(self, type: str, name: str) -> list[Event]:
        """List all that was ever done under a name, oldest first."""
        found: list[Event] = []
        while True:
            after = found[-1].sequence if found else 0
            page = self._catalog.events(after=after, type=type, name=name, limit=_PAGE)
            found += page
            if len(page) < _PAGE:
                return found


def _change(running: Running, target: Version, message: str) -> Change:
    operation = running.operation
    return Change(
        verb=operation.verb,
        type=operation.type,
        name=operation.name,
        actor=operation.actor,
        message=message,
        about=target.semver,
    )
