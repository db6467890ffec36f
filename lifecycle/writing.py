"""How a new version comes in: the bodies of register and update, and how a crash in their middle is mended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import pyarrow as pa
import structlog

from alluxio_lance.errors import (
    AlluxioLanceError,
    AlreadyExists,
    Conflict,
    Internal,
    InvalidArgument,
    NotActive,
    NotFound,
)
from alluxio_lance.lifecycle.journal import Journal, Running
from alluxio_lance.lifecycle.pointing import Pointer
from alluxio_lance.lifecycle.ports import Change, Draft, Operation, OperationState, Source, Store, Write
from alluxio_lance.lifecycle.uri import ResourceName
from alluxio_lance.lifecycle.versioning import Triple, chosen_version, natural_bump, next_version, parse_version
from alluxio_lance.manager import Bump, Mode, OnProgress
from alluxio_lance.values import Verb, Version

__all__ = ["RegisterParams", "UpdateParams", "Writer", "already_there", "as_params", "check_update"]

_log = structlog.get_logger(__name__)

_FIRST: Triple = (1, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterParams:
    """What register was called with, as the journal keeps it."""

    version: str | None
    message: str
    metadata: Mapping[str, Any]
    provenance: Mapping[str, Any]
    activate: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateParams:
    """What update was called with, as the journal keeps it."""

    mode: Mode | None
    """None: only the metadata change."""
    on: Sequence[str]
    bump: Bump | None
    version: str | None
    message: str
    metadata: Mapping[str, Any] | None
    provenance: Mapping[str, Any]
    activate: bool


_STEP_BACK: Final = "step-back"
"""What a Restore commit carries instead of an operation's id, so that it is never taken for a version after a crash."""


