"""The manager in this process: every verb of the face, as an operation over catalog and store."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self, TypeVar

import structlog

from alluxio_lance.errors import AlluxioLanceError, Conflict, InvalidArgument, NotFound, Unavailable
from alluxio_lance.lifecycle.journal import Journal, Observer, Running
from alluxio_lance.lifecycle.pointing import Pointer
from alluxio_lance.lifecycle.ports import Catalog, Operation, OperationState, Source, Store
from alluxio_lance.lifecycle.process import current_owner, default_actor
from alluxio_lance.lifecycle.reconcile import Finding, Reconciler
from alluxio_lance.lifecycle.removing import Remover
from alluxio_lance.lifecycle.uri import ResourceName, parse_name, parse_selector
from alluxio_lance.lifecycle.versioning import parse_version
from alluxio_lance.lifecycle.writing import RegisterParams, UpdateParams, Writer, already_there, as_params, check_update
from alluxio_lance.manager import Bump, Mode, OnProgress, ResourceManager
from alluxio_lance.tables import LanceTable
from alluxio_lance.values import Event, Kind, Resource, Verb, Version

__all__ = ["LocalManager", "kind_of"]

_log = structlog.get_logger(__name__)

T = TypeVar("T")

_POLL = 0.2
"""Seconds between two looks for events that another process wrote; those of this process are told at once."""


def kind_of(type: str) -> Kind:
    """Tell what a type holds: ``models`` holds models, every other type datasets."""
    return Kind.MODEL if type == "models" else Kind.DATASET


@dataclass(frozen=True, slots=True)
class _Rooms:
    """What all views of one manager share."""

    catalog: Catalog
    store: Store
    journal: Journal
    writer: Writer
    pointer: Pointer
    remover: Remover
    reconciler: Reconciler
    changed: threading.Condition
    closed: threading.Event


class LocalManager(ResourceManager):
    """The lifecycle over a catalog and a store.

    Parameters
    ----------
    actor
        Who is said to act, ``user@node``; the user of this process by default.
    node
        The name of this node; the host name by default.
    ttl, lock_timeout
        Seconds, see `Journal`.
    observer
        Told about each step of each operation.
    """

    def __init__(
        self,
        catalog: Catalog,
        store: Store,
        *,
        actor: str | None = None,
        node: str | None = None,
        ttl: float = 30.0,
        lock_timeout: float = 600.0,
        observer: Observer | None = None,
    ) -> None:
        journal = Journal(catalog, current_owner(node), ttl=ttl, lock_timeout=lock_timeout, observer=observer)
        writer, remover = Writer(journal, store), Remover(catalog, store)
        self._pid = os.getpid()
        self._shared = _Rooms(
            catalog,
            store,
            journal,
            writer,
            Pointer(catalog),
            remover,
            Reconciler(journal, store, writer, remover),
            threading.Condition(),
            threading.Event(),
        )
        self._actor = actor or default_actor(node)
        self._is_view = False

    @property
    def _rooms(self) -> _Rooms:
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

    def acting_as(self, actor: str) -> Self:
        """Return a view of this manager that acts for somebody else; closing it closes nothing."""
        view = copy(self)
        view._actor = actor  # noqa: SLF001 - a copy of this very object
        view._is_view = True  # noqa: SLF001 - a copy of this very object
        return view

    def reconcile(self) -> list[Finding]:
        """Complete or undo what dead processes left; called at the start of every server, and on demand."""
        findings = self._rooms.reconciler.all()
        self._tell()
        return findings

    # -- verbs ---------------------------------------------------------------------------------------------------------

    def register_resource(
        self,
        type: str,
        name: str,
        data: Any,
        *,
        version: str | None = None,
        message: str = "",
        metadata: Mapping[str, Any] | None = None,
        provenance: Mapping[str, Any] | None = None,
        activate: bool = True,
        format: str | None = None,
        options: Mapping[str, Any] | None = None,
        request_id: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> Version:
        parse_name(type, name)
        if kind_of(type) is Kind.MODEL:
            raise InvalidArgument(f"type {type!r} holds models, and this release keeps datasets only: use another type")
        if version is not None:
            parse_version(version)
        params = RegisterParams(
            version=version,
            message=message,
            metadata=_json_object("metadata", metadata),
            provenance=_json_object("provenance", provenance),
            activate=activate,
        )

        def work(running: Running) -> Version:
            source = self._rooms.store.source(data, format=format, options=options or {})
            with _reading(source):
                return self._rooms.writer.register(running, params, source, on_progress)

        if request_id is None and self.catalog.resource(type, name) is not None:
            # Said before the operation begins: a plain mistake needs no trace in the journal.
            raise already_there(type, name)
        return self._version(self._run(Verb.REGISTER, type, name, as_params(params), request_id, work))

    def update_resource(
        self,
        type: str,
        name: str,
        data: Any = None,
        *,
        mode: Mode = "append",
        on: str | Sequence[str] | None = None,
        bump: Bump | None = None,
        version: str | None = None,
        message: str = "",
        metadata: Mapping[str, Any] | None = None,
        provenance: Mapping[str, Any] | None = None,
        activate: bool = True,
        format: str | None = None,
        options: Mapping[str, Any] | None = None,
        request_id: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> Version:
        parse_name(type, name)
        keys = [on] if isinstance(on, str) else list(on or ())
        check_update(mode, keys, bump, version)
        if data is None and metadata is None:
            raise InvalidArgument(f"nothing to update in {type}/{name}: give data, metadata, or both")
        params = UpdateParams(
            mode=None if data is None else mode,
            on=keys,
            bump=bump,
            version=version,
            message=message,
            metadata=None if metadata is None else _json_object("metadata", metadata),
            provenance=_json_object("provenance", provenance),
            activate=activate,
        )

        def work(running: Running) -> Version:
            if data is None:
                return self._rooms.writer.update(running, params, None, on_progress)
            source = self._rooms.store.source(data, format=format, options=options or {})
            with _reading(source):
                return self._rooms.writer.update(running, params, source, on_progress)

        if self.catalog.resource(type, name) is None:
            raise NotFound(f"there is no {type}/{name} to update: use `alluxio-lance register {type}/{name} …` first")
        return self._version(self._run(Verb.UPDATE, type, name, as_params(params), request_id, work))

    def activate_resource(
        self, type: str, name: str, version: str, *, message: str = "", request_id: str | None = None
    ) -> Version:
        return self._point(
            Verb.ACTIVATE,
            type,
            name,
            version,
            message,
            request_id,
            lambda running: self._rooms.pointer.activate(running, version, message),
        )

    def deprecate_resource(
        self, type: str, name: str, version: str, *, message: str = "", request_id: str | None = None
    ) -> Version:
        return self._point(
            Verb.DEPRECATE,
            type,
            name,
            version,
            message,
            request_id,
            lambda running: self._rooms.pointer.deprecate(running, version, message),
        )

    def rollback_resource(
        self, type: str, name: str, version: str | None = None, *, message: str = "", request_id: str | None = None
    ) -> Version:
        return self._point(
            Verb.ROLLBACK,
            type,
            name,
            version,
            message,
            request_id,
            lambda running: self._rooms.pointer.rollback(running, version, message),
        )

    def delete_resource(self, type: str, name: str, *, message: str = "", request_id: str | None = None) -> None:
        parse_name(type, name)
        self._run(Verb.DELETE, type, name, {"message": message}, request_id, self._delete)

    def _delete(self, running: Running) -> None:
        self._rooms.remover.delete(running)

    def _point(
        self,
        verb: Verb,
        type: str,
        name: str,
        version: str | None,
        message: str,
        request_id: str | None,
        work: Callable[[Running], Version],
    ) -> Version:
        parse_name(type, name)
        if version is not None:
            parse_selector(version)
        params = {"version": version, "message": message}
        return self._version(self._run(verb, type, name, params, request_id, work, locked=False))

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
    ) -> Version | None:
        """Run a verb as an operation: recorded, locked, done or undone, settled."""
        if locked:
            self._rooms.reconciler.of(type, name)
        operation = self._begin(verb, type, name, params, request_id)
        if operation.state is OperationState.DONE:
            return self._result(operation)
        journal = self._rooms.journal
        with journal.running(operation) as running:
            try:
                lock: AbstractContextManager[None] = journal.locked(running, self._recover) if locked else nullcontext()
                with lock:
                    version = work(running)
            except BaseException as error:  # noqa: BLE001 - raised again unless the operation is done
                version = self._ended(operation, error)
            journal.observe(verb, "committed")
            self._tell()
            self._settle(running)
            return version

    def _settle(self, running: Running) -> None:
        """Take the last step. An error in it is no error of the verb, which is done: reconcile tries it again."""
        try:
            self._rooms.reconciler.settle(running)
        except AlluxioLanceError as error:
            _log.warning("an operation is left to reconcile", operation=running.id, reason=error.message)

    def _begin(self, verb: Verb, type: str, name: str, params: Mapping[str, Any], request_id: str | None) -> Operation:
        journal = self._rooms.journal
        while True:
            operation, fresh = journal.begin(verb, type, name, actor=self._actor, params=params, request_id=request_id)
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
            # A deletion that has hidden its resource is past the point of no return: reconcile goes on with it.
            beyond = operation.verb is Verb.DELETE and self._rooms.remover.is_hidden(operation)
            if ended.state is OperationState.PENDING and not beyond:
                self.catalog.abandon(operation.id, f"{error.__class__.__name__}: {error}")
        except Unavailable as down:
            _log.warning("an operation is left to reconcile", operation=operation.id, reason=down.message)
        raise error

    def _result(self, operation: Operation) -> Version | None:
        if operation.result is None:
            return None
        found = self.catalog.find(ResourceName(operation.type, operation.name, parse_selector(operation.result)))
        # A resource of the same name that came later has other versions under the same numbers.
        made = operation.verb not in (Verb.REGISTER, Verb.UPDATE) or found.operation == operation.id
        return found if made else None

    def _version(self, version: Version | None) -> Version:
        if version is None:
            raise NotFound("the version that this request made has been deleted since")
        return replace(version, location=self.store.absolute(version.location))

    # -- looking -------------------------------------------------------------------------------------------------------

    def get_resource(self, type: str, name: str, selector: str | None = None) -> LanceTable:
        plain = parse_name(type, name)
        wanted = replace(plain, selector=parse_selector(selector)) if selector else plain
        found = self.catalog.find(wanted)
        return LanceTable(self._version(found), lambda version: self.store.dataset(found.location, version.version))

    def list_resources(self, type: str | None = None) -> list[Resource]:
        return [self._located(resource) for resource in self.catalog.resources(type)]

    def _located(self, resource: Resource) -> Resource:
        return replace(resource, active=self._version(resource.active)) if resource.active else resource

    def list_versions(self, type: str, name: str) -> list[Version]:
        parse_name(type, name)
        return [self._version(version) for version in self.catalog.versions(type, name)]

    def history(self, type: str, name: str) -> list[Event]:
        parse_name(type, name)
        events = self._rooms.pointer.events(type, name)
        if not events:
            raise NotFound(f"there has never been a {type}/{name}: see `alluxio-lance list`")
        return events

    def watch(self, after: int | None = None) -> Iterator[Event]:
        """Yield events for ever; ends when the manager is closed."""
        seen = self.catalog.last_event() if after is None else after
        return self._follow(seen)

    def _follow(self, seen: int) -> Iterator[Event]:
        while not self._rooms.closed.is_set():
            fresh: list[Event] = []
            for event in self._unless_closed(partial(self.catalog.events, after=seen), fresh):
                seen = event.sequence
                yield event
            with self._rooms.changed:
                if not self._rooms.closed.is_set() and self._unless_closed(self.catalog.last_event, seen) <= seen:
                    self._rooms.changed.wait(_POLL)

    def _unless_closed(self, look: Callable[[], T], otherwise: T) -> T:
        """Look at the catalog, which may be closed by another thread in the middle of it."""
        try:
            return look()
        except Unavailable:
            if not self._rooms.closed.is_set():
                raise
            return otherwise

    def _tell(self) -> None:
        with self._rooms.changed:
            self._rooms.changed.notify_all()

    # -- the end -------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        if self._is_view or os.getpid() != self._pid or self._rooms.closed.is_set():
            return
        self._rooms.closed.set()
        self._tell()
        self._rooms.journal.close()
        self.catalog.close()


def _reading(source: Source) -> AbstractContextManager[Any]:
    """Close the source's reader in the end, also when it was not read to its end."""
    return closing(source.reader)


def _json_object(what: str, value: Mapping[str, Any] | None) -> dict[str, Any]:
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
