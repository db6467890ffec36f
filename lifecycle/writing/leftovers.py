"""What nobody needs in a table: what failed writes left, and the steps back between versions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import structlog

from alluxio_lance.errors import AlluxioLanceError, NotFound
from alluxio_lance.lifecycle.journal import Journal, Running
from alluxio_lance.lifecycle.ports import Operation, OperationState, Store, Write
from alluxio_lance.lifecycle.ports.store import STEP_BACK
from alluxio_lance.lifecycle.writing.line import Line
from alluxio_lance.values import Verb

__all__ = ["UNDOING", "Leftovers"]

_log = structlog.get_logger(__name__)

UNDOING: Final = "undoing"
"""The step of an operation that failed, and whose files are still to be removed."""
_MAKERS: Final = frozenset({Verb.REGISTER, Verb.UPDATE, Verb.BRANCH, Verb.MERGE})
"""The verbs whose commits in a table are versions. A commit of any other one only covers what was removed."""


class Leftovers:
    """Tells what nobody needs, and removes it, over a journal and a store. The caller holds the commit lock."""

    def __init__(self, journal: Journal, store: Store) -> None:
        self._journal = journal
        self._catalog = journal.catalog
        self._store = store

    # -- after an error ------------------------------------------------------------------------------------------------

    def undo(self, running: Running, remove: Callable[[], None]) -> None:
        """Remove what an operation wrote, after the error that its caller will see.

        What cannot be removed now, as when the store is down, is left to the next writer of the resource, or to reconcile.
        """
        operation = running.operation
        try:
            if not self._may_undo(operation):
                return
            running.step(UNDOING)
            remove()
            running.step("undone")
        except AlluxioLanceError as error:
            _log.warning("what an operation wrote is left to reconcile", operation=operation.id, reason=error.message)

    def _may_undo(self, operation: Operation) -> bool:
        """Tell whether what an operation wrote may be removed after an error.

        Not when the commit went through after all (only its answer was lost), and not when the operation or the lock is
        somebody else's by now.
        """
        if not self._is_ours(operation):
            return False
        return self._catalog.try_lock(operation.type, operation.name, operation.id, self._journal.lock_ttl) is None

    def _is_ours(self, operation: Operation) -> bool:
        found = self._catalog.operation(operation.id)
        return found.state is OperationState.PENDING and found.owner == self._journal.owner

    # -- whose is it? --------------------------------------------------------------------------------------------------

    def is_nobodys(self, location: str, operation: Operation) -> bool:
        """Tell whether all that lies at a location is of this operation, or of those that were undone."""
        writers = self._store.writers(location).values()
        return all(writer == operation.id or self._is_undone(writer) for writer in writers)

    def _is_undone(self, writer: str | None) -> bool:
        found = self._operation(writer)
        return found is not None and found.state is OperationState.UNDONE

    def _operation(self, writer: str | None) -> Operation | None:
        if writer is None:
            return None
        try:
            return self._catalog.operation(writer)
        except NotFound:
            return None

    def _is_needless(self, writer: str | None) -> bool:
        if writer == STEP_BACK:
            return True
        found = self._operation(writer)
        return found is not None and (found.state is OperationState.UNDONE or found.verb not in _MAKERS)

    def written(self, line: Line, operation: Operation) -> list[int]:
        """List what an operation wrote above all that the catalog knows; what lies below came too late."""
        writers = self._store.writers(line.location, besides=line.known)
        return [version for version, writer in writers.items() if writer == operation.id and version > line.highest]

    def follows_a_stranger(self, line: Line, number: int) -> bool:
        """Tell whether somebody wrote the Lance version below this one past the manager."""
        writers = self._store.writers(line.location, besides=line.known)
        return writers.get(number - 1, STEP_BACK) != STEP_BACK

    # -- removing ------------------------------------------------------------------------------------------------------

    def step_back(self, line: Line, operation: Operation, number: int, message: str) -> int:
        """Make the content of an older version Lance's newest; this is no version of the catalog."""
        write = Write(operation=STEP_BACK, actor=operation.actor, message=message)
        return self._store.restore(line.location, number, write)

    def remove_written(self, line: Line, operation: Operation) -> None:
        """Remove the Lance versions that an operation wrote, and the files of no version."""
        below = line.newest_hot
        if below is not None and self._store.latest(line.location) in self.written(line, operation):
            # Lance cannot remove the newest version: without another one on top its data would stay.
            self.step_back(line, operation, below.version, "undone")
        self._sweep(line, self._needless(line, also=operation.id), files=True)

    def sweep(self, line: Line, operation: Operation) -> None:
        """Remove what earlier writes left; an error is logged, and the next update tries again."""
        try:
            self._sweep(line, self._needless(line, but=operation.id))
        except AlluxioLanceError as error:
            _log.warning("what earlier updates left could not be removed", operation=operation.id, reason=error.message)

    def _needless(self, line: Line, *, also: str | None = None, but: str | None = None) -> set[int]:
        """List what nobody needs: steps back once the version that followed is there, and what was undone.

        ``also`` names an operation whose versions count as undone, ``but`` one whose versions do not.
        """
        writers = self._store.writers(line.location, besides=line.known)
        return {
            version
            for version, writer in writers.items()
            if writer is not None and writer != but and (writer == also or self._is_needless(writer))
        }

    def _sweep(self, line: Line, going: Iterable[int], *, files: bool = False) -> None:
        """Remove Lance versions, and with ``files`` the files of no version.

        Versions that somebody wrote past the manager stay: they are not ours to remove.
        """
        gone = set(going)
        if not gone and not files:
            return
        latest = self._store.latest(line.location)
        if latest is not None and (files or gone - {latest}):
            self._store.sweep(line.location, [version for version in range(1, latest + 1) if version not in gone])
