"""How a resource or version leaves: out of sight first, in one transaction; after its time every byte, then the rows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from alluxio_lance.errors import Conflict, InvalidArgument, NotFound
from alluxio_lance.lifecycle.journal import Journal, Running
from alluxio_lance.lifecycle.leaving import check_may_leave, check_unheld, exactly, still
from alluxio_lance.lifecycle.ports import Change, Operation, OperationState, Store, Write
from alluxio_lance.lifecycle.rules import RulesBook
from alluxio_lance.values import State, Verb, Version

__all__ = ["Remover"]

_BEYOND: Final = ("purging", "dropped", "emptied")


class Remover:
    """Delete, undelete and purge over a catalog and a store. The caller holds the commit lock.

    An operation's parameter ``semver`` names the version that it is about; None is the whole resource.
    """

    def __init__(self, journal: Journal, store: Store, book: RulesBook) -> None:
        self._journal = journal
        self._catalog = journal.catalog
        self._store = store
        self._book = book

    # -- out of sight, and back ----------------------------------------------------------------------------------------

    def delete(self, running: Running) -> None:
        """Hide a resource or one of its versions until it is purged.

        Raises
        ------
        NotFound
            When there is no such resource or version.
        Leased
            While a reader holds it, without ``force``.
        PolicyDenied, InvalidArgument
            When the version has to stay.
        """
        operation = running.operation
        held = bool(operation.params["force"])
        until = datetime.now(UTC) + self._book.current().deletion.grace
        change = _change(operation)
        if operation.params["semver"] is None:
            self._visible(operation)
            self._commit(running, replace(change, hide_until=until, wholly_unheld=not held))
            return
        version = exactly(self._catalog, operation)
        check_may_leave(self._catalog, self._book, version, State.DELETED)
        if len(self._catalog.versions(operation.type, operation.name, branch=version.branch)) == 1:
            raise InvalidArgument(
                f"{version.semver} is the only version of {_line(operation, version.branch)}: delete the {'branch' if version.branch else 'resource'} instead"
            )
        hidden = replace(
            change,
            states={version.semver: State.DELETED},
            # The pointer and the stages move without the lock: what was true above need not be by now.
            standing={version.semver: (version.state, version.stage)},
            purge_at=until,
            unheld=() if held else (version.semver,),
        )
        self._commit(running, hidden)

    def undelete(self, running: Running) -> None:
        """Take a deletion back.

        Raises
        ------
        NotFound
            When nothing of that name is deleted.
        Conflict
            When a purge of it has begun, which is left to be ended.
        """
        operation = running.operation
        self._check_whole(operation)
        change = _change(operation)
        if operation.params["semver"] is None:
            self._hidden(operation)
            self._commit(running, replace(change, unhide=True))
            return
        version = exactly(self._catalog, operation, deleted=True)
        self._commit(running, replace(change, reinstate=(version.semver,)))

    # -- for good ------------------------------------------------------------------------------------------------------

    def purge(self, running: Running) -> None:
        """Remove what was deleted from every tier.

        Once that has begun there is no way back: an error leaves the operation pending, and reconcile goes on.

        Raises
        ------
        NotFound
            When there is no such resource or version.
        InvalidArgument
            When it was not deleted before.
        Leased
            While a reader holds it, who was there when it was deleted by force.
        """
        operation = running.operation
        semver = operation.params["semver"]
        made = self._hidden(operation) if semver is None else exactly(self._catalog, operation, deleted=True).operation
        holders = self._catalog.holders(operation.type, operation.name)
        about = f"{operation.type}/{operation.name}{f' {semver}' if semver else ''}"
        check_unheld(about, (holder for holder in holders if semver in (None, holder.semver)))
        self._catalog.record_params(running.id, {**operation.params, "made": made})
        running.step("purging")
        if not self._purge(running, made):
            raise Conflict(f"{about} was purged or taken back meanwhile: look again")

    def _purge(self, running: Running, made: str) -> bool:
        """Purge what ``made`` tells from others of its name; False when it is not there, or not deleted any more."""
        operation = running.operation
        if not self._journal.owns(running):
            raise Conflict(f"the purge of {operation.name} goes on in another process: wait for it to end")
        # Asked once the lock is surely ours: who stood still before may find another resource under this name.
        if operation.params["semver"] is None:
            if self._made_when_deleted(operation) != made:
                return False
            self._purge_resource(running)
            return True
        version = still(self._catalog, operation, made)
        if version is None or version.state is not State.DELETED:
            return False
        self._purge_version(running, version)
        return True

    def _purge_resource(self, running: Running) -> None:
        operation = running.operation
        location = self._catalog.location(operation.type, operation.name)
        if location is not None:
            self._store.drop(location)
        running.step("dropped")
        for copy in self._catalog.cold_copies(operation.type, operation.name).values():
            self._store.drop_cold(copy.location)
        running.step("emptied")
        self._commit(running, replace(_change(operation), remove=True))

    def _purge_version(self, running: Running, version: Version) -> None:
        operation = running.operation
        table = self._store.branch_location(version.location, version.branch)
        write = Write(operation=operation.id, actor=operation.actor, message=f"{version.semver} is purged")
        self._store.remove(table, [version.version], write)
        running.step("dropped")
        copy = self._catalog.cold_copies(operation.type, operation.name).get(version.semver)
        if copy is not None:
            self._store.drop_cold(copy.location)
        running.step("emptied")
        self._commit(running, replace(_change(operation), remove_versions=(version.semver,)))

    def _visible(self, operation: Operation) -> None:
        """Make sure that the whole resource is there: a second deletion must not put its purge off."""
        type, name = operation.type, operation.name
        if self._catalog.resource(type, name) is None:
            raise NotFound(f"there is no {type}/{name} to delete, or it is deleted already: see `alluxio-lance list`")

    def _hidden(self, operation: Operation) -> str:
        """Make sure that the whole resource is deleted; return what tells it from others of its name."""
        type, name = operation.type, operation.name
        if (made := self._made_when_deleted(operation)) is not None:
            return made
        if self._catalog.resource(type, name) is not None:
            raise InvalidArgument(f"{type}/{name} is not deleted: `alluxio-lance delete {type}/{name}` comes first")
        raise NotFound(f"there is no deleted {type}/{name}: see `alluxio-lance list --deleted`")

    def _made_when_deleted(self, operation: Operation) -> str | None:
        """Tell when a resource that is deleted was made, which no other one of its name was; None when it is not deleted."""
        found = self._catalog.resource(operation.type, operation.name, deleted=True)
        return None if found is None else found.created_at.isoformat()

    def _check_whole(self, operation: Operation) -> None:
        """Refuse to take back what a purge has begun to remove."""
        for other in self._catalog.open_operations():
            of_it = (other.verb, other.type, other.name) == (Verb.PURGE, operation.type, operation.name)
            if not of_it or other.state is not OperationState.PENDING or not self.is_beyond(other):
                continue
            if other.params["semver"] == operation.params["semver"]:
                raise Conflict(
                    f"the purge of {operation.type}/{operation.name} (operation {other.id[:8]}) has begun to remove it: "
                    "it cannot be taken back, `alluxio-lance reconcile` ends it"
                )

    def _commit(self, running: Running, change: Change) -> None:
        self._catalog.commit(running.id, change, locked=True)

    # -- after a crash -------------------------------------------------------------------------------------------------

    def finish(self, running: Running) -> bool:
        """Go on with a purge whose process died; False when it had not begun in earnest, or another one has ended it."""
        operation = running.operation
        return operation.step in _BEYOND and self._purge(running, str(operation.params["made"]))

    def is_beyond(self, operation: Operation) -> bool:
        """Tell whether a purge has begun to remove: from there it can only go on."""
        return operation.step in _BEYOND

    def settle(self, running: Running) -> None:
        """Do nothing: the commit is the last step."""


def _change(operation: Operation) -> Change:
    return replace(
        Change.of(operation, str(operation.params["message"])),
        about=operation.params["semver"],
    )


def _line(operation: Operation, branch: str) -> str:
    return (
        f"the branch {branch} of {operation.type}/{operation.name}" if branch else f"{operation.type}/{operation.name}"
    )
