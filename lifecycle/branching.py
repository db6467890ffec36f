"""Branches: their own line of versions, which shares the data; merged by copying the rows."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

from alluxio_lance.errors import InvalidArgument, NotActive, NotFound, Restoring
from alluxio_lance.lifecycle.journal import Journal, Running
from alluxio_lance.lifecycle.naming import Namer
from alluxio_lance.lifecycle.ports import Branch, Change, Draft, Operation, Store
from alluxio_lance.lifecycle.uri import ResourceName, parse_selector
from alluxio_lance.lifecycle.writing import MergeParams, Writer, as_params
from alluxio_lance.lifecycle.writing.adding import Addition, committed, semver_text, write_of
from alluxio_lance.lifecycle.writing.leftovers import UNDOING
from alluxio_lance.lifecycle.writing.line import Line, read_line, triple_of
from alluxio_lance.lifecycle.writing.updating import has_moved_since, is_difference
from alluxio_lance.manager import OnProgress
from alluxio_lance.values import State, Verb, Version

__all__ = ["BranchParams", "Brancher"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchParams:
    """What branch was called with, and where the branch begins."""

    branch: str
    version: str | None
    """A selector of the base; None: the active version."""
    message: str
    base: str | None = None
    """The semantic version of the base, recorded before the first byte is written."""


class Brancher:
    """Branch, unbranch and merge over a journal and a store. The caller holds the commit lock."""

    def __init__(self, journal: Journal, store: Store, writer: Writer) -> None:
        self._journal = journal
        self._catalog = journal.catalog
        self._store = store
        self._writer = writer

    # -- branch --------------------------------------------------------------------------------------------------------

    def branch(self, running: Running, params: BranchParams, namer: Namer) -> Version:
        """Begin a branch at a version of the main line.

        Raises
        ------
        AlreadyExists, InvalidArgument
            When its name is taken, or the version lies on a branch itself.
        Restoring
            When the version is archived; ``details["semver"]`` names it.
        """
        operation = running.operation
        namer.check_free_for_branch(params.branch, operation.type, operation.name)
        base = self._branch_base(operation, params.version)
        begun = replace(params, base=base.semver)
        self._catalog.record_params(running.id, asdict(begun))
        running.step("writing")
        location = self._location(operation)
        try:
            number = self._store.branch(
                location,
                params.branch,
                base.version,
                write_of(running, params.message or f"branch {params.branch}", None),
            )
            running.step("written")
            return self._commit_branch(running, begun, base, number)
        except BaseException:
            self._writer.leftovers.undo(running, lambda: self._remove_branch(operation, params.branch))
            raise

    def _branch_base(self, operation: Operation, selector: str | None) -> Version:
        named = ResourceName(operation.type, operation.name)
        base = self._catalog.find(replace(named, selector=parse_selector(selector)) if selector else named)
        if base.branch:
            raise InvalidArgument(
                f"{operation.type}/{operation.name} {base.semver} lies on the branch {base.branch!r}, and branches begin on the main line: "
                "merge it first, or name a version of the main line"
            )
        if base.state is State.ARCHIVED:
            raise _archived(base)
        return base

    def _commit_branch(self, running: Running, params: BranchParams, base: Version, number: int) -> Version:
        operation = running.operation
        table = self._store.branch_location(self._location(operation), params.branch)
        known = self._catalog.known_files(operation.type, operation.name)
        snapshot = self._store.snapshot(table, number, known, None)
        running.step("hashed")
        triple = triple_of(base)
        draft = Draft(
            semver=triple,
            snapshot=snapshot,
            branch=params.branch,
            serial=1,
            message=params.message,
            metadata=base.metadata,
            provenance={"branched_from": base.semver},
        )
        change = Change(
            verb=Verb.BRANCH,
            type=operation.type,
            name=operation.name,
            actor=operation.actor,
            message=params.message,
            about=semver_text(triple, params.branch, 1),
            draft=draft,
            branch=Branch(
                name=params.branch, base=base.semver, created_at=datetime.now(UTC), created_by=operation.actor
            ),
        )
        return committed(self._catalog.commit(running.id, change, locked=True))

    def _remove_branch(self, operation: Operation, branch: str) -> None:
        """Remove what was written of a branch that the catalog does not know."""
        if branch not in {each.name for each in self._catalog.branches(operation.type, operation.name)}:
            self._store.unbranch(self._location(operation), branch)

    def _finish_branch(self, running: Running) -> bool:
        operation = running.operation
        params = BranchParams(**operation.params)
        if params.base is None or self._catalog.resource(operation.type, operation.name) is None:
            return False
        table = self._store.branch_location(self._location(operation), params.branch)
        written = [version for version, writer in self._store.writers(table).items() if writer == operation.id]
        base = read_line(self._catalog, self._store, operation.type, operation.name).find(params.base)
        failed = operation.step == UNDOING
        if failed or not written or base is None or base.state is State.DELETED:
            self._remove_branch(operation, params.branch)
            return False
        self._commit_branch(running, params, base, written[-1])
        return True

    # -- unbranch ------------------------------------------------------------------------------------------------------

    def unbranch(self, running: Running, branch: str, message: str) -> None:
        """Remove a branch with its versions, those in the cold tier and those that wait to be purged included.

        Once no reader can begin there is no way back: an error after that leaves the operation pending, and reconcile
        goes on.

        Raises
        ------
        NotFound
            When there is no such branch.
        Leased
            While a reader holds one of its versions.
        """
        line = self._line(running.operation, branch)
        self._catalog.fence(running.id, line.type, line.name, _semvers(line))
        running.step("fenced")
        self._unbranch(running, line, message)

    def _unbranch(self, running: Running, line: Line, message: str) -> None:
        operation = running.operation
        semvers = _semvers(line)
        for semver, copy in self._catalog.cold_copies(line.type, line.name).items():
            if semver in semvers:
                self._store.drop_cold(copy.location)
        self._store.unbranch(self._location(operation), line.branch)
        running.step("dropped")
        change = Change(
            verb=Verb.UNBRANCH,
            type=line.type,
            name=line.name,
            actor=operation.actor,
            message=message,
            remove_branch=line.branch,
            remove_versions=semvers,
        )
        self._catalog.commit(running.id, change, locked=True)

    def _finish_unbranch(self, running: Running) -> bool:
        operation = running.operation
        if not self.is_beyond(operation):
            return False
        try:
            line = self._line(operation, str(operation.params["branch"]))
        except NotFound:
            return False  # deleted, with all its branches
        self._unbranch(running, line, str(operation.params["message"]))
        return True

    # -- merge ---------------------------------------------------------------------------------------------------------

    def merge(self, running: Running, params: MergeParams, on_progress: OnProgress | None) -> Version:
        """Make the newest version of a branch the next one of the main line.

        Raises
        ------
        NotFound
            When there is no such branch.
        Restoring, NotActive
            When the branch has no version whose rows are there; see `Line.base`.
        """
        operation = running.operation
        source = self._line(operation, params.branch).base()
        line = self._line(operation)
        base = _followed(line)
        addition = _merged(params, base, source)
        self._writer.adder.number(line, addition, None)
        begun = replace(params, source=source.semver, base=base.semver, active=line.active_semver)
        self._catalog.record_params(running.id, as_params(begun))
        running.step("writing")
        try:
            write = write_of(running, params.message or f"merge {source.semver}", on_progress)
            number = self._store.merge(line.location, params.branch, source.version, write)
            running.step("written")
            return self._writer.adder.add(running, line, addition, number, on_progress)
        except BaseException:
            leftovers = self._writer.leftovers
            leftovers.undo(running, lambda: leftovers.remove_written(line, operation))
            raise

    def _finish_merge(self, running: Running) -> bool:
        operation = running.operation
        params = MergeParams(**operation.params)
        if params.base is None:
            return False  # it wrote nothing
        try:
            line = self._line(operation)
            source = self._line(operation, params.branch).find(params.source)
        except NotFound:
            return False  # deleted since
        written = self._writer.leftovers.written(line, operation)
        base = line.find(params.base)
        failed = operation.step == UNDOING or not written or self._is_interleaved(line, written[-1])
        if failed or source is None or base is None:
            self._writer.leftovers.remove_written(line, operation)
            return False
        if has_moved_since(self._catalog, operation):
            params = replace(params, activate=False)
        self._writer.adder.add(running, line, _merged(params, base, source), written[-1], None)
        return True

    def _is_interleaved(self, line: Line, number: int) -> bool:
        """Tell whether a merge kept rows of a stranger, whose commit came between its look and its own."""
        return is_difference(line.type, "overwrite") and self._writer.leftovers.follows_a_stranger(line, number)

    # -- after a crash -------------------------------------------------------------------------------------------------

    def finish(self, running: Running) -> bool:
        """Go on after a crash, under the commit lock; False when the operation has to be undone and is."""
        finish = {
            Verb.BRANCH: self._finish_branch,
            Verb.UNBRANCH: self._finish_unbranch,
            Verb.MERGE: self._finish_merge,
        }
        return finish[running.operation.verb](running)

    def is_beyond(self, operation: Operation) -> bool:
        """Tell whether it can only go on: a branch whose versions are fenced is going, and what failed is to be removed."""
        going = operation.verb is Verb.UNBRANCH and operation.step in ("fenced", "dropped")
        return going or operation.step == UNDOING

    def settle(self, running: Running) -> None:
        """Do nothing: what is committed is whole."""

    def _location(self, operation: Operation) -> str:
        location = self._catalog.location(operation.type, operation.name)
        if location is None:
            raise NotFound(f"there is no {operation.type}/{operation.name}: see `alluxio-lance list`")
        return location

    def _line(self, operation: Operation, branch: str = "") -> Line:
        return read_line(self._catalog, self._store, operation.type, operation.name, branch)


def _semvers(line: Line) -> tuple[str, ...]:
    return tuple(version.semver for version in line.versions)


def _followed(line: Line) -> Version:
    """Find the version of the main line that a merge follows. Only its number and schema count: it may be archived."""
    if line.active is not None:
        return line.active
    listed = [version for version in line.versions if version.state is not State.DELETED]
    if not listed:
        raise NotActive(f"{line.resource} has no version on the main line that a merge could follow: take one back")
    return max(listed, key=lambda version: version.version)


def _merged(params: MergeParams, base: Version, source: Version) -> Addition:
    return Addition(
        base=replace(base, metadata=source.metadata),
        mode="overwrite",
        bump=params.bump,
        message=params.message,
        metadata=source.metadata,
        provenance={**source.provenance, "merged_from": source.semver},
        activate=params.activate,
    )


def _archived(version: Version) -> Restoring:
    return Restoring(
        f"{version.type}/{version.name} {version.semver}, at which the branch would begin, is archived and is being brought back: "
        "try again when it is",
        semver=version.semver,
        progress=0.0,
    )
