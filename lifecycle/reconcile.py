"""What a crash left is completed or undone: operation by operation, each under its own lock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Protocol

import structlog

from alluxio_lance.errors import AlluxioLanceError, NotFound
from alluxio_lance.lifecycle.caching import MOVING, Pinner
from alluxio_lance.lifecycle.journal import Journal, Running
from alluxio_lance.lifecycle.ports import Operation, OperationState, Store
from alluxio_lance.values import Finding, State, Verb, Version

__all__ = ["Mender", "Reconciler"]

_log = structlog.get_logger(__name__)


class Mender(Protocol):
    """A room whose verbs leave something behind when their process dies."""

    def finish(self, running: Running) -> bool:
        """Complete an operation whose process died, under the commit lock; False when it has to be undone.

        Then what it left is removed already.
        """
        ...

    def is_beyond(self, operation: Operation) -> bool:
        """Tell whether an operation is past the point from which it can only go on."""
        ...

    def settle(self, running: Running) -> None:
        """Do what is left when an operation is committed; again changes nothing."""
        ...


class Reconciler:
    """Mends what dead processes left, of one operation or of all."""

    def __init__(self, journal: Journal, store: Store, menders: Mapping[Verb, Mender], pinner: Pinner) -> None:
        self._journal = journal
        self._catalog = journal.catalog
        self._store = store
        self._menders = menders
        self._pinner = pinner

    def all(self) -> list[Finding]:
        """Mend every operation whose process is dead; living ones are left alone."""
        return self._all(self._catalog.open_operations())

    def of(self, type: str, name: str) -> list[Finding]:
        """Mend those of one resource."""
        return self._all(one for one in self._catalog.open_operations() if (one.type, one.name) == (type, name))

    def _all(self, operations: Iterable[Operation]) -> list[Finding]:
        dead = [operation for operation in operations if self._journal.is_dead(operation)]
        return [finding for operation in dead if (finding := self._attempt(operation)) is not None]

    def _attempt(self, operation: Operation) -> Finding | None:
        try:
            # Whoever lives and holds the resource is not waited for: a start must not take as long as an upload.
            return self.one(operation, wait=0)
        except Exception as error:  # noqa: BLE001 - one table that cannot be read must not keep all others from being opened
            _log.warning("an operation could not be mended", operation=operation.id, exc_info=True)
            return _finding(operation, "failed", str(error))

    def one(self, operation: Operation, *, wait: float | None = None) -> Finding | None:
        """Mend one operation; None when another process is at it already.

        Raises
        ------
        Conflict
            When a living operation holds the resource for more than ``wait`` seconds (the manager's time-out).
        """
        if not self._catalog.adopt(operation, self._journal.owner):
            return None
        mine = replace(operation, owner=self._journal.owner)
        with self._journal.running(mine) as running:
            if operation.state is OperationState.DONE:
                self.settle(running)
                return _finding(operation, "settled")
            if self._wrote_nothing(operation):
                return self._undo(operation)
            with self._journal.locked(running, lambda holder: self._recover(holder, operation), wait=wait):
                return self._mend(running, operation)

    def clear(self, type: str, name: str) -> None:
        """Remove what writes that were cut have left half in a table, before anybody asks it for its newest version.

        The caller holds the commit lock.
        """
        location = self._catalog.location(type, name)
        if location is None:
            return
        torn = self._store.remove_torn(location, self._whole(type, name))
        if torn:
            _log.warning("half files of a write that was cut were removed", type=type, name=name, paths=torn)

    def _whole(self, type: str, name: str) -> Mapping[str, set[int]]:
        """List by branch the versions whose rows are in the hot table for good, those that wait to be purged too."""
        whole: dict[str, set[int]] = {"": set(), **{each.name: set() for each in self._catalog.branches(type, name)}}
        try:
            listed = self._catalog.versions(type, name)
        except NotFound:
            listed = []  # deleted as a whole
        for version in (*listed, *self._catalog.versions(type, name, deleted=True)):
            if version.state is not State.ARCHIVED and version.cold_bytes is None:
                whole.setdefault(version.branch, set()).add(version.version)
        return whole

    def _recover(self, holder: Operation, waiting: Operation) -> None:
        if holder.id != waiting.id:
            self.one(holder)

    def is_beyond(self, operation: Operation) -> bool:
        """Tell whether an operation that raised can only go on: then it is left to be mended, and not undone."""
        mender = self._menders.get(operation.verb)
        return mender is not None and mender.is_beyond(operation)

    def _wrote_nothing(self, operation: Operation) -> bool:
        """Tell whether an operation is a single transaction, or never had the resource's lock."""
        return operation.step == "begun" or operation.verb not in self._menders

    def _mend(self, running: Running, operation: Operation) -> Finding:
        self.clear(operation.type, operation.name)
        if not self._menders[operation.verb].finish(running):
            return self._undo(operation)
        self.settle(running)
        return _finding(operation, "completed")

    def _undo(self, operation: Operation) -> Finding:
        reason = f"process {operation.owner.pid} on {operation.owner.node} ended at step {operation.step!r}"
        self._catalog.abandon(operation.id, reason)
        return _finding(operation, "undone", reason)

    def settle(self, running: Running) -> None:
        """Let the Lance tags and the pins in the cache follow the catalog, the last step of every operation."""
        operation = running.operation
        if operation.verb in self._menders:
            self._menders[operation.verb].settle(running)
        self._mirror(operation)
        if operation.verb in MOVING:
            self._pinner.follow(operation.type, operation.name)
        running.step("settled")

    def settle_or_leave(self, running: Running) -> None:
        """Settle an operation. An error in it is no error of the verb, which is done: it is tried again when one mends."""
        try:
            self.settle(running)
        except AlluxioLanceError as error:
            _log.warning("an operation is left to reconcile", operation=running.id, reason=error.message)
        except Exception:  # noqa: BLE001 - whatever it is, the verb is done
            _log.warning("an operation is left to reconcile", operation=running.id, exc_info=True)

    def _mirror(self, operation: Operation) -> None:
        location, wanted = self._catalog.together(lambda: self._mirrored(operation))
        if location is None or self._store.latest(location) is None:
            return
        # The pointer moves without a lock: who writes the tags last must have seen where it stands at the end.
        written = None
        while written != wanted:
            self._store.mirror_tags(location, wanted)
            written, (_, wanted) = wanted, self._catalog.together(lambda: self._mirrored(operation))

    def _mirrored(self, operation: Operation) -> tuple[str | None, dict[str, int | None]]:
        location = self._catalog.location(operation.type, operation.name)
        return location, self._tags(operation, self._catalog.operation(operation.id).result)

    def _tags(self, operation: Operation, semver: str | None) -> dict[str, int | None]:
        """Tell where the tags have to stand that an operation may have moved; None: there is nothing that plain Lance may open."""
        resource = self._catalog.resource(operation.type, operation.name)
        active = resource.active if resource else None
        tags: dict[str, int | None] = {"active": active.version if active else None}
        hot = self._hot(operation)
        # Lance does not remove a branch that has tags: only versions of the main line get any.
        if semver is not None and "-" not in semver:
            tags[semver] = next((version.version for version in hot if version.semver == semver), None)
            tags |= {tag: version.version for version in hot if version.semver == semver for tag in version.tags}
        if operation.verb in (Verb.TAG, Verb.UNTAG):
            tag = str(operation.params["tag"])
            tags[tag] = next((version.version for version in hot if tag in version.tags), None)
        return tags

    def _hot(self, operation: Operation) -> list[Version]:
        """List the versions of the main line whose rows are in the hot table."""
        try:
            versions = self._catalog.versions(operation.type, operation.name, branch="")
        except NotFound:
            return []
        return [version for version in versions if version.state is not State.ARCHIVED]


def _finding(operation: Operation, outcome: str, reason: str = "") -> Finding:
    return Finding(
        operation=operation.id,
        verb=operation.verb,
        type=operation.type,
        name=operation.name,
        outcome=outcome,
        reason=reason,
    )
