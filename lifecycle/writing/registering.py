"""How a resource begins: its first version."""

from __future__ import annotations

from typing import Final

from alluxio_lance.errors import AlreadyExists, Conflict
from alluxio_lance.lifecycle.journal import Journal, Running
from alluxio_lance.lifecycle.ports import Change, Draft, Operation, Source, Store
from alluxio_lance.lifecycle.versioning import Triple, parse_version
from alluxio_lance.lifecycle.writing.adding import committed, semver_text, write_of
from alluxio_lance.lifecycle.writing.leftovers import UNDOING, Leftovers
from alluxio_lance.lifecycle.writing.params import RegisterParams, already_there
from alluxio_lance.manager import OnProgress
from alluxio_lance.values import Verb, Version

__all__ = ["Registrar"]

_FIRST: Final[Triple] = (1, 0, 0)


class Registrar:
    """Register over a journal and a store. The caller holds the commit lock."""

    def __init__(self, journal: Journal, store: Store, leftovers: Leftovers) -> None:
        self._catalog = journal.catalog
        self._store = store
        self._leftovers = leftovers

    def register(
        self, running: Running, params: RegisterParams, source: Source, on_progress: OnProgress | None
    ) -> Version:
        """Write the first version of a resource.

        Raises
        ------
        AlreadyExists
            When the resource, a deleted one of its name, or a table at its place, exists.
        """
        operation = running.operation
        location = self._free_location(operation)
        running.step("writing")
        try:
            number = self._store.create(location, source, write_of(running, params.message, on_progress))
            running.step("written")
            return self._commit(running, params, location, number, on_progress)
        except BaseException:
            self._leftovers.undo(running, lambda: self._remove(operation))
            raise

    def finish(self, running: Running) -> bool:
        """Complete a registration whose process died, if the table was written; else remove what it left."""
        operation = running.operation
        if operation.step in ("begun", "locked"):
            return False  # it wrote nothing: whatever lies there is somebody else's
        location = _location(operation)
        if self._catalog.location(operation.type, operation.name) is None:
            self._store.remove_torn(location, {})
        written = [version for version, writer in self._store.writers(location).items() if writer == operation.id]
        failed = operation.step == UNDOING
        if failed or not written or self._catalog.location(operation.type, operation.name) is not None:
            self._remove(operation)
            return False
        self._commit(running, RegisterParams(**operation.params), location, written[-1], None)
        return True

    def _free_location(self, operation: Operation) -> str:
        type, name = operation.type, operation.name
        if self._catalog.resource(type, name) is not None:
            raise already_there(type, name)
        if self._catalog.resource(type, name, deleted=True) is not None:
            raise AlreadyExists(
                f"{type}/{name} was deleted and its name is taken until it is purged: use `alluxio-lance undelete {type}/{name}` to have it "
                f"back, or `alluxio-lance purge {type}/{name}` first"
            )
        if self._catalog.location(type, name) is not None:
            raise Conflict(f"{type}/{name} is being deleted: try again when that has ended")
        location = _location(operation)
        self._store.remove_torn(location, {})
        if self._store.latest(location) is not None:
            if not self._leftovers.is_nobodys(location, operation):
                raise AlreadyExists(
                    f"there is a table at {self._store.absolute(location)} that the catalog does not know: move it away, then register it by its path"
                )
            self._store.drop(location)
        return location

    def _remove(self, operation: Operation) -> None:
        """Drop the table, unless it is somebody else's: who lost the lock may find another one at its place."""
        location = _location(operation)
        known = self._catalog.location(operation.type, operation.name)
        if known is None and self._leftovers.is_nobodys(location, operation):
            self._store.drop(location)

    def _commit(
        self, running: Running, params: RegisterParams, location: str, number: int, on_progress: OnProgress | None
    ) -> Version:
        snapshot = self._store.snapshot(location, number, {}, on_progress)
        running.step("hashed")
        operation = running.operation
        semver = parse_version(params.version) if params.version else _FIRST
        draft = Draft(
            semver=semver,
            snapshot=snapshot,
            message=params.message,
            metadata=params.metadata,
            provenance=params.provenance,
        )
        text = semver_text(semver)
        change = Change(
            verb=Verb.REGISTER,
            type=operation.type,
            name=operation.name,
            actor=operation.actor,
            message=params.message,
            about=text,
            location=location,
            draft=draft,
            activate=text if params.activate else None,
        )
        return committed(self._catalog.commit(running.id, change, locked=True))


def _location(operation: Operation) -> str:
    return f"{operation.type}/{operation.name}.lance"
