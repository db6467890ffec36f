"""How every verb is run: allowed, recorded, locked, done or undone, settled, told."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from copy import copy
from dataclasses import replace
from typing import Any, Final, Self

import structlog

from alluxio_lance.errors import Conflict, InvalidArgument, NotFound, Unavailable
from alluxio_lance.governance import Identity
from alluxio_lance.lifecycle.journal import Running
from alluxio_lance.lifecycle.local.rooms import Rooms
from alluxio_lance.lifecycle.ports import Catalog, Operation, OperationState, Store
from alluxio_lance.lifecycle.rules import RuleSet
from alluxio_lance.lifecycle.uri import ResourceName, parse_name, parse_selector
from alluxio_lance.manager import ResourceManager
from alluxio_lance.values import Resource, Verb, Version

__all__ = ["Base", "json_object"]

_log = structlog.get_logger(__name__)

_OURS: Final = ("automation:", "promotion:", "restore:")
"""How the request ids begin under which several processes share one operation: see `Promoter`, `Returning`, `Deed`."""


_MAKERS: Final = (Verb.REGISTER, Verb.UPDATE, Verb.BRANCH, Verb.MERGE)
"""The verbs that make a version."""


class Base(ResourceManager):
    """What the verbs of all kinds share."""

    _pid: int
    _shared: Rooms
    _identity: Identity
    _is_view: bool

    @property
    def _rooms(self) -> Rooms:
        """What all views share, in the process that opened it: connections and threads do not survive a fork.

        Raises
        ------
        Unavailable
            In a child process.
        """
        if os.getpid() != self._pid:
            raise Unavailable(
                f"this manager belongs to process {self._pid}, from which this one was forked: open another one here",
                what="manager",
            )
        return self._shared

    @property
    def catalog(self) -> Catalog:
        """The catalog below."""
        return self._rooms.catalog

    @property
    def store(self) -> Store:
        """The store below."""
        return self._rooms.store

    def acting_as(self, identity: Identity) -> Self:
        """Return a view of this manager that acts for somebody else; closing it closes nothing."""
        view = copy(self)
        view._identity = identity  # noqa: SLF001 - a copy of this very object
        view._is_view = True  # noqa: SLF001 - a copy of this very object
        return view

    # -- what the caller may do ----------------------------------------------------------------------------------------

    def _allow(
        self,
        verb: Verb,
        type: str = "",
        name: str = "",
        *,
        stage: str | None = None,
        tag: str | None = None,
        semver: str | None = None,
        request_id: str | None = None,
        rules: RuleSet | None = None,
    ) -> None:
        """Refuse what the caller's roles do not grant; the refusal is audited.

        Raises
        ------
        PermissionDenied
            Naming the role's limits and who may.
        """
        self._rooms.access.check(
            self._identity, verb, type, name, stage=stage, tag=tag, semver=semver, request_id=request_id, rules=rules
        )

    # -- one operation -------------------------------------------------------------------------------------------------

    def _run(
        self,
        verb: Verb,
        type: str,
        name: str,
        params: Mapping[str, Any],
        request_id: str | None,
        work: Callable[[Running], Version | None],
        *,
        locked: bool = True,
        stage: str | None = None,
        tag: str | None = None,
        first: Callable[[], None] = lambda: None,
    ) -> Version | None:
        """Run a verb as an operation: allowed, told, recorded, locked, done or undone, settled, told.

        ``params`` are what the journal keeps; ``params["message"]`` is the reason that hooks are told. ``first`` is called
        before anything is told or recorded, when the caller is known to be allowed.
        """
        # Read once: the hooks that hear of the end are those that heard of the beginning.
        rules = self._rooms.book.current()
        self._allow(verb, type, name, stage=stage, tag=tag, request_id=request_id, rules=rules)
        self._check_free(request_id)
        first()
        done = self._told(
            verb,
            type,
            name,
            str(params.get("message", "")),
            lambda: self._operate(verb, type, name, params, request_id, work, locked=locked),
            rules,
        )
        return self._follow_up(verb, done)

    def _check_free(self, request_id: str | None) -> None:
        """Refuse request ids that only this program gives: whoever took one could block what runs under it for ever."""
        mine = self._identity.method == "embedded" and self._identity.actor.startswith("automation:")
        if request_id is not None and request_id.startswith(_OURS) and not mine:
            raise InvalidArgument(
                f"the request id {request_id[:100]!r} begins like those of this program ({', '.join(_OURS)}): choose another one"
            )

    def _follow_up(self, verb: Verb, version: Version | None) -> Version | None:
        """Let the automations of the rules follow a verb, see `Automating`; return the version as it is then."""
        return version

    def _told(
        self,
        verb: Verb,
        type: str,
        name: str,
        message: str,
        do: Callable[[], Version | None],
        rules: RuleSet | None = None,
    ) -> Version | None:
        """Tell the hooks before and after: those of ``rules``, or of the moment."""
        notifier, identity = self._rooms.notifier, self._identity
        notifier.before(verb, type, name, identity, message=message, rules=rules)
        try:
            version = do()
        except BaseException as error:
            notifier.after(verb, type, name, identity, message=message, semver=None, error=str(error), rules=rules)
            raise
        semver = version.semver if version else None
        notifier.after(verb, type, name, identity, message=message, semver=semver, error=None, rules=rules)
        return version

    def _operate(
        self,
        verb: Verb,
        type: str,
        name: str,
        params: Mapping[str, Any],
        request_id: str | None,
        work: Callable[[Running], Version | None],
        *,
        locked: bool,
    ) -> Version | None:
        if locked:
            self._settled(type, name)
            self._rooms.reconciler.of(type, name)
        operation = self._begin(verb, type, name, params, request_id)
        if operation.state is OperationState.DONE:
            return self._result(operation)
        return self._perform(operation, work, locked=locked)

    def _perform(
        self, operation: Operation, work: Callable[[Running], Version | None], *, locked: bool
    ) -> Version | None:
        """Do the work of an operation that has begun."""
        journal = self._rooms.journal
        with ExitStack() as alive:
            running = alive.enter_context(journal.running(operation))
            try:
                lock: AbstractContextManager[None] = journal.locked(running, self._recover) if locked else nullcontext()
                with lock:
                    if locked:
                        self._rooms.reconciler.clear(operation.type, operation.name)
                    version = work(running)
            except BaseException as error:  # noqa: BLE001 - raised again unless the operation is done
                version = self._ended(operation, error)
            journal.observe(operation.verb, "committed")
            self._tell()
            settler = self._rooms.settler
            if settler is None or not settler.takes(running, alive):
                self._rooms.reconciler.settle_or_leave(running)
            return version

    def _settled(self, type: str, name: str) -> None:
        """Wait for what is settled behind the answers of earlier verbs on a resource."""
        if self._rooms.settler is not None:
            self._rooms.settler.wait(type, name)

    def _begin(self, verb: Verb, type: str, name: str, params: Mapping[str, Any], request_id: str | None) -> Operation:
        journal = self._rooms.journal
        while True:
            operation, fresh = journal.begin(
                verb, type, name, identity=self._identity, params=params, request_id=request_id
            )
            if fresh or operation.state is OperationState.DONE:
                return operation
            if not journal.is_dead(operation):
                raise Conflict(
                    f"the {verb} of {type}/{name} with request id {request_id!r} is still running: wait for it, its result is kept"
                )
            self._recover(operation)

    def _recover(self, operation: Operation) -> None:
        """Finish or undo a dead operation that is in the way."""
        self._rooms.reconciler.one(operation)

    def _ended(self, operation: Operation, error: BaseException) -> Version | None:
        """Find out how an operation ended that raised: its result when only the answer was lost, else the error."""
        try:
            ended = self.catalog.operation(operation.id)
            if ended.state is OperationState.DONE and isinstance(error, Exception):
                return self._result(ended)
            # What another process has taken over is its to end: this one stood still for too long.
            mine = ended.state is OperationState.PENDING and ended.owner == self._rooms.journal.owner
            if mine and not self._rooms.reconciler.is_beyond(ended):
                self.catalog.abandon(operation.id, f"{error.__class__.__name__}: {error}")
        except Unavailable as down:
            _log.warning("an operation is left to reconcile", operation=operation.id, reason=down.message)
            mine = True  # as far as anybody can tell
        if not mine and isinstance(error, Exception) and not isinstance(error, Conflict):
            # Whatever it stumbled over: its files went when the other process mended what it took for a dead one's.
            raise Conflict(
                f"{ended.verb} of {ended.type}/{ended.name} stood still for too long and another process has ended it: try again"
            ) from error
        raise error

    def _result(self, operation: Operation) -> Version | None:
        if operation.result is None or operation.verb in (Verb.DELETE, Verb.UNDELETE, Verb.PURGE):
            return None
        found = self.catalog.find(ResourceName(operation.type, operation.name, parse_selector(operation.result)))
        # A resource of the same name that came later has other versions under the same numbers.
        return found if operation.verb not in _MAKERS or found.operation == operation.id else None

    def _version(self, version: Version | None) -> Version:
        if version is None:
            raise NotFound("the version that this request made has been deleted since")
        table = self.store.branch_location(version.location, version.branch)
        return replace(version, location=self.store.absolute(table))

    def _located(self, resource: Resource) -> Resource:
        return replace(resource, active=self._version(resource.active)) if resource.active else resource

    def _find(self, type: str, name: str, selector: str | None) -> Version:
        plain = parse_name(type, name)
        return self.catalog.find(replace(plain, selector=parse_selector(selector)) if selector else plain)

    def _tell(self) -> None:
        with self._rooms.changed:
            self._rooms.changed.notify_all()


def json_object(what: str, value: Mapping[str, Any] | None) -> dict[str, Any]:
    """Check that a mapping survives JSON as it is.

    Raises
    ------
    InvalidArgument
        When it does not.
    """
    if value is None:
        return {}
    try:
        text = json.dumps(dict(value), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidArgument(
            f"{what} must be JSON (text, numbers, booleans, lists, objects with text keys): {error}"
        ) from None
    result: dict[str, Any] = json.loads(text)
    return result
