"""How a version goes to the cold tier: fenced, copied, verified, and only then removed where it was hot."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import structlog

from alluxio_lance.errors import AlluxioLanceError, Conflict, Internal
from alluxio_lance.lifecycle.journal import Journal, Running
from alluxio_lance.lifecycle.leaving import check_may_leave, exactly, still
from alluxio_lance.lifecycle.ports import Change, ColdCopy, Operation, Store, Write
from alluxio_lance.lifecycle.reporting import Reporter
from alluxio_lance.lifecycle.rules import RulesBook
from alluxio_lance.manager import OnProgress
from alluxio_lance.values import State, Version

__all__ = ["Archiver", "cold_location", "copy_id"]

_log = structlog.get_logger(__name__)

_BEYOND: Final = ("verified", "removed")
_UNDOING: Final = "undoing"
"""Readers are let in again, and the copy in the cold tier is still to go."""


def cold_location(operation: Operation) -> str:
    """Name the place in the cold tier that an archive copies to: no two operations ever share one."""
    return f"{operation.type}/{operation.name}/{operation.params['semver']}-{operation.id}.lance"


def copy_id(location: str) -> str:
    """Return the id of the archive that made a copy in the cold tier."""
    return location.removesuffix(".lance")[-32:]


class Archiver:
    """Over a journal and a store. The caller holds the commit lock."""

    def __init__(self, journal: Journal, store: Store, book: RulesBook) -> None:
        self._journal = journal
        self._catalog = journal.catalog
        self._store = store
        self._book = book

    def archive(self, running: Running, on_progress: OnProgress | None) -> Version:
        """Move a version to the cold tier.

        Once the copy is verified there is no way back: an error after that leaves the operation pending, with its fence,
        and reconcile goes on.

        Raises
        ------
        NotFound
            When the version is gone.
        Leased
            While a reader holds it.
        PolicyDenied, InvalidArgument
            When it has to stay.
        """
        version = exactly(self._catalog, running.operation)
        check_may_leave(self._catalog, self._book, version, State.ARCHIVED)
        self._catalog.fence(running.id, version.type, version.name, [version.semver])
        running.step("fenced")
        try:
            copy = self._copy(running, version, on_progress)
            # The pointer and the stages move without the lock: what was true above need not be by now.
            check_may_leave(self._catalog, self._book, exactly(self._catalog, running.operation), State.ARCHIVED)
            found = {"cold_bytes": copy.num_bytes, "made_by": version.operation}
            self._catalog.record_params(running.id, {**running.operation.params, **found})
            running.step("verified")
        except BaseException:
            self._undo_after_error(running)
            raise
        return self._leave(running, version, copy)

    def _copy(self, running: Running, version: Version, on_progress: OnProgress | None) -> ColdCopy:
        operation = running.operation
        report = Reporter(self._catalog, operation.id, on_progress)
        write = Write(
            operation=operation.id, actor=operation.actor, message=str(operation.params["message"]), on_progress=report
        )
        known = self._catalog.known_files(operation.type, operation.name)
        return self._store.archive(self._table(version), version.version, cold_location(operation), known, write)

    def _table(self, version: Version) -> str:
        return self._store.branch_location(version.location, version.branch)

    def _leave(self, running: Running, version: Version, copy: ColdCopy) -> Version:
        operation = running.operation
        if not self._journal.owns(running):
            raise Conflict(
                f"{operation.verb} of {operation.type}/{operation.name} goes on in another process: wait for it to end"
            )
        # Asked once the lock is surely ours: who stood still before may find another resource under this name.
        if still(self._catalog, operation, version.operation) is None:
            raise Conflict(f"{operation.type}/{operation.name} {version.semver} has been deleted meanwhile")
        write = Write(operation=operation.id, actor=operation.actor, message=f"{version.semver} is archived")
        self._store.remove(self._table(version), [version.version], write)
        running.step("removed")
        change = replace(
            Change.of(operation, str(operation.params["message"])),
            about=version.semver,
            states={version.semver: State.ARCHIVED},
            unheld=(version.semver,),
            cold={version.semver: copy},
        )
        archived = self._catalog.commit(running.id, change, locked=True)
        if archived is None:
            raise Internal(f"the catalog archived {version.semver} and returned no version")
        return archived

    # -- what is left after an error, or a crash -----------------------------------------------------------------------

    def finish(self, running: Running) -> bool:
        """Go on with an archive whose copy was verified; of another one, or when the version is gone, the copy goes."""
        operation = running.operation
        is_verified = operation.step in _BEYOND
        version = still(self._catalog, operation, str(operation.params["made_by"])) if is_verified else None
        if version is None:
            self._store.drop_cold(cold_location(operation))
            return False
        copy = ColdCopy(location=cold_location(operation), num_bytes=int(operation.params["cold_bytes"]))
        self._leave(running, version, copy)
        return True

    def is_beyond(self, operation: Operation) -> bool:
        """Tell whether the copy was verified, from where it can only go on; or is still to be removed."""
        return operation.step in (*_BEYOND, _UNDOING)

    def settle(self, running: Running) -> None:
        """Do nothing: the commit is the last step."""

    def _undo_after_error(self, running: Running) -> None:
        try:
            # Unless its answer was lost, and it is beyond; or another process took it over, and mends it.
            if self._journal.owns(running) and not self.is_beyond(self._catalog.operation(running.id)):
                self._drop(running)
        except AlluxioLanceError as error:
            _log.warning("a copy in the cold tier could not be removed", operation=running.id, reason=error.message)

    def _drop(self, running: Running) -> None:
        """Remove the copy of an archive that failed; when the cold tier is away, leave that to whoever mends it."""
        try:
            self._store.drop_cold(cold_location(running.operation))
        except AlluxioLanceError:
            # Readers must not wait for a cold tier that they do not need.
            self._catalog.unfence(running.id)
            running.step(_UNDOING)
            raise