class Writer:
    """Register and update over a journal and a store."""

    def __init__(self, journal: Journal, store: Store) -> None:
        self._journal = journal
        self._catalog = journal.catalog
        self._store = store

    # -- register ------------------------------------------------------------------------------------------------------

    def register(
        self, running: Running, params: RegisterParams, source: Source, on_progress: OnProgress | None
    ) -> Version:
        """Write the first version of a resource. The caller holds the commit lock.

        Raises
        ------
        AlreadyExists
            When the resource, or a table at its place, exists.
        """
        operation = running.operation
        location = self._free_location(operation)
        running.step("writing")
        try:
            number = self._store.create(location, source, _write(running, params.message, on_progress))
            running.step("written")
            return self._commit_register(running, params, location, number, on_progress)
        except BaseException:
            self._undo(operation, self._undo_register)
            raise

    def _undo(self, operation: Operation, remove: Callable[[Operation], None]) -> None:
        """Remove what an operation wrote, after the error that its caller will see.

        What cannot be removed now stays until the next writer comes by, or until reconcile.
        """
        try:
            if self._may_undo(operation):
                remove(operation)
        except AlluxioLanceError as error:
            _log.warning("what an operation wrote could not be removed", operation=operation.id, reason=error.message)

    def _may_undo(self, operation: Operation) -> bool:
        """Tell whether what an operation wrote may be removed after an error.

        Not when the commit went through after all (only its answer was lost), and not when the lock is somebody else's
        by now.
        """
        if self._catalog.operation(operation.id).state is OperationState.DONE:
            return False
        return self._catalog.try_lock(operation.type, operation.name, operation.id, self._journal.ttl) is None

    def _free_location(self, operation: Operation) -> str:
        type, name = operation.type, operation.name
        if self._catalog.resource(type, name) is not None:
            raise already_there(type, name)
        if self._catalog.location(type, name) is not None:
            raise Conflict(f"{type}/{name} is being deleted: try again when that has ended")
        location = _first_location(operation)
        if self._store.latest(location) is not None:
            if not self._is_nobodys(location, operation):
                raise AlreadyExists(
                    f"there is a table at {self._store.absolute(location)} that the catalog does not know: move it away, then register it by its path"
                )
            self._store.drop(location)
        return location

    def _undo_register(self, operation: Operation) -> None:
        """Drop the table, unless it is somebody else's: who lost the lock may find another one at its place."""
        location = _first_location(operation)
        if self._catalog.location(operation.type, operation.name) is None and self._is_nobodys(location, operation):
            self._store.drop(location)

    def _is_nobodys(self, location: str, operation: Operation) -> bool:
        """Tell whether all that lies at a location is of this operation, or of those that were undone."""
        writers = self._store.writers(location).values()
        return all(writer == operation.id or self._is_undone(writer) for writer in writers)

    def _is_undone(self, writer: str | None) -> bool:
        if writer is None:
            return False
        try:
            return self._catalog.operation(writer).state is OperationState.UNDONE
        except NotFound:
            return False

    def _commit_register(
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
        text = _text(semver)
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
        return self._committed(running, change)

    # -- update --------------------------------------------------------------------------------------------------------

    def update(
        self, running: Running, params: UpdateParams, source: Source | None, on_progress: OnProgress | None
    ) -> Version:
        """Write the next version of a resource. The caller holds the commit lock.

        Raises
        ------
        NotFound
            When the resource does not exist.
        """
        base, active = self._base(running.operation)
        self._planned(running.operation, params, base, source.reader.schema if source else None)
        try:
            number = self._write_update(running, params, base, source, on_progress)
            running.step("written")
            return self._commit_update(running, params, base, active, number, on_progress)
        except BaseException:
            self._undo(running.operation, self._undo_update)
            raise

    def _base(self, operation: Operation) -> tuple[Version, Version | None]:
        """Find the version to continue from, and the active one: the same, unless none is active."""
        name = ResourceName(operation.type, operation.name)
        try:
            active = self._catalog.find(name)
        except NotActive:
            return max(self._catalog.versions(operation.type, operation.name), key=lambda v: v.version), None
        return active, active

    def _write_update(
        self,
        running: Running,
        params: UpdateParams,
        base: Version,
        source: Source | None,
        on_progress: OnProgress | None,
    ) -> int:
        location = self._location(running.operation)
        write = _write(running, params.message, on_progress)
        running.step("writing")
        if source is None:
            return self._store.restore(location, base.version, write)
        below = self._store.latest(location)
        if below != base.version:
            below = self._step_back(running.operation, base.version, f"continue from {base.semver}")
            running.step("restored")
        if params.mode == "overwrite":
            return self._store.overwrite(location, source, write)
        if params.mode == "append":
            number = self._store.append(location, source, write)
        else:
            number = self._store.upsert(location, source, params.on, write)
        if number != below + 1:
            raise _interleaved(running.operation)
        return number

    def _step_back(self, operation: Operation, version: int, message: str) -> int:
        write = Write(operation=_STEP_BACK, actor=operation.actor, message=message)
        return self._store.restore(self._location(operation), version, write)

    def _planned(self, operation: Operation, params: UpdateParams, base: Version, schema: pa.Schema | None) -> Triple:
        """Choose the semantic version, before anything is written and again when it is."""
        taken = [parse_version(v.semver) for v in self._catalog.versions(operation.type, operation.name)]
        if params.version:
            return chosen_version(params.version, taken)
        old = pa.ipc.read_schema(pa.py_buffer(base.schema))
        new = schema if schema is not None and params.mode == "overwrite" else old
        return next_version(parse_version(base.semver), params.bump or natural_bump(params.mode, old, new), taken)

    def _commit_update(
        self,
        running: Running,
        params: UpdateParams,
        base: Version,
        active: Version | None,
        number: int,
        on_progress: OnProgress | None,
    ) -> Version:
        operation = running.operation
        known = self._catalog.known_files(operation.type, operation.name)
        snapshot = self._store.snapshot(self._location(operation), number, known, on_progress)
        running.step("hashed")
        self._sweep_leftovers(operation)
        semver = self._planned(operation, params, base, pa.ipc.read_schema(pa.py_buffer(snapshot.schema)))
        draft = Draft(
            semver=semver,
            snapshot=snapshot,
            message=params.message,
            metadata=_merged(base.metadata, params.metadata),
            provenance=params.provenance,
        )
        text = _text(semver)
        change = Change(
            verb=Verb.UPDATE,
            type=operation.type,
            name=operation.name,
            actor=operation.actor,
            message=params.message,
            about=text,
            draft=draft,
            activate=text if params.activate else None,
            base=active.semver if active else None,
        )
        return self._committed(running, change)

    # -- after a crash -------------------------------------------------------------------------------------------------

    def finish(self, running: Running) -> Version | None:
        """Complete a register or update whose process died after the table was written; None when it was not.

        Then what it left is removed, and the caller abandons the operation. The caller holds the commit lock.
        """
        operation = running.operation
        if operation.verb is Verb.REGISTER:
            return self._finish_register(running)
        return self._finish_update(running)

    def _finish_register(self, running: Running) -> Version | None:
        operation = running.operation
        if operation.step in ("begun", "locked"):
            return None  # it wrote nothing: whatever lies there is somebody else's
        location = _first_location(operation)
        written = [version for version, writer in self._store.writers(location).items() if writer == operation.id]
        if not written or self._catalog.location(operation.type, operation.name) is not None:
            self._undo_register(operation)
            return None
        return self._commit_register(running, RegisterParams(**operation.params), location, written[-1], None)

    def _finish_update(self, running: Running) -> Version | None:
        operation = running.operation
        try:
            base, active = self._base(operation)
        except NotFound:
            return None  # deleted since
        params = UpdateParams(**operation.params)
        written = self._written(operation)
        if not written or self._is_interleaved(operation, params, written[-1]):
            self._undo_update(operation)
            return None
        if self._moved_since(operation):
            # Somebody activated or rolled back in the meantime: a version that nobody waits for must not undo that.
            params = replace(params, activate=False)
        return self._commit_update(running, params, base, active, written[-1], None)

    def _moved_since(self, operation: Operation) -> bool:
        events = Pointer(self._catalog).events(operation.type, operation.name)
        return any(event.at >= operation.created_at and event.before != event.after for event in events)

    def _is_interleaved(self, operation: Operation, params: UpdateParams, number: int) -> bool:
        """Tell whether a version has rows of a stranger, whose commit came between the base and this one."""
        if params.mode in (None, "overwrite"):
            return False
        unknown = self._store.writers(self._location(operation), besides=self._known(operation))
        return unknown.get(number - 1, _STEP_BACK) != _STEP_BACK

    def _undo_update(self, operation: Operation) -> None:
        """Remove the Lance versions that an operation wrote, and the files of no version."""
        if self._store.latest(self._location(operation)) in self._written(operation):
            # Lance cannot remove the newest version: without another one on top its data would stay.
            self._step_back(operation, max(self._known(operation)), "undone")
        self._sweep(operation, self._leftovers(operation, also=operation.id), files=True)

    def _written(self, operation: Operation) -> list[int]:
        """List what an operation wrote above all that the catalog knows; what lies below came too late."""
        known = self._known(operation)
        writers = self._store.writers(self._location(operation), besides=known)
        return [version for version, writer in writers.items() if writer == operation.id and version > max(known)]

    def _sweep_leftovers(self, operation: Operation) -> None:
        try:
            self._sweep(operation, self._leftovers(operation))
        except AlluxioLanceError as error:
            # The next update tries again.
            _log.warning("what earlier updates left could not be removed", operation=operation.id, reason=error.message)

    def _leftovers(self, operation: Operation, *, also: str = _STEP_BACK) -> set[int]:
        """List what nobody needs: steps back once the version that followed is there, and what was undone.

        ``also`` names an operation whose versions count as undone.
        """
        writers = self._store.writers(self._location(operation), besides=self._known(operation))
        return {
            version for version, writer in writers.items() if writer in (_STEP_BACK, also) or self._is_undone(writer)
        }

    def _sweep(self, operation: Operation, going: Iterable[int], *, files: bool = False) -> None:
        """Remove Lance versions, and with ``files`` the files of no version.

        Versions that somebody wrote past the manager stay: they are not ours to remove.
        """
        gone = set(going)
        location = self._location(operation)
        latest = self._store.latest(location)
        if latest is not None and (files or gone - {latest}):
            self._store.sweep(location, [version for version in range(1, latest + 1) if version not in gone])

    def _known(self, operation: Operation) -> set[int]:
        return {version.version for version in self._catalog.versions(operation.type, operation.name)}

    # -- shared --------------------------------------------------------------------------------------------------------

    def _location(self, operation: Operation) -> str:
        location = self._catalog.location(operation.type, operation.name)
        if location is None:
            raise NotFound(f"there is no {operation.type}/{operation.name}: see `alluxio-lance list`")
        return location

    def _committed(self, running: Running, change: Change) -> Version:
        version = self._catalog.commit(running.id, change, locked=True)
        if version is None:
            raise Internal("the catalog committed a draft and returned no version")
        return version


def _write(running: Running, message: str, on_progress: OnProgress | None) -> Write:
    return Write(operation=running.id, actor=running.operation.actor, message=message, on_progress=on_progress)


def _first_location(operation: Operation) -> str:
    return f"{operation.type}/{operation.name}.lance"


def _interleaved(operation: Operation) -> Conflict:
    return Conflict(
        f"somebody wrote to the table of {operation.type}/{operation.name} past the commit lock meanwhile, nothing was changed: try again"
    )


def _text(semver: Triple) -> str:
    return ".".join(map(str, semver))


def _merged(old: Mapping[str, Any], new: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Lay new metadata over the old; a key set to None goes away."""
    changed = new or {}
    return {key: value for key, value in {**old, **changed}.items() if value is not None or key not in changed}


def already_there(type: str, name: str) -> AlreadyExists:
    """Make the error of a name that is taken."""
    return AlreadyExists(f"{type}/{name} exists already: use `alluxio-lance update {type}/{name} …` for a new version")


def as_params(params: RegisterParams | UpdateParams) -> dict[str, Any]:
    """Write parameters as the journal keeps them."""
    return asdict(params)


def check_update(mode: Mode, on: Sequence[str], bump: Bump | None, version: str | None) -> None:
    """Refuse arguments of update that do not go together.

    Raises
    ------
    InvalidArgument
        With what is accepted.
    """
    if mode not in ("append", "overwrite", "upsert"):
        raise InvalidArgument(f"mode {mode!r} is unknown: give append, overwrite or upsert")
    if mode == "upsert" and not on:
        raise InvalidArgument("an upsert needs the key columns: give on='id'")
    if mode != "upsert" and on:
        raise InvalidArgument(f"on={list(on)!r} goes with mode='upsert' only")
    if bump not in (None, "major", "minor", "patch"):
        raise InvalidArgument(f"bump {bump!r} is unknown: give major, minor or patch")
    if version is not None:
        parse_version(version)
        if bump is not None:
            raise InvalidArgument("bump and version exclude each other: give one")
