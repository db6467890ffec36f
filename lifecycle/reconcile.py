"""What a crash left is completed or undone: operation by operation, each under its own lock."""

from __future__ import annotations

from dataclasses import dataclass, replace

import structlog

from alluxio_lance.errors import AlluxioLanceError, NotFound
from alluxio_lance.lifecycle.journal import Journal, Running
from alluxio_lance.lifecycle.ports import Operation, OperationState, Store
from alluxio_lance.lifecycle.removing import Remover
from alluxio_lance.lifecycle.writing import Writer
from alluxio_lance.values import Verb

__all__ = ["Finding", "Reconciler"]

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What reconcile did about one operation."""

    operation: str
    verb: Verb
    type: str
    name: str
    outcome: str
    """``completed``, ``undone``, ``settled``, or ``failed`` (it is tried again next time)."""
    reason: str = ""


class Reconciler:
    """Mends what dead processes left, of one operation or of all."""

    def __init__(self, journal: Journal, store: Store, writer: Writer, remover: Remover) -> None:
        self._journal = journal
        self._catalog = journal.catalog
        self._store = store
        self._writer = writer
        self._remover = remover

    def all(self) -> list[Finding]:
        """Mend every operation whose process is dead; living ones are left alone."""
        dead = [operation for operation in self._catalog.open_operations() if self._journal.is_dead(operation)]
        return [finding for operation in dead if (finding := self._attempt(operation)) is not None]

    def _attempt(self, operation: Operation) -> Finding | None:
        try:
            return self.one(operation)
        except AlluxioLanceError as error:
            _log.warning("an operation could not be mended", operation=operation.id, reason=error.message)
            return _finding(operation, "failed", error.message)

    def one(self, operation: Operation) -> Finding | None:
        """Mend one operation; None when another process is at it already."""
        if not self._catalog.adopt(operation, self._journal.owner):
            return None
        mine = replace(operation, owner=self._journal.owner)
        with self._journal.running(mine) as running:
            if operation.state is OperationState.DONE:
                self.settle(running)
                return _finding(operation, "settled")
            if self._is_only_a_pointer(operation):
                return self._undo(running)
            with self._journal.locked(running, lambda holder: self._recover(holder, operation)):
                return self._mend(running)

    def _recover(self, holder: Operation, waiting: Operation) -> None:
        if holder.id != waiting.id:
            self.one(holder)

    @staticmethod
    def _is_only_a_pointer(operation: Operation) -> bool:
        return operation.verb in (Verb.ACTIVATE, Verb.DEPRECATE, Verb.ROLLBACK)

    def _mend(self, running: Running) -> Finding:
        operation = running.operation
        if operation.verb is Verb.DELETE:
            completed = self._remover.finish(running)
        else:
            completed = self._writer.finish(running) is not None
        if not completed:
            return self._undo(running)
        self.settle(running)
        return _finding(operation, "completed")

    def _undo(self, running: Running) -> Finding:
        reason = f"process {running.operation.owner.pid} ended at step {running.operation.step!r}"
        self._catalog.abandon(running.id, reason)
        return _finding(running.operation, "undone", reason)

    def settle(self, running: Running) -> None:
        """Let the Lance tags follow the catalog, the last step of every operation."""
        operation = running.operation
        location = self._catalog.location(operation.type, operation.name)
        if location is not None and self._store.latest(location) is not None:
            self._store.mirror_tags(location, self._tags(operation))
        running.step("settled")

    def _tags(self, operation: Operation) -> dict[str, int | None]:
        resource = self._catalog.resource(operation.type, operation.name)
        active = resource.active if resource else None
        tags: dict[str, int | None] = {"active": active.version if active else None}
        if operation_version := self._about(operation):
            tags[operation_version[0]] = operation_version[1]
        return tags

    def _about(self, operation: Operation) -> tuple[str, int] | None:
        result = self._catalog.operation(operation.id).result
        try:
            versions = self._catalog.versions(operation.type, operation.name) if result else []
        except NotFound:
            return None
        return next(((v.semver, v.version) for v in versions if v.semver == result), None)


def _finding(operation: Operation, outcome: str, reason: str = "") -> Finding:
    return Finding(
        operation=operation.id,
        verb=operation.verb,
        type=operation.type,
        name=operation.name,
        outcome=outcome,
        reason=reason,
    )
