"""The way back from the cold tier, which opening or activating an archived version takes by itself."""

from __future__ import annotations

from functools import partial
from typing import Final

from alluxio_lance.errors import Corrupt, NotFound, Restoring, Unavailable
from alluxio_lance.lifecycle.archiving import copy_id
from alluxio_lance.lifecycle.journal import Running
from alluxio_lance.lifecycle.local.base import Base
from alluxio_lance.lifecycle.ports import Operation, OperationState
from alluxio_lance.lifecycle.reporting import fraction
from alluxio_lance.lifecycle.uri import ResourceName, parse_selector
from alluxio_lance.manager import OnProgress
from alluxio_lance.values import State, Verb, Version

__all__ = ["Returning"]

_POLL: Final = 0.2
"""Seconds between two looks at an operation of another process."""
_STAYING: Final = ("begun", "locked", "undoing")
"""The steps of an archive at which its version can be read."""


class Returning(Base):
    """What brings a version back, for all verbs that need its data."""

    def bring_back(
        self,
        version: Version,
        *,
        wait: bool = False,
        on_progress: OnProgress | None = None,
        message: str = "restored because somebody wants to read it",
    ) -> Version:
        """Bring a version back from the cold tier, or join those who do so already, on whichever node.

        It is also for a version that is on its way there and cannot be held any more: that is waited for first. The
        caller has made sure that who asks may read.

        Returns
        -------
        Version
            As the catalog has it: with a location relative to the store's root. As it is when it is not archived.

        Raises
        ------
        Restoring
            Without ``wait``, as soon as it is under way; ``details`` has ``progress`` (0 to 1) and ``operation``.
        NotFound
            When it is deleted meanwhile.
        Corrupt, Unavailable
            When the copy in the cold tier cannot be read.
        """
        self._rooms.reconciler.of(version.type, version.name)
        while True:
            now = self._again(version)
            if now.state is State.ARCHIVED:
                operation = self._join(now, message, on_progress, wait=wait)
            elif (operation := self._leaving(now)) is None:
                self.catalog.note_read(now.type, now.name, now.semver)
                return now
            if operation is None:
                continue
            if self._rooms.journal.is_dead(operation):
                self._recover(operation)
            elif not wait:
                raise _restoring(now, operation)
            else:
                self._follow(operation, on_progress)

    def _again(self, version: Version) -> Version:
        """Look at a version once more, and make sure that it is no other one of the same number."""
        exact = ResourceName(version.type, version.name, parse_selector(version.semver))
        found = self.catalog.find(exact)
        if found.operation != version.operation:
            raise NotFound(f"{version.type}/{version.name} {version.semver} has been deleted since")
        return found

    def _leaving(self, version: Version) -> Operation | None:
        """Find the operation that moves a version to the cold tier."""
        for operation in self.catalog.open_operations():
            if (operation.verb, operation.state) != (Verb.ARCHIVE, OperationState.PENDING):
                continue
            about = (operation.type, operation.name, operation.params["semver"])
            if about != (version.type, version.name, version.semver) or operation.step in _STAYING:
                continue
            return operation
        return None

    def _join(self, version: Version, message: str, on_progress: OnProgress | None, *, wait: bool) -> Operation | None:
        """Restore a version, or find the operation that does so already; None when it has ended."""
        copy = self.catalog.cold_copies(version.type, version.name).get(version.semver)
        if copy is None:
            if self._again(version).state is State.ARCHIVED:
                raise Corrupt(f"{version.type}/{version.name} {version.semver} is archived, and there is no copy of it")
            return None
        failure = self._rooms.restorer.failure(copy.location)
        if failure is not None and not wait:
            raise failure
        params = {"semver": version.semver, "cold": copy.location, "message": message}
        operation, fresh = self._rooms.journal.begin(
            Verb.RESTORE,
            version.type,
            version.name,
            identity=self._identity,
            params=params,
            # One for all who want this copy back, on whichever node.
            request_id=f"restore:{copy_id(copy.location)}",
        )
        if fresh and wait:
            self._restore(operation, on_progress)
            return None
        if fresh:
            # In a thread of its own: who asked goes away, and comes again.
            self._rooms.restorer.start(operation, partial(self._restore, operation, None))
            raise _restoring(version, operation)
        return None if operation.state is OperationState.DONE else operation

    def _restore(self, operation: Operation, on_progress: OnProgress | None) -> None:
        def work(running: Running) -> Version:
            return self._rooms.restorer.restore(running, on_progress)

        try:
            self._told(
                operation.verb,
                operation.type,
                operation.name,
                str(operation.params["message"]),
                lambda: self._perform(operation, work, locked=True),
            )
        finally:
            # Also when the work did not begin: nobody may take the operation for a living one.
            self._rooms.journal.forget(operation)

    def _follow(self, operation: Operation, on_progress: OnProgress | None) -> None:
        """Wait until an operation has ended, or its process is dead."""
        told = None
        while True:
            now = self.catalog.operation(operation.id)
            if on_progress is not None and now.progress is not None and now.progress != told:
                told = now.progress
                on_progress(told)
            if now.state is not OperationState.PENDING or self._rooms.journal.is_dead(now):
                return
            if self._rooms.closed.wait(_POLL):
                raise Unavailable("the manager was closed while it waited for a version: try again", what="manager")


def _restoring(version: Version, operation: Operation) -> Restoring:
    name = f"{version.type}/{version.name} {version.semver}"
    if operation.verb is Verb.ARCHIVE:
        return Restoring(
            f"{name} is on its way to the cold tier and cannot be opened now: try again, or wait, and it comes back",
            progress=0.0,
            operation=operation.id,
            semver=version.semver,
        )
    done = fraction(operation.progress)
    return Restoring(
        f"{name} comes back from the cold tier ({done:.0%}): try again, or wait for it",
        progress=done,
        operation=operation.id,
        semver=version.semver,
    )
