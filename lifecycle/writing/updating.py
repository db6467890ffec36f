"""How a line goes on: its next version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from alluxio_lance.errors import Conflict, NotFound
from alluxio_lance.lifecycle.journal import Journal, Running
from alluxio_lance.lifecycle.kinds import kind_of
from alluxio_lance.lifecycle.pointing import events_of
from alluxio_lance.lifecycle.ports import Catalog, Operation, Source, Store
from alluxio_lance.lifecycle.writing.adding import Adder, Addition, write_of
from alluxio_lance.lifecycle.writing.leftovers import UNDOING, Leftovers
from alluxio_lance.lifecycle.writing.line import Line, read_line
from alluxio_lance.lifecycle.writing.params import UpdateParams, as_params
from alluxio_lance.manager import Mode, OnProgress
from alluxio_lance.values import Kind, Version

__all__ = ["Updater", "has_moved_since", "is_difference"]


class Updater:
    """Update over a journal and a store. The caller holds the commit lock."""

    def __init__(self, journal: Journal, store: Store, leftovers: Leftovers, adder: Adder) -> None:
        self._catalog = journal.catalog
        self._store = store
        self._leftovers = leftovers
        self._adder = adder

    def update(
        self, running: Running, params: UpdateParams, source: Source | None, on_progress: OnProgress | None
    ) -> Version:
        """Write the next version of a line.

        Raises
        ------
        NotFound
            When the resource or the branch does not exist.
        Restoring, NotActive
            When there is no version to continue from; see `Line.base`.
        """
        operation = running.operation
        line = read_line(self._catalog, self._store, operation.type, operation.name, params.branch)
        base = line.base()
        addition = _addition(params, base)
        # Before anything is written: a version that is taken is refused without a trace.
        self._adder.number(line, addition, source.reader.schema if source else None)
        self._catalog.record_params(running.id, as_params(replace(params, base=base.semver, active=line.active_semver)))
        running.step("writing")
        try:
            number = self._write(running, params, line, base, source, on_progress)
            running.step("written")
            return self._adder.add(running, line, addition, number, on_progress)
        except BaseException:
            self._leftovers.undo(running, lambda: self._leftovers.remove_written(line, operation))
            raise

    def _write(
        self,
        running: Running,
        params: UpdateParams,
        line: Line,
        base: Version,
        source: Source | None,
        on_progress: OnProgress | None,
    ) -> int:
        write = write_of(running, params.message, on_progress)
        if source is None:
            return self._store.restore(line.location, base.version, write)
        below = self._store.latest(line.location)
        if below != base.version:
            below = self._leftovers.step_back(line, running.operation, base.version, f"continue from {base.semver}")
            running.step("restored")
        if params.mode == "overwrite":
            return self._store.overwrite(line.location, source, write)
        if params.mode == "append":
            number = self._store.append(line.location, source, write)
        else:
            number = self._store.upsert(line.location, source, params.on, write)
        if number != below + 1:
            raise _interleaved(line)
        return number

    def finish(self, running: Running) -> bool:
        """Complete an update whose process died, if the table was written; else remove what it left."""
        operation = running.operation
        params = UpdateParams(**operation.params)
        if params.base is None:
            return False  # it wrote nothing
        try:
            line = read_line(self._catalog, self._store, operation.type, operation.name, params.branch)
        except NotFound:
            return False  # deleted since
        base = line.find(params.base)
        written = self._leftovers.written(line, operation)
        failed = operation.step == UNDOING
        if failed or base is None or not written or self._is_interleaved(line, params, written[-1]):
            self._leftovers.remove_written(line, operation)
            return False
        if has_moved_since(self._catalog, operation):
            # Somebody activated or rolled back in the meantime: a version that nobody waits for must not undo that.
            params = replace(params, activate=False)
        self._adder.add(running, line, _addition(params, base), written[-1], None)
        return True

    def _is_interleaved(self, line: Line, params: UpdateParams, number: int) -> bool:
        """Tell whether a version has rows of a stranger, whose commit came between the base and this one."""
        return is_difference(line.type, params.mode) and self._leftovers.follows_a_stranger(line, number)


def is_difference(type: str, mode: Mode | None) -> bool:
    """Tell whether rows of the Lance version below stay in one that was written, which must then be nobody else's."""
    return mode in ("append", "upsert") or (mode == "overwrite" and kind_of(type) is Kind.MODEL)


def has_moved_since(catalog: Catalog, operation: Operation) -> bool:
    """Tell whether somebody moved the pointer since an operation began."""
    events = events_of(catalog, operation.type, operation.name)
    return any(event.at >= operation.created_at and event.before != event.after for event in events)


def _addition(params: UpdateParams, base: Version) -> Addition:
    return Addition(
        base=base,
        mode=params.mode,
        bump=params.bump,
        version=params.version,
        message=params.message,
        metadata=_merged(base.metadata, params.metadata),
        provenance=params.provenance,
        activate=params.activate,
    )


def _merged(old: Mapping[str, Any], new: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Lay new metadata over the old; a key set to None goes away."""
    changed = new or {}
    return {key: value for key, value in {**old, **changed}.items() if value is not None or key not in changed}


def _interleaved(line: Line) -> Conflict:
    return Conflict(
        f"somebody wrote to the table of {line.resource} past the commit lock meanwhile, nothing was changed: try again"
    )
