"""The verbs that move the pointer and no data, and ask no gate: deprecate, rollback.

A rollback goes only to where the pointer was before: to what no gate ever saw, it would be a way around the gates.

They take no commit lock, so that a rollback never waits for a long update: each is one transaction of the catalog, and an
update that ends afterwards sees that the pointer moved and leaves it where it is.
"""

from __future__ import annotations

from dataclasses import replace

from alluxio_lance.errors import Conflict, Internal, InvalidArgument, NotActive
from alluxio_lance.lifecycle.journal import Running
from alluxio_lance.lifecycle.ports import Catalog, Change
from alluxio_lance.lifecycle.rules import RulesBook, StageGraph
from alluxio_lance.lifecycle.states import check_transition
from alluxio_lance.lifecycle.uri import ResourceName, parse_selector
from alluxio_lance.values import Event, State, Verb, Version

__all__ = ["Pointer", "events_of"]

_PAGE = 1000
_TRIES = 10


class Pointer:
    """Deprecate and roll back over a catalog. Activation asks gates: see `Promoter`."""

    def __init__(self, catalog: Catalog, book: RulesBook) -> None:
        self._catalog = catalog
        self._book = book

    def rollback(self, running: Running, selector: str | None, message: str) -> Version:
        """Move the pointer to a version that was active before, and with it the stage that goes with it; no gate is asked.

        Raises
        ------
        InvalidArgument
            When the version was never active: that needs the gates.
        NotActive
            When there is no earlier version to go back to, or the pointer went away meanwhile.
        Conflict
            When other versions move again and again meanwhile.
        """
        for _ in range(_TRIES):
            change = self._catalog.together(lambda: self._going_back(running, selector, message))
            try:
                return self._commit(running, change)
            except Conflict:
                assert change.about is not None
                if self._with_stage(change, self._find(running, change.about)) == change:
                    raise
        raise Conflict(f"versions of {running.operation.type}/{running.operation.name} move all the time: try again")

    def _going_back(self, running: Running, selector: str | None, message: str) -> Change:
        target = self._find(running, selector) if selector else self._previous(running)
        _check_main_line(target)
        if selector:
            self._check_was_active(target)
        if target.state is not State.ACTIVE:
            check_transition(target, State.ACTIVE)
        return self._with_stage(replace(_change(running, target, message), activate=target.semver), target)

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

    def before(self, type: str, name: str) -> Version | None:
        """Find the version to which a rollback by itself goes: never one that a rollback has left.

        Two rollbacks by hand lead back to where one was; those that nobody watches must go on in one direction, or an
        alert that stays would move the pointer to and fro.
        """
        past: list[str] = []
        for event in _of_this_life(self._catalog, type, name):
            if event.before == event.after or event.after is None:
                continue
            if event.verb is Verb.ROLLBACK and event.after in past:
                del past[past.index(event.after) + 1 :]
            else:
                past = [each for each in past if each != event.after] + [event.after]
        usable = self._usable(type, name)
        return next((usable[each] for each in reversed(past[:-1]) if each in usable), None)

    def _with_stage(self, change: Change, target: Version) -> Change:
        """Let the stage that goes with the pointer go with it: from who loses the pointer to who gets it."""
        resource = self._catalog.resource(change.type, change.name)
        losing = resource.active if resource else None
        stages: dict[str, str | None] = {}
        holders: dict[str, tuple[str, ...]] = {}
        graph = StageGraph(self._book.current())
        if losing is not None and losing.semver != target.semver and graph.moving_with_pointer(losing.stage):
            assert losing.stage is not None
            stage = graph.target(losing.stage)
            everyone = self._catalog.versions(change.type, change.name)
            held = tuple(each.semver for each in everyone if each.stage == losing.stage)
            going = held if stage.holders == "one" else (losing.semver,)
            stages = {**dict.fromkeys(going, stage.displaced), target.semver: losing.stage}
            holders = {losing.stage: held} if stage.holders == "one" else {}
        return replace(
            change,
            stages=stages,
            stage_holders=holders,
            standing={target.semver: (target.state, target.stage)},
            still_active=(losing.semver,) if losing else (),
        )

    def _check_was_active(self, target: Version) -> None:
        full = str(target)
        events = _of_this_life(self._catalog, target.type, target.name)
        if target.state is not State.ACTIVE and not any(full in (event.before, event.after) for event in events):
            raise InvalidArgument(
                f"{target.type}/{target.name} {target.semver} was never active, and a rollback asks no gate: activate it "
                f"(`alluxio-lance activate {target.type}/{target.name}@{target.semver}`)"
            )

    def _commit(self, running: Running, change: Change) -> Version:
        version = self._catalog.commit(running.id, change, locked=False)
        if version is None:
            raise Internal(f"the catalog moved the pointer to {change.about} and returned no version")
        return version

    def _find(self, running: Running, selector: str) -> Version:
        operation = running.operation
        return self._catalog.find(ResourceName(operation.type, operation.name, parse_selector(selector)))

    def _usable(self, type: str, name: str) -> dict[str, Version]:
        versions = self._catalog.versions(type, name, branch="")
        return {str(version): version for version in versions if version.state is State.REGISTERED}

    def _previous(self, running: Running) -> Version:
        """Find the version that was active before the one that is active now, and may still be used."""
        operation = running.operation
        usable = self._usable(operation.type, operation.name)
        for event in reversed(_of_this_life(self._catalog, operation.type, operation.name)):
            if event.before in usable:
                return usable[event.before]
        raise NotActive(
            f"{operation.type}/{operation.name} has no version that was active before and is still in use: name one, see `alluxio-lance show {operation.type}/{operation.name}`"
        )


def _of_this_life(catalog: Catalog, type: str, name: str) -> list[Event]:
    """List what was done to a resource since an earlier one of its name was purged.

    A version that was purged is not named: one that comes later under its number, of the same content, was not active.
    """
    found: list[Event] = []
    gone: set[str] = set()
    for event in reversed(events_of(catalog, type, name)):
        if event.verb is Verb.PURGE:
            if event.semver is None:
                break
            gone.add(event.semver)
        found.append(replace(event, before=_unless_gone(event.before, gone), after=_unless_gone(event.after, gone)))
    return found[::-1]


def _unless_gone(full: str | None, gone: set[str]) -> str | None:
    return None if full is None or full.partition("+")[0] in gone else full


def _check_main_line(version: Version) -> None:
    if version.branch:
        raise InvalidArgument(
            f"{version.type}/{version.name} {version.semver} lies on branch {version.branch}, and only the main line is active: merge it first"
        )


def events_of(catalog: Catalog, type: str, name: str) -> list[Event]:
    """List all that was ever done under a name, oldest first."""
    found: list[Event] = []
    while True:
        after = found[-1].sequence if found else 0
        page = catalog.events(after=after, type=type, name=name, limit=_PAGE)
        found += page
        if len(page) < _PAGE:
            return found


def _change(running: Running, target: Version, message: str) -> Change:
    operation = running.operation
    return replace(
        Change.of(operation, message),
        about=target.semver,
    )
