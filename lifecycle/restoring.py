"""How a version comes back from the cold tier: under its number, with its hash, in the state that it had."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import structlog

from alluxio_lance.errors import AlluxioLanceError, Conflict, Internal, NotFound, Unavailable
from alluxio_lance.lifecycle.journal import Journal, Running
from alluxio_lance.lifecycle.leaving import exactly
from alluxio_lance.lifecycle.ports import Change, Operation, Store, Write
from alluxio_lance.lifecycle.reporting import Reporter
from alluxio_lance.manager import OnProgress
from alluxio_lance.values import Progress, State, Version

__all__ = ["Restorer"]

_log = structlog.get_logger(__name__)

_PATIENCE: Final = 30.0
"""Seconds that a manager which is closed waits for each restore to notice."""


class Restorer:
    """Over a journal and a store. The caller holds the commit lock."""

    def __init__(self, journal: Journal, store: Store) -> None:
        self._journal = journal
        self._catalog = journal.catalog
        self._store = store
        self._guard = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._failures: dict[str, AlluxioLanceError] = {}
        self._closing = threading.Event()

    # -- in the background ---------------------------------------------------------------------------------------------

    def start(self, operation: Operation, restore: Callable[[], object]) -> None:
        """Run a restore that nobody waits for; how it failed is kept for who asks next."""

        def run() -> None:
            try:
                restore()
            except AlluxioLanceError as error:
                _log.warning("a restore failed", operation=operation.id, reason=error.message)
                with self._guard:
                    self._failures[str(operation.params["cold"])] = error
            finally:
                with self._guard:
                    self._threads.discard(threading.current_thread())

        thread = threading.Thread(target=run, name="alluxio-lance-restore", daemon=True)
        with self._guard:
            self._threads.add(thread)
        try:
            thread.start()
        except BaseException:
            self._journal.forget(operation)
            raise

    def failure(self, cold: str) -> AlluxioLanceError | None:
        """Take the error with which the last restore of a copy ended that nobody waited for."""
        with self._guard:
            return self._failures.pop(cold, None)

    def cease(self) -> None:
        """Interrupt every restore, without waiting for that; another process, or the next start, begins it anew."""
        self._closing.set()

    def close(self) -> None:
        """Interrupt every restore, and wait a while for those in the background."""
        self.cease()
        with self._guard:
            threads = list(self._threads)
        for thread in threads:
            thread.join(_PATIENCE)

    # -- the work ------------------------------------------------------------------------------------------------------

    def restore(self, running: Running, on_progress: OnProgress | None) -> Version:
        """Copy a version back and give it its state again.

        Raises
        ------
        NotFound
            When it was deleted meanwhile.
        Corrupt, Unavailable
            When the copy cannot be read.
        """
        operation = running.operation
        version = self._archived(operation)
        running.step("copying")
        try:
            self._copy(running, version, on_progress)
            running.step("restored")
            return self._commit(running, version)
        except BaseException:
            self._undo_after_error(running, version)
            raise

    def _archived(self, operation: Operation) -> Version:
        version = exactly(self._catalog, operation)
        copy = self._catalog.cold_copies(operation.type, operation.name).get(version.semver)
        if version.state is not State.ARCHIVED or copy is None or copy.location != operation.params["cold"]:
            raise Conflict(f"{version.type}/{version.name} {version.semver} has changed its state meanwhile: try again")
        return version

    def _copy(self, running: Running, version: Version, on_progress: OnProgress | None) -> None:
        operation = running.operation
        report = Reporter(self._catalog, operation.id, on_progress)

        def unless_closed(progress: Progress) -> None:
            if self._closing.is_set():
                raise Unavailable("the manager was closed while a version came back: ask for it again", what="manager")
            report(progress)

        write = Write(
            operation=operation.id,
            actor=operation.actor,
            message=str(operation.params["message"]),
            on_progress=unless_closed,
        )
        known = self._catalog.known_files(operation.type, operation.name)
        self._store.unarchive(str(operation.params["cold"]), self._table(version), version.version, known, write)

    def _table(self, version: Version) -> str:
        return self._store.branch_location(version.location, version.branch)

    def _commit(self, running: Running, version: Version) -> Version:
        operation = running.operation
        change = replace(
            Change.of(operation, str(operation.params["message"])),
            about=version.semver,
            reinstate=(version.semver,),
            cold={version.semver: None},
        )
        restored = self._catalog.commit(running.id, change, locked=True)
        if restored is None:
            raise Internal(f"the catalog restored {version.semver} and returned no version")
        return restored

    # -- what is left after an error, or a crash -----------------------------------------------------------------------

    def finish(self, running: Running) -> bool:
        """Commit what was copied wholly; else what came back goes again, and who wants it begins anew."""
        operation = running.operation
        if operation.step in ("begun", "locked"):
            return False
        version = self._owner_of_the_copy(operation)
        if version is None:
            self._sweep(operation)
            return False
        if operation.step == "restored" and self._is_archived(version):
            self._commit(running, version)
            return True
        self._remove(version)
        return False

    def _owner_of_the_copy(self, operation: Operation) -> Version | None:
        """Find the version whose copy was being brought back, deleted or not."""
        copies = self._catalog.cold_copies(operation.type, operation.name)
        copy = copies.get(str(operation.params["semver"]))
        if copy is None or copy.location != operation.params["cold"]:
            return None
        try:
            return exactly(self._catalog, operation)
        except NotFound:
            return exactly(self._catalog, operation, deleted=True)

    def _is_archived(self, version: Version) -> bool:
        """Tell whether a version is there to be restored, and was not deleted with its resource."""
        listed = self._catalog.resource(version.type, version.name) is not None
        return listed and version.state is State.ARCHIVED

    def _sweep(self, operation: Operation) -> None:
        """Remove the files of no version: those of one that was purged, maybe with its resource, before all were back."""
        location = self._catalog.location(operation.type, operation.name)
        if location is None:
            return
        branch = str(operation.params["semver"]).partition("-")[2].rpartition(".")[0]
        table = self._store.branch_location(location, branch)
        latest = self._store.latest(table)
        if latest is not None:
            self._store.sweep(table, range(1, latest + 1))

    def is_beyond(self, operation: Operation) -> bool:
        """Tell that it can be undone until it is committed."""
        return False

    def settle(self, running: Running) -> None:
        """Remove the copy in the cold tier, now that the version lives without it."""
        self._store.drop_cold(str(running.operation.params["cold"]))

    def _undo_after_error(self, running: Running, version: Version) -> None:
        try:
            # Else the commit went through and only its answer was lost; or another process took it over.
            if self._journal.owns(running):
                self._remove(version)
        except AlluxioLanceError as error:
            _log.warning("a half restored version could not be removed", operation=running.id, reason=error.message)

    def _remove(self, version: Version) -> None:
        """Remove what came back of a version: it is archived, and its files have no place in the hot tier."""
        if self._catalog.location(version.type, version.name) is None:
            self._store.drop(version.location)  # purged meanwhile: nothing else can be there
            return
        table = self._table(version)
        latest = self._store.latest(table)
        if latest is not None:
            self._store.sweep(table, [number for number in range(1, latest + 1) if number != version.version])
